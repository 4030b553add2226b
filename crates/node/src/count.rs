//! What the runtime counts. Every series exists from the start, so that "never happened" and "not measured" differ.
//!
//! Whatever a peer or a stranger sends wrongly ends here: a counter with a reason, and a log line at most every ten
//! seconds per reason, so that nobody can flood the log.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A fixed set of labels that index an array of counters.
pub(crate) trait Label: Copy + 'static {
    const ALL: &'static [Self];
    fn as_str(self) -> &'static str;
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant,)* }
        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];
            fn as_str(self) -> &'static str { match self { $(Self::$variant => $text,)* } }
            fn index(self) -> usize { self as usize }
        }
    };
}

labels! {
    /// Why a datagram was dropped, in the order of the checks.
    Dropped {
        /// Shorter than a header and a tag.
        Short = "short",
        /// More than 1,200 bytes.
        Oversized = "oversized",
        /// Another format, or bits that mean nothing in this one.
        Version = "version",
        /// From outside `allow`.
        Source = "source",
        /// Its source sent too much; only senders known already are still heard.
        SourceBudget = "source_budget",
        /// Nobody known, and no introduction.
        UnknownSender = "unknown_sender",
        /// Lengths inside do not add up.
        Malformed = "malformed",
        /// Sealed to another key than this boot's.
        ReceiverKey = "receiver_key",
        /// Seen before, or too old to tell.
        Replay = "replay",
        /// Does not open under the sender's key.
        Forged = "forged",
        /// The introduction was refused (the protocol counts why) or names somebody else.
        Introduction = "introduction",
        /// A WAN datagram for which no link is up.
        NoLink = "no_link",
        /// Larger than the path or the format takes.
        TooLarge = "too_large",
        /// The operating system took no more, or failed.
        Send = "send",
        /// The protocol task was too far behind.
        Queue = "queue",
        /// More closed-port probes under way than sockets for them.
        Probes = "probes",
    }
}

labels! {
    /// Why a QUIC handshake or the identity behind it was refused, on either side. First what certificates are refused
    /// for, in the words of `pelago-pki`, then what only connections are.
    Refused {
        Malformed = "malformed",
        TooLarge = "too-large",
        UnknownIssuer = "unknown-issuer",
        BadSignature = "bad-signature",
        Expired = "expired",
        NotYetValid = "not-yet-valid",
        Revoked = "revoked",
        UnknownRevocation = "unknown-revocation",
        RevocationExpired = "revocation-expired",
        WrongTrustDomain = "wrong-trust-domain",
        WrongDatacenter = "wrong-datacenter",
        BadName = "bad-name",
        NameMismatch = "name-mismatch",
        SanCount = "san-count",
        Role = "role",
        WrongPeer = "wrong-peer",
        WeakKey = "weak-key",
        KeyType = "key-type",
        Lifetime = "lifetime",
        ChainLength = "chain-length",
        WrongKind = "wrong-kind",
        Usage = "usage",
        Constraint = "constraint",
        Extension = "extension",
        Rollback = "rollback",
        FromFuture = "from-future",
        Full = "full",
        NoCertificate = "no-certificate",
        /// This node's own key: a clone, or its own address among the seeds.
        Myself = "myself",
        /// From outside `allow`.
        Source = "source",
        /// Too many failed handshakes from there.
        Budget = "budget",
        /// More connections than there may be.
        TooMany = "too-many",
        /// No protocol in common, or one misused.
        Protocol = "protocol",
        Timeout = "timeout",
        /// The other side refused us.
        ByPeer = "by-peer",
        Other = "other",
    }
}

impl Refused {
    /// The counter for what a certificate was refused for.
    pub(crate) fn of(refusal: pelago_proto::trust::Refusal) -> Self {
        let label = refusal.0.replace('_', "-");
        Self::ALL
            .iter()
            .copied()
            .find(|r| r.as_str() == label)
            .unwrap_or(Self::Other)
    }
}

labels! {
    /// Why a stream that a peer opened was reset.
    Cut {
        /// As many streams of that peer, or of all, are being served as may be.
        Busy = "busy",
        /// It was not written, or its answer not read, in time.
        Deadline = "deadline",
        /// It carried more than a message may have.
        TooLarge = "too-large",
        /// It carried nothing, or something that is no request.
        Malformed = "malformed",
        /// The protocol had no answer to it.
        Unanswered = "unanswered",
    }
}

labels! {
    /// What bytes were for.
    Kind {
        LanDatagram = "datagram",
        LanQuic = "lan_quic",
        WanQuic = "wan_quic",
    }
}

/// One counter per label.
pub(crate) struct Counters<L> {
    cells: Box<[AtomicU64]>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self {
            cells: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            label: std::marker::PhantomData,
        }
    }
}

impl<L: Label> Counters<L> {
    pub(crate) fn add(&self, label: L, n: u64) {
        if let Some(cell) = self.cells.get(label.index()) {
            cell.fetch_add(n, Relaxed);
        }
    }

    pub(crate) fn get(&self, label: L) -> u64 {
        self.cells.get(label.index()).map_or(0, |c| c.load(Relaxed))
    }
}

impl<L: Label> fmt::Debug for Counters<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(L::ALL.iter().map(|l| (l.as_str(), self.get(*l))))
            .finish()
    }
}

/// Everything one node counts outside the protocol.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) dropped: Counters<Dropped>,
    pub(crate) refused: Counters<Refused>,
    pub(crate) cut: Counters<Cut>,
    pub(crate) packets_in: Counters<Kind>,
    pub(crate) packets_out: Counters<Kind>,
    pub(crate) bytes_in: Counters<Kind>,
    pub(crate) bytes_out: Counters<Kind>,
    pub(crate) handshakes: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) requests_in: AtomicU64,
    pub(crate) requests_out: AtomicU64,
    pub(crate) port_closed: AtomicU64,
    /// Pair keys held and peak input queue, written by the driver.
    pub(crate) pair_keys: AtomicU64,
    pub(crate) queue: AtomicU64,
    drop_log: Throttle,
    refusal_log: Throttle,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            dropped: Counters::default(),
            refused: Counters::default(),
            cut: Counters::default(),
            packets_in: Counters::default(),
            packets_out: Counters::default(),
            bytes_in: Counters::default(),
            bytes_out: Counters::default(),
            handshakes: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            requests_in: AtomicU64::new(0),
            requests_out: AtomicU64::new(0),
            port_closed: AtomicU64::new(0),
            pair_keys: AtomicU64::new(0),
            queue: AtomicU64::new(0),
            drop_log: Throttle::new(Dropped::ALL.len()),
            refusal_log: Throttle::new(Refused::ALL.len()),
        }
    }
}

impl Counts {
    /// Counts a dropped datagram and, now and then, says so.
    pub(crate) fn lose(&self, reason: Dropped, peer: impl fmt::Display) {
        self.dropped.add(reason, 1);
        if self.drop_log.may_speak(reason.index()) {
            tracing::warn!(reason = reason.as_str(), %peer, total = self.dropped.get(reason), "datagram dropped");
        }
    }

    /// Counts a refused peer and, now and then, says so.
    pub(crate) fn refuse(
        &self,
        reason: Refused,
        peer: impl fmt::Display,
        detail: impl fmt::Display,
    ) {
        self.refused.add(reason, 1);
        if self.refusal_log.may_speak(reason.index()) {
            let total = self.refused.get(reason);
            tracing::warn!(reason = reason.as_str(), %peer, %detail, total, "peer refused");
        }
    }

    /// One packet in.
    pub(crate) fn arrived(&self, kind: Kind, bytes: usize) {
        self.packets_in.add(kind, 1);
        self.bytes_in.add(kind, bytes as u64);
    }

    /// One packet out.
    pub(crate) fn sent(&self, kind: Kind, bytes: usize) {
        self.packets_out.add(kind, 1);
        self.bytes_out.add(kind, bytes as u64);
    }
}

/// At most one log line per slot and ten seconds.
#[derive(Debug)]
struct Throttle {
    origin: Instant,
    /// Milliseconds since `origin` before which a slot keeps silent.
    until: Box<[AtomicU64]>,
}

impl Throttle {
    const QUIET: Duration = Duration::from_secs(10);

    fn new(slots: usize) -> Self {
        Self {
            origin: Instant::now(),
            until: (0..slots).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn may_speak(&self, slot: usize) -> bool {
        let Some(cell) = self.until.get(slot) else {
            return false;
        };
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let until = cell.load(Relaxed);
        let next = now.saturating_add(Self::QUIET.as_millis() as u64);
        now >= until && cell.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_in_full_and_logged_once() {
        let throttle = Throttle::new(2);
        assert_eq!((0..1000).filter(|_| throttle.may_speak(0)).count(), 1);
        assert!(throttle.may_speak(1), "one reason does not silence another");
        let counts = Counts::default();
        (0..1000).for_each(|_| counts.lose(Dropped::Forged, "test"));
        assert_eq!(counts.dropped.get(Dropped::Forged), 1000);
        assert_eq!(counts.dropped.get(Dropped::Replay), 0);
    }
}
