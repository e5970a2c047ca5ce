//! Who may shake hands, and which refusals are logged: the rules, without sockets.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use tokio::time::{Duration, Instant};

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

/// From one log line about an address to the next.
const QUIET: Duration = Duration::from_mins(1);

/// How many addresses are remembered. The rest share one line a minute.
const ADDRESSES: usize = 256;

/// The refusals of the last minute, so that nobody fills the log.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    addresses: HashMap<IpAddr, Noted>,
    others: Option<Noted>,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    logged: Instant,
    unlogged: u64,
}

impl Noted {
    fn again(&mut self, now: Instant) -> Option<u64> {
        if now < self.logged + QUIET {
            self.unlogged += 1;
            return None;
        }
        let unlogged = self.unlogged;
        *self = Self { logged: now, unlogged: 0 };
        Some(unlogged)
    }
}

impl Refusals {
    /// Notes a refusal. If it is to be logged, the answer is how many were not since the last that was.
    pub(super) fn note(&mut self, from: IpAddr, now: Instant) -> Option<u64> {
        let first = Noted { logged: now, unlogged: 0 };
        if let Some(noted) = self.addresses.get_mut(&from) {
            return noted.again(now);
        }
        if self.addresses.len() >= ADDRESSES {
            self.addresses.retain(|_, noted| now < noted.logged + QUIET);
        }
        if self.addresses.len() < ADDRESSES {
            self.addresses.insert(from, first);
            return Some(0);
        }
        match &mut self.others {
            Some(noted) => noted.again(now),
            others => {
                *others = Some(first);
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
    fn an_address_is_logged_once_a_minute() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        assert_eq!(refusals.note(address(1), now), Some(0));
        assert_eq!(refusals.note(address(1), now), None);
        assert_eq!(refusals.note(address(1), now + QUIET / 2), None);
        assert_eq!(refusals.note(address(2), now), Some(0));
        assert_eq!(refusals.note(address(1), now + QUIET), Some(2));
    }

    #[test]
    fn many_addresses_share_a_line() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        let mut lines = (0..100_000).filter(|number| refusals.note(address(*number), now).is_some()).count();
        assert_eq!(lines, ADDRESSES + 1);
        assert_eq!(refusals.addresses.len(), ADDRESSES);
        lines = (0..100_000).filter(|number| refusals.note(address(*number), now + QUIET).is_some()).count();
        assert_eq!(lines, ADDRESSES + 1);
    }
}
