//! Who may shake hands, and which refusals are logged: the rules, without sockets.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use tokio::time::{Duration, Instant};

use super::advice::Kind;

/// How many handshakes may be under way.
pub(super) const HANDSHAKES: usize = 64;

/// The handshakes under way, oldest first.
///
/// A handshake takes milliseconds, and one that does nothing takes its whole time limit. So when there are too many, the oldest
/// of the address with the most gives way: a crowd of idle connections cannot keep a node out, nor can one address push out
/// another.
#[derive(Debug)]
pub(super) struct Handshakes<K>(Vec<(K, IpAddr)>);

impl<K> Default for Handshakes<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Eq + Hash> Handshakes<K> {
    /// Adds a handshake. The answer is one that must end for it.
    pub(super) fn begin(&mut self, key: K, from: IpAddr) -> Option<K> {
        let evicted = (self.0.len() >= HANDSHAKES).then(|| self.crowded()).flatten();
        if let Some(at) = evicted {
            let (evicted, _) = self.0.remove(at);
            self.0.push((key, from));
            return Some(evicted);
        }
        self.0.push((key, from));
        None
    }

    /// The place of the oldest handshake of the address with the most.
    fn crowded(&self) -> Option<usize> {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for (_, from) in &self.0 {
            *counts.entry(*from).or_default() += 1;
        }
        let most = counts.values().max()?;
        self.0.iter().position(|(_, from)| counts.get(from) == Some(most))
    }

    /// A handshake is over.
    pub(super) fn end(&mut self, key: K) {
        self.0.retain(|(other, _)| *other != key);
    }
}

/// From one log line about an address and a kind of refusal to the next. If it goes on, it is twice as long each time.
const QUIET: Duration = Duration::from_mins(1);

/// The longest time from one line to the next.
const LONGEST_QUIET: Duration = Duration::from_hours(1);

/// How many addresses with a kind are remembered. The rest share a line.
const REMEMBERED: usize = 256;

/// The refusals that were logged lately, so that nobody fills the log, and no kind of refusal hides another.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    noted: HashMap<(IpAddr, Kind), Noted>,
    others: Option<Noted>,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    logged: Instant,
    quiet: Duration,
    left_out: u64,
}

impl Noted {
    fn new(now: Instant) -> Self {
        Self { logged: now, quiet: QUIET, left_out: 0 }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now < self.logged + self.quiet
    }

    fn again(&mut self, now: Instant) -> Option<u64> {
        if self.is_quiet(now) {
            self.left_out += 1;
            return None;
        }
        let left_out = self.left_out;
        // After a pause it is news.
        let goes_on = now < self.logged + 2 * self.quiet;
        let quiet = if goes_on { LONGEST_QUIET.min(2 * self.quiet) } else { QUIET };
        *self = Self { logged: now, quiet, left_out: 0 };
        Some(left_out)
    }
}

impl Refusals {
    /// Notes a refusal. If it is to be logged, the answer is how many were not since the last that was.
    pub(super) fn note(&mut self, from: IpAddr, kind: Kind, now: Instant) -> Option<u64> {
        if let Some(noted) = self.noted.get_mut(&(from, kind)) {
            return noted.again(now);
        }
        if self.noted.len() >= REMEMBERED {
            self.noted.retain(|_, noted| noted.is_quiet(now));
        }
        if self.noted.len() < REMEMBERED {
            self.noted.insert((from, kind), Noted::new(now));
            return Some(0);
        }
        match &mut self.others {
            Some(noted) => noted.again(now),
            others => {
                *others = Some(Noted::new(now));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn the_oldest_handshake_of_the_crowd_gives_way() {
        let mut handshakes = Handshakes::default();
        assert_eq!(handshakes.begin(1000, address(1)), None);
        for key in 0..HANDSHAKES - 1 {
            assert_eq!(handshakes.begin(key, address(2)), None);
        }
        assert_eq!(handshakes.begin(1001, address(3)), Some(0), "and not the oldest of all");
        assert_eq!(handshakes.begin(1002, address(2)), Some(1));
        handshakes.end(5);
        assert_eq!(handshakes.begin(1003, address(2)), None, "one has ended");
    }

    #[test]
    fn a_kind_of_refusal_is_logged_once_for_an_address() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        assert_eq!(refusals.note(address(1), Kind::NoTls, now), Some(0));
        assert_eq!(refusals.note(address(1), Kind::NoTls, now), None);
        assert_eq!(refusals.note(address(1), Kind::NoTls, now + QUIET / 2), None);
        assert_eq!(refusals.note(address(1), Kind::Dates, now), Some(0), "another kind");
        assert_eq!(refusals.note(address(2), Kind::NoTls, now), Some(0), "another address");
        assert_eq!(refusals.note(address(1), Kind::NoTls, now + QUIET), Some(2));
        assert_eq!(refusals.note(address(1), Kind::Dates, now + QUIET), Some(0));
    }

    #[test]
    fn what_goes_on_for_days_is_logged_more_and_more_seldom() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        let mut lines = |minutes: std::ops::Range<u64>| {
            let at = minutes.flat_map(|minute| (0..12).map(move |part| 60 * minute + 5 * part));
            at.filter(|second| {
                refusals.note(address(1), Kind::Dates, now + Duration::from_secs(*second)).is_some()
            })
            .count()
        };
        assert_eq!(lines(0..60), 6, "at minutes 0, 1, 3, 7, 15, 31");
        assert_eq!(lines(60..25 * 60), 24);
        // After a pause it is news.
        assert_eq!(lines(30 * 60..30 * 60 + 60), 6);
    }

    #[test]
    fn many_addresses_share_a_line() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        let mut lines = |now| {
            let of = |number: u32| refusals.note(address(number), Kind::NoTls, now).is_some();
            (0..100_000).map(of).filter(|is_logged| *is_logged).count()
        };
        assert_eq!(lines(now), REMEMBERED + 1);
        assert!(lines(now + QUIET) <= REMEMBERED + 1);
        assert!(refusals.noted.len() <= REMEMBERED);
    }
}
