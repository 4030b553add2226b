//! The addresses of this host, for binds that name a network instead of an address.

use ipnet::IpNet;
use std::net::IpAddr;

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) net: IpNet,
}

/// What this host has, by name.
pub(crate) fn interfaces() -> Vec<Interface> {
    let mut found: Vec<_> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|interface| {
            let prefix = match &interface.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            };
            let net = IpNet::new(interface.ip(), prefix).ok()?;
            Some(Interface {
                name: interface.name,
                net,
            })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The one address of this host inside `net`, or what there is instead: `(error, line to write)`.
pub(crate) fn pick(
    interfaces: &[Interface],
    net: &IpNet,
) -> Result<IpAddr, (String, Option<String>)> {
    let inside: Vec<_> = interfaces
        .iter()
        .filter(|interface| net.contains(&interface.net.addr()))
        .collect();
    match inside.as_slice() {
        [one] => Ok(one.net.addr()),
        [] => {
            // A network that the host is really on is the best suggestion; loopback hardly ever is meant.
            let other = interfaces
                .iter()
                .find(|it| !it.net.addr().is_loopback() && same_family(it, net));
            Err((
                format!("no local address is inside {net}"),
                other.map(|it| format!("bind = \"{}\"", it.net.trunc())),
            ))
        }
        [first, ..] => Err((
            format!("{} local addresses are inside {net}", inside.len()),
            Some(format!("bind = \"{}\"", first.net.addr())),
        )),
    }
}

/// The network that an address of this host is connected to.
pub(crate) fn network_of(interfaces: &[Interface], address: IpAddr) -> Option<IpNet> {
    let own = interfaces
        .iter()
        .find(|interface| interface.net.addr() == address);
    // Linux answers for all of 127.0.0.0/8, whatever is listed.
    let near = || {
        interfaces
            .iter()
            .find(|it| address.is_loopback() && it.net.contains(&address))
    };
    own.or_else(near).map(|interface| interface.net.trunc())
}

/// `eth0 10.80.0.11/24, …` for error messages.
pub(crate) fn list(interfaces: &[Interface]) -> String {
    let all: Vec<_> = interfaces
        .iter()
        .map(|interface| format!("{} {}", interface.name, interface.net))
        .collect();
    if all.is_empty() {
        "no addresses at all".to_owned()
    } else {
        all.join(", ")
    }
}

fn same_family(interface: &Interface, net: &IpNet) -> bool {
    interface.net.addr().is_ipv4() == net.addr().is_ipv4()
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fixture() -> Vec<Interface> {
    [
        ("lo", "127.0.0.1/8"),
        ("eth0", "10.80.0.11/24"),
        ("eth1", "10.91.0.4/16"),
        ("eth1", "10.91.0.5/16"),
    ]
    .into_iter()
    .map(|(name, net)| Interface {
        name: name.into(),
        net: net.parse().expect("a network"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn one_none_or_several() {
        let host = fixture();
        assert_eq!(
            pick(&host, &net("10.80.0.0/16")),
            Ok("10.80.0.11".parse().expect("an address"))
        );
        let (error, line) = pick(&host, &net("10.81.0.0/16")).expect_err("none");
        assert!(error.contains("no local address"));
        assert_eq!(line.as_deref(), Some("bind = \"10.80.0.0/24\""));
        let (error, line) = pick(&host, &net("10.91.0.0/16")).expect_err("two");
        assert!(error.starts_with('2'));
        assert_eq!(line.as_deref(), Some("bind = \"10.91.0.4\""));
    }

    #[test]
    fn this_host_has_loopback() {
        let host = interfaces();
        assert!(
            host.iter()
                .any(|interface| interface.net.addr().is_loopback()),
            "{}",
            list(&host)
        );
        let home = network_of(&host, "127.81.0.11".parse().expect("an address"));
        assert_eq!(home, Some(net("127.0.0.0/8")));
    }
}
