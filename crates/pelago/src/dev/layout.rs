//! Who is where in a development federation, and the files that each node starts from.

use super::DevArgs;
use crate::{exit::Failure, pki::unix_now};
use pelago_node::{
    config::{Config, Lan, Limits, Pki, Wan},
    fault::Faults,
};
use pelago_pki::{IssueRequest, LEAF_LIFETIME};
use pelago_proto::identity::Role;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

const TRUST_DOMAIN: &str = "dev.pelago.example";
const KNOWN: [(&str, &str); 3] = [
    ("eu-west", "europe"),
    ("us-east", "america"),
    ("ap-south", "asia"),
];
const ZONES: [&str; 3] = ["a", "b", "c"];

/// One node of the federation.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// In the order in which people list them.
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) datacenter: String,
    pub(super) region: String,
    pub(super) zone: &'static str,
    pub(super) rack: &'static str,
    pub(super) role: Role,
    /// The first server of its datacenter: the others' seed.
    pub(super) first: bool,
    /// A server's API listens so many ports after the first.
    pub(super) api: Option<u16>,
}

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    datacenters: Vec<(String, String)>,
    servers: u8,
    clients: u8,
    faults: Faults,
    /// Removed when the last clone is dropped.
    _temporary: Option<Arc<TempDir>>,
}

impl Layout {
    pub(super) fn new(args: &DevArgs) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("no place for certificates and sockets: {error}"))
        };
        let (dir, temporary) = match &args.dir {
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(failed)?;
                (dir.canonicalize().map_err(failed)?, None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("pelago-dev-")
                    .tempdir()
                    .map_err(failed)?;
                (temporary.path().to_owned(), Some(Arc::new(temporary)))
            }
        };
        let datacenters = (0..args.datacenters).map(|at| match KNOWN.get(usize::from(at)) {
            Some((name, region)) => ((*name).to_owned(), (*region).to_owned()),
            None => (format!("dc-{}", at + 1), format!("region-{}", at + 1)),
        });
        Ok(Self {
            datacenters: datacenters.collect(),
            dir,
            servers: args.servers,
            clients: args.clients,
            faults: args.network.faults(),
            _temporary: temporary,
        })
    }

    /// Everybody, datacenter by datacenter, servers first.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        let mut apis = 0_u16..;
        for (datacenter, region) in &self.datacenters {
            let servers = (0..self.servers).map(|at| (Role::Server, at));
            let clients = (0..self.clients).map(|at| (Role::Client, at));
            for (role, at) in servers.chain(clients) {
                let (letter, rack) = if role == Role::Server {
                    ('s', "r1")
                } else {
                    ('c', "r2")
                };
                places.push(Place {
                    number: places.len(),
                    name: format!("{datacenter}-{letter}{}", at + 1),
                    datacenter: datacenter.clone(),
                    region: region.clone(),
                    zone: ZONES[usize::from(at) % ZONES.len()],
                    rack,
                    role,
                    first: role == Role::Server && at == 0,
                    api: if role == Role::Server {
                        apis.next()
                    } else {
                        None
                    },
                });
            }
        }
        places
    }

    fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    pub(super) fn socket(&self, place: &Place) -> PathBuf {
        self.dir.join(format!("{}.sock", place.name))
    }

    /// Makes what is missing and renews what is there.
    pub(super) fn certificates(&self) -> Result<(), Failure> {
        let failed =
            |error: pelago_pki::PkiError| Failure::failed(format!("certificates: {error}"));
        let names: Vec<_> = self
            .datacenters
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        pelago_pki::init(&self.pki(), TRUST_DOMAIN, &names, unix_now()).map_err(failed)?;
        for place in self.places() {
            let made = match certificate(&self.pki(), &place) {
                cert if cert.exists() => {
                    pelago_pki::renew(&self.pki(), &cert, false, None, unix_now())
                }
                _ => pelago_pki::issue(&self.pki(), &request(&place), unix_now()),
            };
            made.map_err(failed)?;
        }
        for (datacenter, _) in &self.datacenters {
            let made = match self.operator(datacenter).0 {
                cert if cert.exists() => {
                    pelago_pki::renew(&self.pki(), &cert, false, None, unix_now())
                }
                _ => pelago_pki::issue(&self.pki(), &operator(datacenter), unix_now()),
            };
            made.map_err(failed)?;
        }
        Ok(())
    }

    /// Certificate and key of somebody who may remove members of a datacenter.
    pub(super) fn operator(&self, datacenter: &str) -> (PathBuf, PathBuf) {
        let at = |file: &str| self.pki().join(datacenter).join(file);
        (at("operator.pem"), at("operator.key"))
    }

    /// What a node starts from. All ports are free ones.
    pub(super) fn config(
        &self,
        place: &Place,
        seed: Option<SocketAddr>,
        wan: &[SocketAddr],
    ) -> Config {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let allow = vec![ipnet::IpNet::new_assert(loopback, 8).trunc()];
        let cert = certificate(&self.pki(), place);
        Config {
            region: place.region.clone(),
            name: Some(place.name.clone()),
            datacenter: Some(place.datacenter.clone()),
            zone: Some(place.zone.to_owned()),
            rack: Some(place.rack.to_owned()),
            role: Some(place.role.to_string()),
            data_dir: Some(self.dir.join("data").join(&place.name)),
            tags: BTreeMap::new(),
            pki: Pki {
                ca: self.pki().join("ca.pem"),
                key: cert.with_extension("key"),
                cert,
                crl_dir: Some(self.pki().join("crl")),
                fail_closed: false,
            },
            lan: Lan {
                address: loopback,
                port: 0,
                stream_port: 0,
                allow: allow.clone(),
                join: seed.iter().map(ToString::to_string).collect(),
                probe_interval: Duration::from_millis(200),
                pause_tolerance: Duration::from_secs(2),
            },
            wan: (place.role == Role::Server).then(|| Wan {
                address: loopback,
                port: 0,
                advertise: None,
                allow,
                datacenters: BTreeMap::new(),
                join: wan.iter().map(ToString::to_string).collect(),
                seats: 3,
            }),
            limits: Limits::default(),
            faults: self.faults.clone(),
        }
    }
}

fn certificate(pki: &Path, place: &Place) -> PathBuf {
    pki.join(&place.datacenter)
        .join(format!("{}.pem", place.name))
}

fn request(place: &Place) -> IssueRequest {
    IssueRequest {
        datacenter: place.datacenter.clone(),
        zone: place.zone.to_owned(),
        rack: place.rack.to_owned(),
        role: if place.role == Role::Server {
            pelago_pki::Role::Server
        } else {
            pelago_pki::Role::Client
        },
        node: place.name.clone(),
        lifetime: LEAF_LIFETIME,
        out: None,
    }
}

fn operator(datacenter: &str) -> IssueRequest {
    IssueRequest {
        datacenter: datacenter.to_owned(),
        zone: ZONES[0].to_owned(),
        rack: "r1".to_owned(),
        role: pelago_pki::Role::Operator,
        node: "operator".to_owned(),
        lifetime: LEAF_LIFETIME,
        out: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(datacenters: u8, dir: &Path) -> Layout {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 8700));
        Layout::new(&DevArgs {
            datacenters,
            servers: 3,
            clients: 2,
            http,
            dir: Some(dir.into()),
            network: crate::dev::Network::default(),
        })
        .expect("a layout")
    }

    #[test]
    fn everybody_has_a_place_and_servers_an_api() {
        let dir = tempfile::tempdir().expect("a folder");
        let places = layout(4, dir.path()).places();
        assert_eq!(places.len(), 20);
        assert_eq!(
            places
                .iter()
                .filter_map(|place| place.api)
                .collect::<Vec<_>>(),
            (0..12).collect::<Vec<_>>()
        );
        let shown: Vec<_> = places[..5]
            .iter()
            .map(|it| format!("{} {}{}", it.name, it.zone, it.rack))
            .collect();
        assert_eq!(
            shown,
            [
                "eu-west-s1 ar1",
                "eu-west-s2 br1",
                "eu-west-s3 cr1",
                "eu-west-c1 ar2",
                "eu-west-c2 br2"
            ]
        );
        assert_eq!(
            (places[15].name.as_str(), places[15].region.as_str()),
            ("dc-4-s1", "region-4")
        );
    }

    #[test]
    fn certificates_are_made_and_made_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let layout = layout(1, dir.path());
        layout.certificates().expect("made");
        layout.certificates().expect("renewed");
        let config = layout.config(&layout.places()[0], None, &[]);
        pelago_pki::Identity::load(&config.pki.cert, &config.pki.key).expect("an identity");
    }
}
