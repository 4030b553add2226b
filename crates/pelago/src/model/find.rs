//! From what a person types to one member: `name`, `name.datacenter` or the start of an id.

use pelago_node::FindError;
use pelago_proto::view::Member;
use std::collections::BTreeMap;

/// The member meant. Names come before ids; of two certificates with one name in one datacenter the newer holds.
pub(crate) fn find<'a>(
    members: impl Iterator<Item = &'a Member>,
    needle: &str,
) -> Result<&'a Member, FindError> {
    let all: Vec<_> = members.collect();
    let named = all.iter().filter(|member| {
        let rest = needle.strip_prefix(member.name.as_str());
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('.') == Some(member.datacenter.as_str())
        })
    });
    let mut newest: BTreeMap<_, &Member> = BTreeMap::new();
    for member in named {
        let held = newest
            .entry((&member.datacenter, &member.name))
            .or_insert(member);
        if (member.not_after, member.id) > (held.not_after, held.id) {
            *held = member;
        }
    }
    let mut found: Vec<_> = newest.into_values().collect();
    let hexadecimal = !needle.is_empty() && needle.bytes().all(|b| b.is_ascii_hexdigit());
    if found.is_empty() && hexadecimal {
        let start = needle.to_ascii_lowercase();
        found = all
            .into_iter()
            .filter(|member| member.id.to_string().starts_with(&start))
            .collect();
    }
    match found.as_slice() {
        [] => Err(FindError::None),
        [one] => Ok(one),
        several => Err(FindError::Ambiguous(
            several
                .iter()
                .map(|it| format!("{}.{} ({})", it.name, it.datacenter, it.id))
                .collect(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn names_ids_and_doubt() {
        let mut first = fixture::member("eu-west", "db");
        let second = fixture::member("us-east", "db");
        let other = fixture::member("us-east", "s1");
        let mut renewed = fixture::member("eu-west", "db");
        renewed.id.0[0] ^= 0xff;
        renewed.not_after += 1;
        let all = [
            first.clone(),
            second.clone(),
            other.clone(),
            renewed.clone(),
        ];
        let look = |needle: &str| find(all.iter(), needle).map(|member| member.id);
        assert_eq!(look("s1"), Ok(other.id));
        assert_eq!(look("db.us-east"), Ok(second.id));
        assert_eq!(look("db.eu-west"), Ok(renewed.id));
        assert_eq!(look(&first.id.to_string()[..12]), Ok(first.id));
        assert_eq!(look(&first.id.to_string().to_uppercase()), Ok(first.id));
        assert_eq!(look("nobody"), Err(FindError::None));
        assert_eq!(look(""), Err(FindError::None));
        assert_eq!(look("db."), Err(FindError::None));
        assert!(
            matches!(look("db"), Err(FindError::Ambiguous(candidates)) if candidates.len() == 2)
        );
        // A name that could be an id is a name.
        first.name = "abc".parse().expect("a name");
        assert_eq!(
            find([first.clone(), second].iter(), "abc").map(|member| member.id),
            Ok(first.id)
        );
    }
}
