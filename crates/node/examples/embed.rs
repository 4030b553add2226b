//! A node inside another program: `embed CA CERT KEY CRL_DIR [SEED…]` starts one on loopback, prints members and events,
//! and leaves on Ctrl-C.

use pelago_node::{
    Node,
    config::{Config, Lan, Limits, Pki, Wan},
    fault::Faults,
};
use std::{collections::BTreeMap, error::Error, io::Write, net::IpAddr, time::Duration};
use tokio::sync::broadcast::error::RecvError;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [ca, cert, key, crl_dir, join @ ..] = arguments.as_slice() else {
        return Err("usage: embed CA CERT KEY CRL_DIR [SEED…]".into());
    };
    let address = IpAddr::from([127, 0, 0, 1]);
    let allow = vec!["127.0.0.0/8".parse()?];
    let config = Config {
        region: "somewhere".into(),
        // Name, datacenter, zone, rack and role come out of the certificate.
        name: None,
        datacenter: None,
        zone: None,
        rack: None,
        role: None,
        data_dir: None,
        tags: BTreeMap::from([("via".into(), "embed".into())]),
        pki: Pki {
            ca: ca.into(),
            cert: cert.into(),
            key: key.into(),
            crl_dir: Some(crl_dir.into()),
            fail_closed: false,
        },
        lan: Lan {
            address,
            port: 0,
            stream_port: 0,
            allow: allow.clone(),
            join: join.to_vec(),
            probe_interval: Duration::from_millis(200),
            pause_tolerance: Duration::from_secs(2),
        },
        // A client's certificate wants `None` here.
        wan: Some(Wan {
            address,
            port: 0,
            advertise: None,
            allow,
            datacenters: BTreeMap::new(),
            join: Vec::new(),
            seats: 3,
        }),
        limits: Limits::default(),
        faults: Faults::none(),
    };

    let node = Node::start(config).await?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} is up; others join by {}",
        node.me().name,
        node.me().lan_stream
    )?;
    let mut events = node.events();
    print(&node, &mut out)?;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            event = events.recv() => match event {
                Ok(numbered) => {
                    writeln!(out, "#{} {}", numbered.id, numbered.event.detail)?;
                    print(&node, &mut out)?;
                }
                // Too slow for every event: the snapshot still tells the whole truth.
                Err(RecvError::Lagged(missed)) => writeln!(out, "{missed} events missed")?,
                Err(RecvError::Closed) => break,
            },
        }
    }
    node.leave().await;
    Ok(())
}

fn print(node: &Node, out: &mut impl Write) -> std::io::Result<()> {
    let snapshot = node.snapshot();
    for datacenter in snapshot.view.datacenters.values() {
        for member in datacenter.members.iter() {
            let place = format!("{}/{}/{}", member.datacenter, member.zone, member.rack);
            writeln!(
                out,
                "  {:<12} {:<24} {:<8} {}",
                member.name, place, member.role, member.status
            )?;
        }
    }
    Ok(())
}
