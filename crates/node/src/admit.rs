//! The first checks on bytes from strangers: where they come from, and how much of it there was.
//!
//! Nothing here allocates after start: whoever forges source addresses must not be able to fill a table.

use ipnet::IpNet;
use pelago_proto::limit::Rate;
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::{Duration, Instant},
};

/// Whether an address lies in one of the allowed networks. IPv4-mapped IPv6 addresses count as the IPv4 they carry.
pub(crate) fn allowed(allow: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    allow.iter().any(|net| net.contains(&address))
}

/// A rate limit per source (GCRA), in two rows of fixed size.
///
/// A source falls on one cell of each row and passes if either lets it: a collision in one row never silences an
/// innocent. The hash is keyed, so nobody can aim at somebody else's cells.
pub(crate) struct SourceBudget {
    /// Microseconds since `origin` at which each cell's debt is paid, per row.
    rows: [Box<[u64]>; 2],
    hashers: [RandomState; 2],
    origin: Instant,
    interval: Duration,
    burst: Duration,
    /// Bits of an IPv4 and an IPv6 address that make one source.
    prefix: (u8, u8),
}

impl std::fmt::Debug for SourceBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceBudget")
            .field("interval", &self.interval)
            .field("burst", &self.burst)
            .finish()
    }
}

impl SourceBudget {
    const CELLS: usize = 1 << 14;

    /// So much per address.
    pub(crate) fn per_address(rate: Rate) -> Self {
        Self::new(rate, (32, 64))
    }

    /// So much per /24 or /56.
    pub(crate) fn per_prefix(rate: Rate) -> Self {
        Self::new(rate, (24, 56))
    }

    fn new(rate: Rate, prefix: (u8, u8)) -> Self {
        let row = || vec![0; Self::CELLS].into_boxed_slice();
        let hashers = [RandomState::new(), RandomState::new()];
        let interval = Duration::from_secs_f64(1.0 / rate.per_second.max(0.001));
        Self {
            rows: [row(), row()],
            hashers,
            origin: Instant::now(),
            interval,
            burst: interval.mul_f64(rate.burst),
            prefix,
        }
    }

    /// Takes one from the source's budget; `false` if it has none left (and nothing is taken).
    pub(crate) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        self.visit(source, now, true)
    }

    /// Whether the source has any left.
    pub(crate) fn has(&mut self, source: IpAddr, now: Instant) -> bool {
        self.visit(source, now, false)
    }

    fn visit(&mut self, source: IpAddr, now: Instant, charge: bool) -> bool {
        let now = micros(now.saturating_duration_since(self.origin));
        let (interval, burst) = (micros(self.interval), micros(self.burst));
        let source = self.network(source);
        let mut passed = false;
        for (row, hasher) in self.rows.iter_mut().zip(&self.hashers) {
            let index = usize::try_from(hasher.hash_one(source) % Self::CELLS as u64).unwrap_or(0);
            let Some(cell) = row.get_mut(index) else {
                continue;
            };
            let debt = (*cell).max(now);
            if debt.saturating_add(interval) <= now.saturating_add(burst) {
                passed = true;
                if charge {
                    *cell = debt.saturating_add(interval);
                }
            }
        }
        passed
    }

    fn network(&self, source: IpAddr) -> IpAddr {
        let source = source.to_canonical();
        let bits = if source.is_ipv4() {
            self.prefix.0
        } else {
            self.prefix.1
        };
        IpNet::new(source, bits).map_or(source, |net| net.network())
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().expect("address")
    }

    #[test]
    fn mapped_addresses_are_judged_as_what_they_carry() {
        let allow = ["10.0.0.0/8".parse().expect("net")];
        assert!(allowed(&allow, ip("10.1.2.3")));
        assert!(allowed(&allow, ip("::ffff:10.1.2.3")));
        assert!(!allowed(&allow, ip("192.168.0.1")));
        assert!(!allowed(&allow, ip("::ffff:192.168.0.1")));
        assert!(!allowed(&[], ip("10.1.2.3")), "an empty list allows nobody");
    }

    #[test]
    fn a_source_gets_its_burst_then_its_rate_and_others_stay_free() {
        let mut budget = SourceBudget::per_address(Rate::new(10.0, 0.5));
        let start = Instant::now();
        let flood = (0..100)
            .filter(|_| budget.take(ip("10.0.0.1"), start))
            .count();
        assert_eq!(flood, 5);
        assert!(budget.take(ip("10.0.0.2"), start));
        let later = start + Duration::from_secs(1);
        assert_eq!(
            (0..100)
                .filter(|_| budget.take(ip("10.0.0.1"), later))
                .count(),
            5
        );
    }

    #[test]
    fn a_flood_of_forged_sources_grows_nothing_and_silences_almost_nobody() {
        let mut budget = SourceBudget::per_address(Rate::new(10.0, 0.5));
        let now = Instant::now();
        for i in 0..1_000_000u32 {
            budget.take(IpAddr::V4((0x0b00_0000 + i).into()), now);
        }
        assert_eq!(
            budget.rows.iter().map(|r| r.len()).sum::<usize>(),
            2 * SourceBudget::CELLS
        );
        let later = now + Duration::from_secs(1);
        assert!(
            budget.take(ip("10.0.0.1"), later),
            "everybody recovers at the configured rate"
        );
    }

    #[test]
    fn prefixes_share_a_budget() {
        let mut budget = SourceBudget::per_prefix(Rate::new(8.0 / 60.0, 60.0));
        let now = Instant::now();
        for host in 0..8 {
            assert!(budget.take(ip(&format!("192.0.2.{host}")), now));
        }
        assert!(!budget.has(ip("192.0.2.99"), now));
        assert!(budget.has(ip("198.51.100.1"), now));
    }
}
