//! The names certificates carry, because "who may say what" is decided by them: parsing is strict
//! (one spelling per name) so that two nodes can never read one certificate differently.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest URI subject alternative name, in bytes.
pub const MAX_URI: usize = 255;
/// The longest DNS name, in bytes.
pub(crate) const MAX_DNS: usize = 253;
/// The longest label: a datacenter, zone, rack or node name.
pub const MAX_LABEL: usize = 63;

/// Why a name is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The URI or the DNS name derived from it does not fit.
    #[error("the name is too long")]
    TooLong,
    /// Not `spiffe://<trust domain>/dc/<dc>/zone/<zone>/rack/<rack>/<role>/<node>`.
    #[error(
        "not of the form spiffe://<trust domain>/dc/<dc>/zone/<zone>/rack/<rack>/<role>/<node>"
    )]
    Shape,
    /// A label breaks the grammar `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`; names which one.
    #[error("the {0} must be 1 to 63 of a-z, 0-9 and inner hyphens")]
    Label(&'static str),
    /// The trust domain is not a lower-case DNS name.
    #[error("the trust domain must be a lower-case DNS name")]
    TrustDomain,
    /// Not `client`, `server` or `operator`.
    #[error("the role must be client, server or operator")]
    Role,
}

/// What a certificate entitles its holder to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A member that never opens or accepts a WAN connection.
    Client,
    /// A member that may be elected and may open WAN connections.
    Server,
    /// A person or automation: may remove members and hand in CRLs; never a member.
    Operator,
}

impl Role {
    /// The word used in certificates and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            "operator" => Ok(Self::Operator),
            _ => Err(NameError::Role),
        }
    }
}

/// Everything a leaf certificate says about its holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SpiffeName {
    /// The federation.
    pub trust_domain: String,
    /// The datacenter, and with it the issuing authority.
    pub datacenter: String,
    /// The zone: certified, because verdicts count racks.
    pub zone: String,
    /// The rack inside the zone.
    pub rack: String,
    /// What the holder may do.
    pub role: Role,
    /// The node's own name, unique in its datacenter.
    pub node: String,
}

impl SpiffeName {
    /// Parses the URI subject alternative name.
    pub fn parse(uri: &str) -> Result<Self, NameError> {
        if uri.len() > MAX_URI {
            return Err(NameError::TooLong);
        }
        let path = uri.strip_prefix("spiffe://").ok_or(NameError::Shape)?;
        let parts: Vec<&str> = path.split('/').collect();
        let [
            trust_domain,
            "dc",
            datacenter,
            "zone",
            zone,
            "rack",
            rack,
            role,
            node,
        ] = parts[..]
        else {
            return Err(NameError::Shape);
        };
        let name = Self {
            trust_domain: trust_domain.to_owned(),
            datacenter: datacenter.to_owned(),
            zone: zone.to_owned(),
            rack: rack.to_owned(),
            role: role.parse()?,
            node: node.to_owned(),
        };
        name.check()?;
        Ok(name)
    }

    /// Whether every part obeys the grammar and the printed forms fit.
    pub fn check(&self) -> Result<(), NameError> {
        check_trust_domain(&self.trust_domain)?;
        check_label("datacenter", &self.datacenter)?;
        check_label("zone", &self.zone)?;
        check_label("rack", &self.rack)?;
        check_label("node", &self.node)?;
        if self.to_string().len() > MAX_URI || self.dns().len() > MAX_DNS {
            return Err(NameError::TooLong);
        }
        Ok(())
    }

    /// The DNS subject alternative name that must accompany the URI: `<node>.<dc>.<trust domain>`.
    pub fn dns(&self) -> String {
        format!("{}.{}.{}", self.node, self.datacenter, self.trust_domain)
    }
}

impl fmt::Display for SpiffeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trust_domain,
            datacenter,
            zone,
            rack,
            role,
            node,
        } = self;
        write!(
            f,
            "spiffe://{trust_domain}/dc/{datacenter}/zone/{zone}/rack/{rack}/{role}/{node}"
        )
    }
}

impl FromStr for SpiffeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// Checks one label against `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`; `what` names it in the error.
pub fn check_label(what: &'static str, label: &str) -> Result<(), NameError> {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    let valid = bytes.len() <= MAX_LABEL
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-');
    if valid {
        Ok(())
    } else {
        Err(NameError::Label(what))
    }
}

/// Checks a trust domain: labels of the same grammar, joined by dots.
pub fn check_trust_domain(trust_domain: &str) -> Result<(), NameError> {
    let valid = trust_domain.len() <= MAX_DNS
        && trust_domain
            .split('.')
            .all(|label| check_label("trust domain", label).is_ok());
    if valid {
        Ok(())
    } else {
        Err(NameError::TrustDomain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s1";

    #[test]
    fn a_name_survives_printing() {
        let name = SpiffeName::parse(GOOD).unwrap();
        assert_eq!(name.to_string(), GOOD);
        assert_eq!(name.dns(), "s1.eu-west.example.test");
        assert_eq!(name.role, Role::Server);
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for bad in [
            "",
            "spiffe://",
            "SPIFFE://example.test/dc/eu-west/zone/a/rack/r1/server/s1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s1/",
            "spiffe://example.test//dc/eu-west/zone/a/rack/r1/server/s1",
            "spiffe://example.test/dc/eu-west/server/s1",
            "spiffe://example.test/dc/eu-west/rack/a/zone/r1/server/s1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/leader/s1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/S1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s%31",
            "spiffe://example.test/dc/../zone/a/rack/r1/server/s1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/-s1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s1-",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s_1",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s1?x",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/s1#x",
            "spiffe://example.test/dc/eu-west/zone/a/rack/r1/server/*",
            "spiffe://example.test:1/dc/eu-west/zone/a/rack/r1/server/s1",
            "spiffe://example..test/dc/eu-west/zone/a/rack/r1/server/s1",
            "spiffe:///dc/eu-west/zone/a/rack/r1/server/s1",
            "spiffe://example.test/dc/eu-west/zone/ä/rack/r1/server/s1",
        ] {
            assert!(SpiffeName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let label = "a".repeat(63);
        assert!(check_label("node", &label).is_ok());
        assert!(check_label("node", &format!("{label}a")).is_err());
        let long = format!("spiffe://{label}.{label}/dc/{label}/zone/a/rack/b/server/{label}");
        assert_eq!(SpiffeName::parse(&long), Err(NameError::TooLong));
    }
}
