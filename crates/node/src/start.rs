//! Starting a node: everything is checked and bound before anything is sent.

use crate::{
    StartError,
    api::Me,
    ask::{self, Asker},
    clock::Clock,
    config::Config,
    count::Counts,
    driver::{Driver, State},
    fault::Place,
    inputs,
    kept::Kept,
    node::Shared,
    publish::Published,
    quic::{Parts, Quic},
    seal::Sealer,
    seeds::Seeds,
    socket::LanSocket,
    store::Store,
    streams::{self, Service},
    trust::NodeTrust,
    udp::Udp,
    upkeep::Upkeep,
};
use ipnet::IpNet;
use pelago_proto::{
    federation::{Federation, Memory, Settings, Tier},
    identity::{Label, Role},
    trust::{Certified, Trust},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Questions that may wait to be answered.
const ASKS: usize = 64;

/// Starts a node and its tasks.
pub(crate) async fn start(config: Config) -> Result<Arc<Shared>, StartError> {
    let pki = config.pki.clone();
    let kept = config.data_dir.as_deref().map(Kept::new);
    let recalled = kept.clone();
    let trust = blocking(move || NodeTrust::load(&pki, recalled.as_ref())).await?;
    let trust = Arc::new(trust.map_err(|e| StartError::Pki(e.to_string()))?);
    let certified = trust.own();
    check(&config, &certified)?;
    let region =
        Label::new(&config.region).map_err(|e| StartError::Config(format!("region: {e}")))?;

    let counts = Arc::new(Counts::default());
    let (inputs, queue) = inputs::channel();
    let (asks, asked) = mpsc::channel(ASKS);
    let service = |tier| Service {
        tier,
        inputs: inputs.clone(),
        asks: asks.clone(),
        serving: Arc::new(Semaphore::new(streams::STREAMS)),
        counts: counts.clone(),
    };
    let place = |tier| Place {
        node: certified.name.to_string(),
        datacenter: certified.datacenter.to_string(),
        tier,
    };
    let wan_datacenters = by_datacenter(&config)?;
    let quic = |tier, address, allow: &[IpNet], datacenters| {
        let parts = Parts {
            address,
            allow: allow.to_vec(),
            datacenters,
            trust: trust.clone(),
            counts: counts.clone(),
            service: service(tier),
            faults: config.faults.clone(),
            place: place(tier),
        };
        Quic::start(parts).map_err(|error| StartError::Bind { address, error })
    };

    let address = SocketAddr::new(config.lan.address, config.lan.port);
    let bind = |error| StartError::Bind { address, error };
    let socket = UdpSocket::bind(address).map_err(bind)?;
    let address = socket.local_addr().map_err(bind)?;
    let lan = quic(
        Tier::Lan,
        SocketAddr::new(config.lan.address, config.lan.stream_port),
        &config.lan.allow,
        BTreeMap::new(),
    )?;
    let wan = match &config.wan {
        Some(wan) => Some(quic(
            Tier::Wan,
            SocketAddr::new(wan.address, wan.port),
            &wan.allow,
            wan_datacenters.clone(),
        )?),
        None => None,
    };
    let wan_address = published_wan(&config, wan.as_deref());

    let store = config
        .data_dir
        .as_ref()
        .map(|dir| Store::new(dir, trust.trust_domain(), trust.me()));
    let upkeep = Arc::new(Upkeep::default());
    upkeep.trouble("lists", trust.unkept.clone());
    let memory = recall(store.clone(), &upkeep).await?;
    let settings = Settings {
        region: region.clone(),
        lan: address,
        stream: lan.address,
        wan: wan_address,
        lan_allow: config.lan.allow.clone(),
        wan_allow: config
            .wan
            .as_ref()
            .map(|w| w.allow.clone())
            .unwrap_or_default(),
        wan_datacenters,
        tags: config.tags.clone(),
        probe_interval: config.lan.probe_interval,
        pause_tolerance: config.lan.pause_tolerance,
        tuning: pelago_proto::pool::Tuning::default(),
        seats: config.wan.as_ref().map_or(3, |w| w.seats),
        limits: config.limits.claims,
        version: env!("CARGO_PKG_VERSION").into(),
        memory,
    };
    let clock = Clock::start();
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| StartError::Pki("no randomness".into()))?;
    let mut federation = Federation::new(settings, trust.clone(), seed, clock.now())
        .map_err(|e| StartError::Config(e.to_string()))?;

    // The boot counter must be on disk before anybody hears of it.
    let mut memory = None;
    while let Some(newer) = federation.poll_memory() {
        memory = Some(newer);
    }
    if let (Some(store), Some(memory)) = (store.clone(), memory.clone()) {
        upkeep.save(store, memory).await;
    }
    let memory = watch::Sender::new(memory.unwrap_or_default());

    let published = Arc::new(Published::new(federation.view(clock.now())));
    published.counts.store(Arc::new(federation.counts()));
    let me = me(
        &certified,
        trust.trust_domain(),
        region,
        address,
        lan.address,
        wan_address,
    );
    let port = config
        .faults
        .register(address, &place(Tier::Lan))
        .map(Arc::new);
    let sealer = Sealer::new(trust.me(), trust.boot_key(), trust.trust_domain());
    let udp = Udp::new(
        LanSocket::new(socket, port, counts.clone()).map_err(bind)?,
        sealer,
        (config.lan.allow.clone(), config.limits.datagrams),
        counts.clone(),
        inputs.clone(),
        config.lan.address,
    );
    let wan_seeds = config
        .wan
        .as_ref()
        .zip(wan_address)
        .map(|(w, own)| (w.join.clone(), w.allow.clone(), own));
    let lan_seeds = (
        config.lan.join.clone(),
        config.lan.allow.clone(),
        lan.address,
    );
    let seeds = Arc::new(Seeds::new(lan_seeds, wan_seeds));
    let asker = Asker {
        published: published.clone(),
        lan: lan.clone(),
        wan: wan.clone(),
        inputs: inputs.clone(),
        seeds: seeds.clone(),
        clock,
    };
    let shared = Arc::new(Shared {
        me,
        trust,
        counts: counts.clone(),
        published: published.clone(),
        inputs: inputs.clone(),
        asker: asker.clone(),
        lan: lan.clone(),
        wan: wan.clone(),
        seeds: seeds.clone(),
        upkeep: upkeep.clone(),
        stop: CancellationToken::new(),
        done: CancellationToken::new(),
    });

    let state = State::new(&federation, shared.trust.generation(), clock.now());
    let saved = memory.subscribe();
    let stop = shared.stop.clone();
    let driver = Driver {
        federation,
        clock,
        udp,
        lan: lan.clone(),
        wan: wan.clone(),
        inputs: inputs.clone(),
        queue,
        counts,
        published: published.clone(),
        memory,
        upkeep: upkeep.clone(),
        stop: stop.clone(),
        state,
    };
    let driver = tokio::spawn(driver.run());
    tokio::spawn(ask::serve(asker, asked, stop.clone()));
    spawn_until(&stop, seeds.keep(inputs));
    spawn_until(&stop, upkeep.clone().watch(shared.clone(), kept));
    if let Some(store) = store {
        spawn_until(
            &stop,
            upkeep.keep_saving(store, saved, shared.inputs.clone()),
        );
    }
    tokio::spawn(finish(shared.clone(), driver));
    Ok(shared)
}

/// Ends everything once the protocol has ended, for whatever reason.
async fn finish(shared: Arc<Shared>, driver: tokio::task::JoinHandle<()>) {
    if let Err(error) = driver.await {
        tracing::error!(%error, "the protocol task ended abnormally");
    }
    shared.stop.cancel();
    let wan = async {
        if let Some(wan) = &shared.wan {
            wan.stop().await;
        }
    };
    tokio::join!(shared.lan.stop(), wan);
    shared.done.cancel();
}

fn spawn_until(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = task => {}
        }
    });
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| StartError::Config(e.to_string()))
}

async fn recall(store: Option<Store>, upkeep: &Upkeep) -> Result<Memory, StartError> {
    let Some(store) = store else {
        return Ok(Memory::default());
    };
    Ok(match blocking(move || store.load()).await? {
        Ok(memory) => memory.unwrap_or_default(),
        Err(error) => {
            tracing::error!(%error, "remembered state is not used");
            upkeep.trouble(
                "state",
                Some(format!("remembered state was not used: it {error}")),
            );
            Memory::default()
        }
    })
}

fn published_wan(config: &Config, wan: Option<&Quic>) -> Option<SocketAddr> {
    let (settings, wan) = (config.wan.as_ref()?, wan?);
    Some(SocketAddr::new(
        settings.advertise.unwrap_or(settings.address),
        wan.address.port(),
    ))
}

fn me(
    certified: &Certified,
    trust_domain: &str,
    region: Label,
    lan: SocketAddr,
    lan_stream: SocketAddr,
    wan: Option<SocketAddr>,
) -> Me {
    Me {
        id: certified.id,
        name: certified.name.clone(),
        trust_domain: trust_domain.into(),
        region,
        datacenter: certified.datacenter.clone(),
        zone: certified.zone.clone(),
        rack: certified.rack.clone(),
        role: certified.role,
        lan,
        lan_stream,
        wan,
        not_after: certified.not_after,
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// What the configuration says against the certificate and against itself.
fn check(config: &Config, certified: &Certified) -> Result<(), StartError> {
    let role = certified.role.to_string();
    let expected = [
        ("name", &config.name, certified.name.as_str()),
        (
            "datacenter",
            &config.datacenter,
            certified.datacenter.as_str(),
        ),
        ("zone", &config.zone, certified.zone.as_str()),
        ("rack", &config.rack, certified.rack.as_str()),
        ("role", &config.role, role.as_str()),
    ];
    for (field, configured, certified) in expected {
        if let Some(configured) = configured.as_ref().filter(|c| *c != certified) {
            let (configured, certified) = (configured.clone(), certified.into());
            return Err(StartError::Mismatch {
                field,
                configured,
                certified,
            });
        }
    }
    let wrong = |text: &str| Err(StartError::Config(text.into()));
    match (certified.role, &config.wan) {
        (Role::Server, None) => return wrong("a server needs the settings of the WAN"),
        (Role::Client, Some(_)) => return wrong("a client has no place on the WAN"),
        _ => {}
    }
    let lan = &config.lan;
    published("LAN", lan.address, &lan.allow)?;
    let tolerance = Duration::from_millis(500)..=Duration::from_secs(10);
    if !tolerance.contains(&lan.pause_tolerance) {
        return wrong("pause_tolerance must lie between 0.5 s and 10 s");
    }
    if let Some(wan) = &config.wan {
        published("WAN", wan.advertise.unwrap_or(wan.address), &wan.allow)?;
        if !(1..=7).contains(&wan.seats) {
            return wrong("seats must lie between 1 and 7");
        }
    }
    Ok(())
}

/// An address that others are told must be one that they can use, and that they will accept.
/// The networks of single datacenters, by the names that certificates bear.
fn by_datacenter(config: &Config) -> Result<BTreeMap<Label, Vec<IpNet>>, StartError> {
    let wan = config.wan.iter();
    wan.flat_map(|wan| &wan.datacenters)
        .map(|(name, nets)| match name.parse() {
            Ok(name) => Ok((name, nets.clone())),
            Err(_) => Err(StartError::Config(format!("{name:?} names no datacenter"))),
        })
        .collect()
}

fn published(pool: &str, address: IpAddr, allow: &[IpNet]) -> Result<(), StartError> {
    if allow.is_empty() {
        return Err(StartError::Config(format!("{pool}: no network is allowed")));
    }
    if address.is_unspecified() {
        return Err(StartError::Config(format!(
            "{pool}: {address} cannot be published; name an address"
        )));
    }
    if !crate::admit::allowed(allow, address) {
        return Err(StartError::Config(format!(
            "{pool}: {address} is outside the allowed networks"
        )));
    }
    Ok(())
}
