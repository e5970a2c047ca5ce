//! Counting what instances do: cheap enough to be always on.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use teammy_kernel::Name;

use crate::{instance::Lap, metrics::InstanceMetrics};

/// What an instance has done in a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceStats {
    /// The instance.
    pub name: Name,
    /// Packets that its hooks finished with, those given up included; starts and ends are none.
    pub delivered: u64,
    /// Outputs.
    pub outputs: u64,
    /// Failed attempts: errors, panics and passed deadlines.
    pub errors: u64,
    /// Packets given up.
    pub dead_letters: u64,
    /// Packets of volatile sources lost because it was too slow.
    pub lost: u64,
    /// Half of its hooks took no longer than this; none if no hook ran. Within 1 % of the true value, but
    /// for hooks of a few microseconds: of up to 16 of those the mean counts.
    pub hook_p50: Option<Duration>,
    /// 99 % of its hooks took no longer than this; none if no hook ran. As exact as
    /// [`hook_p50`](Self::hook_p50).
    pub hook_p99: Option<Duration>,
}

/// What a meeting has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeetingStats {
    /// Packets taken from outside.
    pub packets: u64,
    /// Its instances, in the order in which they joined.
    pub instances: Vec<InstanceStats>,
}

#[derive(Debug, Default)]
struct Counts {
    delivered: u64,
    outputs: u64,
    errors: u64,
    dead_letters: u64,
    lost: u64,
    /// HookEffects with the first hook: an idle instance costs nothing.
    hooks: Option<Histogram<u32>>,
}

/// What an instance's actor writes its counts to; shared with whoever asks.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    name: Name,
    counts: Arc<Mutex<Counts>>,
    metrics: Arc<InstanceMetrics>,
}

/// What has happened since the last record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) delivered: u64,
    pub(crate) outputs: u64,
    pub(crate) errors: u64,
    pub(crate) dead_letters: u64,
    pub(crate) lost: u64,
    pub(crate) hooks: Vec<Lap>,
}

impl Recorder {
    pub(crate) fn new(name: Name, metrics: Arc<InstanceMetrics>) -> Self {
        Self { name, counts: Arc::default(), metrics }
    }

    pub(crate) fn record(&self, record: &mut Record) {
        self.tell(record);
        let mut counts = self.counts.lock();
        counts.delivered += record.delivered;
        counts.outputs += record.outputs;
        counts.errors += record.errors;
        counts.dead_letters += record.dead_letters;
        counts.lost += record.lost;
        if !record.hooks.is_empty() {
            let hooks = counts.hooks.get_or_insert_with(|| {
                let mut hooks = Histogram::new(2).expect("invariant: 2 digits are allowed");
                hooks.auto(true);
                hooks
            });
            for Lap { mean, hooks: count } in record.hooks.drain(..) {
                let nanos = u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX);
                let recorded = hooks.record_n(nanos, count);
                recorded.expect("invariant: the histogram grows with its values");
            }
        }
        let hooks = std::mem::take(&mut record.hooks);
        *record = Record { hooks, ..Record::default() };
    }

    fn tell(&self, record: &Record) {
        let metrics = &self.metrics;
        for (counter, count) in [
            (&metrics.delivered, record.delivered),
            (&metrics.outputs, record.outputs),
            (&metrics.failed, record.errors),
            (&metrics.dead_letters, record.dead_letters),
            (&metrics.dropped, record.lost),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        metrics.hooks(&record.hooks);
    }

    pub(crate) fn read(&self) -> InstanceStats {
        let counts = self.counts.lock();
        let quantile = |q| counts.hooks.as_ref().map(|h| Duration::from_nanos(h.value_at_quantile(q)));
        InstanceStats {
            name: self.name.clone(),
            delivered: counts.delivered,
            outputs: counts.outputs,
            errors: counts.errors,
            dead_letters: counts.dead_letters,
            lost: counts.lost,
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
        let lap = |mean| Lap { mean, hooks: 1 };
        let hooks = (1..=1000).map(|took| lap(Duration::from_micros(took))).collect();
        recorder.record(&mut Record { hooks, delivered: 1000, ..Record::default() });
        recorder.record(&mut Record {
            hooks: vec![lap(Duration::from_mins(1))],
            errors: 1,
            ..Record::default()
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
