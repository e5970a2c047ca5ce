//! Counts what an instance does in a meeting; cheap enough to be always on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use teammy_kernel::Name;

use crate::metrics::{HookTiming, InstanceMetrics};

/// What an instance has done in a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceStats {
    /// The instance's name.
    pub name: Name,
    /// Packets that its hooks have finished with, including those given up; `on_meeting_start` and
    /// `on_meeting_end` are not counted.
    pub delivered: u64,
    /// Outputs.
    pub outputs: u64,
    /// Failed attempts: errors, panics and passed deadlines.
    pub errors: u64,
    /// Packets given up.
    pub dead_letters: u64,
    /// Packets of volatile sources that it lost because it was too slow.
    pub lost: u64,
    /// The median duration of a hook; none if no hook ran. Within 1 % of the true value, except for hooks of a
    /// few microseconds: up to 16 of those are counted with their mean.
    pub hook_p50: Option<Duration>,
    /// The 99th percentile of a hook's duration; none if no hook ran. As exact as
    /// [`hook_p50`](Self::hook_p50).
    pub hook_p99: Option<Duration>,
}

#[derive(Debug, Default)]
struct Totals {
    delivered: u64,
    outputs: u64,
    errors: u64,
    dead_letters: u64,
    lost: u64,
    /// Allocated with the first hook, so that an idle instance costs nothing.
    hooks: Option<Histogram<u32>>,
}

/// Where an instance's actor and its meeting add counts; shared with the meeting's handles.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    name: Name,
    totals: Arc<Mutex<Totals>>,
    /// How far it is behind, in seqs.
    lag: Arc<AtomicU64>,
    metrics: Arc<InstanceMetrics>,
}

/// What has happened since the last [`Recorder::record`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) outputs: u64,
    pub(crate) errors: u64,
    pub(crate) dead_letters: u64,
    pub(crate) lost: u64,
    pub(crate) hooks: Vec<HookTiming>,
}

impl Recorder {
    pub(crate) fn new(name: Name, metrics: Arc<InstanceMetrics>) -> Self {
        Self { name, totals: Arc::default(), lag: Arc::default(), metrics }
    }

    /// Adds counts to the totals and the metrics, and clears them.
    pub(crate) fn record(&self, counts: &mut Counts) {
        self.add_to_metrics(counts);
        let mut totals = self.totals.lock();
        totals.delivered += counts.delivered;
        totals.outputs += counts.outputs;
        totals.errors += counts.errors;
        totals.dead_letters += counts.dead_letters;
        totals.lost += counts.lost;
        if !counts.hooks.is_empty() {
            let hooks = totals.hooks.get_or_insert_with(|| {
                let mut hooks = Histogram::new(2).expect("invariant: 2 digits are allowed");
                hooks.auto(true);
                hooks
            });
            for HookTiming { mean, hooks: count } in counts.hooks.drain(..) {
                let nanos = u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX);
                let recorded = hooks.record_n(nanos, count);
                recorded.expect("invariant: the histogram grows with its values");
            }
        }
        let hooks = std::mem::take(&mut counts.hooks);
        *counts = Counts { hooks, ..Counts::default() };
    }

    fn add_to_metrics(&self, counts: &Counts) {
        let metrics = &self.metrics;
        for (counter, count) in [
            (&metrics.delivered, counts.delivered),
            (&metrics.outputs, counts.outputs),
            (&metrics.failed, counts.errors),
            (&metrics.dead_letters, counts.dead_letters),
            (&metrics.dropped, counts.lost),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        metrics.hooks(&counts.hooks);
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// How far the instance is behind, in seqs; zero if it is not active.
    pub(crate) fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lag(&self, lag: u64) {
        self.lag.store(lag, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> InstanceStats {
        let totals = self.totals.lock();
        let quantile = |q| totals.hooks.as_ref().map(|h| Duration::from_nanos(h.value_at_quantile(q)));
        InstanceStats {
            name: self.name.clone(),
            delivered: totals.delivered,
            outputs: totals.outputs,
            errors: totals.errors,
            dead_letters: totals.dead_letters,
            lost: totals.lost,
            hook_p50: quantile(0.5),
            hook_p99: quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let name = Name::new("a").unwrap();
        let recorder = Recorder::new(name.clone(), Arc::new(InstanceMetrics::new(name.as_str())));
        assert_eq!(recorder.read().hook_p50, None);
        let lap = |mean| HookTiming { mean, hooks: 1 };
        let hooks = (1..=1000).map(|took| lap(Duration::from_micros(took))).collect();
        recorder.record(&mut Counts { hooks, delivered: 1000, ..Counts::default() });
        recorder.record(&mut Counts {
            hooks: vec![lap(Duration::from_mins(1))],
            errors: 1,
            ..Counts::default()
        });
        let stats = recorder.read();
        let near = |got: Option<Duration>, wanted: u64| {
            let (got, wanted) = (got.unwrap().as_nanos(), u128::from(wanted) * 1000);
            assert!(got.abs_diff(wanted) * 100 <= wanted, "{got} is not near {wanted}");
        };
        near(stats.hook_p50, 501);
        near(stats.hook_p99, 991);
        assert_eq!((stats.delivered, stats.errors), (1000, 1));
    }
}
