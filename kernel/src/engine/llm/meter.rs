//! What requests cost.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Add, AddAssign},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::response::Usage;

/// Money, in billionths of a US dollar: a whole number, so that sums are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl fmt::Display for NanoUsd {
    /// Dollars with as many decimals as the sum has, two at least: `$0.0015`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BILLION: u64 = 1_000_000_000;
        let decimals = format!("{:09}", self.0 % BILLION);
        let shown = decimals.trim_end_matches('0');
        write!(f, "${}.{:0<2}", self.0 / BILLION, shown)
    }
}

impl Add for NanoUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// What requests to one model cost, and how they went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Charges {
    /// Requests that were sent to this model, whatever their tries. One that a fallback answered counts for both models.
    pub calls: u64,
    /// Of those the ones that this model did not answer.
    pub failures: u64,
    /// Tries after the first with the same model.
    pub retries: u64,
    /// Requests that came here because another model had failed.
    pub fallbacks: u64,
    /// Tokens, with those of failed tries as far as the server said.
    pub usage: Usage,
    /// Money, by the configured prices.
    pub cost: NanoUsd,
    /// How long requests waited for their turn, in milliseconds.
    pub waited_ms: u64,
    /// How long the server took, in milliseconds.
    pub took_ms: u64,
}

impl AddAssign for Charges {
    fn add_assign(&mut self, other: Self) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.calls, other.calls);
        sum(&mut self.failures, other.failures);
        sum(&mut self.retries, other.retries);
        sum(&mut self.fallbacks, other.fallbacks);
        self.usage += other.usage;
        self.cost = self.cost + other.cost;
        sum(&mut self.waited_ms, other.waited_ms);
        sum(&mut self.took_ms, other.took_ms);
    }
}

/// Adds up what a request costs, by model. A clone is the same meter, so whoever made the request reads what its provider
/// noted, also of a request that failed or was cancelled.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<BTreeMap<String, Charges>>>);

/// Meters are not what a request is about, so all are equal.
impl PartialEq for Meter {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Meter {
    /// Adds to what a model has cost; the model by its name in the configuration.
    pub fn charge(&self, model: &str, charges: Charges) {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match models.get_mut(model) {
            Some(sum) => *sum += charges,
            None => drop(models.insert(model.to_owned(), charges)),
        }
    }

    /// Takes what was added up, by model.
    pub fn take(&self) -> BTreeMap<String, Charges> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_with_the_decimals_that_it_has() {
        let cases = [
            (0, "$0.00"),
            (1, "$0.000000001"),
            (1_500_000, "$0.0015"),
            (500_000_000, "$0.50"),
            (12_340_000_000, "$12.34"),
            (u64::MAX, "$18446744073.709551615"),
        ];
        for (nanos, shown) in cases {
            assert_eq!(NanoUsd(nanos).to_string(), shown);
        }
    }

    #[test]
    fn a_meter_adds_up_by_model() {
        let meter = Meter::default();
        let usage = |prompt| Usage { prompt, ..Usage::default() };
        meter.clone().charge("big", Charges { calls: 1, usage: usage(3), ..Charges::default() });
        meter.charge("big", Charges { retries: 2, usage: usage(u64::MAX), ..Charges::default() });
        meter.charge("small", Charges { cost: NanoUsd(7), ..Charges::default() });
        let charged = meter.take();
        let big = Charges { calls: 1, retries: 2, usage: usage(u64::MAX), ..Charges::default() };
        assert_eq!((charged["big"], charged["small"].cost), (big, NanoUsd(7)));
        assert!(meter.take().is_empty());
    }
}
