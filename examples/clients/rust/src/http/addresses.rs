//! Which of several addresses is used, and why others are not: rules without I/O.
//!
//! One address is used until it fails. Then the next one is, for whoever shares the client: a node that died fails one request
//! for each of them at most. A failure that comes late, of an address that was left already, moves nothing.

use std::sync::{Mutex, PoisonError};

/// Why an address failed when it was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressFailure {
    /// The address, without a user's name and password.
    pub address: String,
    /// What went wrong, with its causes.
    pub why: String,
}

/// Addresses of one cluster, of which any does as well as another.
#[derive(Debug)]
pub(crate) struct Addresses {
    shown: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: usize,
    /// Why each failed, if it has not answered since.
    failures: Vec<Option<String>>,
}

impl Addresses {
    /// Begins with the first one. There must be one.
    pub(super) fn new(shown: Vec<String>) -> Self {
        let failures = vec![None; shown.len()];
        Self { shown, state: Mutex::new(State { current: 0, failures }) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// Which one is used now.
    pub(super) fn current(&self) -> usize {
        self.with(|state| state.current)
    }

    /// The one that is used now, for people.
    pub(super) fn shown(&self) -> &str {
        &self.shown[self.current()]
    }

    pub(super) fn answered(&self, at: usize) {
        self.with(|state| state.failures[at] = None);
    }

    /// One failed: the next one is used, unless it was left already.
    pub(super) fn failed(&self, at: usize, why: String) {
        self.with(|state| {
            state.failures[at] = Some(why);
            if state.current == at {
                state.current = (at + 1) % self.shown.len();
            }
        });
    }

    /// Those that failed and have not answered since, in the order in which they were given.
    pub(super) fn failures(&self) -> Vec<AddressFailure> {
        let failures = self.with(|state| state.failures.clone());
        let failed = |(address, why): (&String, Option<String>)| {
            Some(AddressFailure { address: address.clone(), why: why? })
        };
        self.shown.iter().zip(failures).filter_map(failed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_used_after_a_failure() {
        let addresses = Addresses::new(["a", "b", "c"].map(str::to_owned).to_vec());
        let failed = |at: usize| addresses.failed(at, format!("no {at}"));
        failed(0);
        assert_eq!(addresses.shown(), "b");
        // The failure of another request that was under way to the same one.
        failed(0);
        assert_eq!(addresses.current(), 1);
        failed(1);
        failed(2);
        assert_eq!(addresses.current(), 0);
        addresses.answered(1);
        let failures = addresses.failures();
        let failures: Vec<_> = failures.iter().map(|it| (it.address.as_str(), it.why.as_str())).collect();
        assert_eq!(failures, [("a", "no 0"), ("c", "no 2")]);
    }

    #[test]
    fn a_single_one_is_used_again() {
        let addresses = Addresses::new(vec!["a".to_owned()]);
        addresses.failed(0, "no".to_owned());
        assert_eq!((addresses.current(), addresses.failures().len()), (0, 1));
    }
}
