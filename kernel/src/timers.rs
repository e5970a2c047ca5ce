//! An instance's timers: the wakes that its hooks asked for, and its ticks. A pure state machine over the
//! meeting's time.
//!
//! A timer fires **before** the packet whose timestamp carries the meeting's clock to it or past it. So whoever
//! runs the hooks asks for what is [due](Timers::due) before each packet. Then the order of hooks depends on the
//! packets alone, and not on how fast they come.
//!
//! Wakes are kept as keys of the instance's datastore, out of the plugin's sight: a hook that sets one writes a key,
//! and the call that a wake makes deletes it. Both are effects as any other, so a wake is set, and done, in the
//! same commit as the rest of its hook. A plugin with ticks has one key more, the time of its last tick that had
//! effects, or of its start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Seq, engine::provider::KeyValue};

/// The keys of the datastore that are the runtime's own begin so.
pub(crate) const RESERVED: char = '\0';
/// The prefix of the keys of wakes; the plugin's own key follows.
const WAKE: &str = "\0wake/";
/// The key of the last tick.
const TICK: &str = "\0tick";

/// The most ticks that are made up for between two packets; earlier ones are left out.
const MOST_TICKS: i128 = 1_000;

/// A wake as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Wake {
    at: Timestamp,
    /// The packet whose hook set it.
    seq: Seq,
}

/// A timer that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueTimer {
    /// A tick.
    Tick {
        /// When it is due.
        at: Timestamp,
    },
    /// A wake that a hook asked for.
    Wake {
        /// When it is due.
        at: Timestamp,
        /// The plugin's key for it.
        key: String,
        /// The packet whose hook asked for it.
        set_by: Seq,
    },
}

impl DueTimer {
    /// When it is due.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Tick { at } | Self::Wake { at, .. } => *at,
        }
    }
}

#[derive(Debug)]
struct Ticks {
    period: SignedDuration,
    /// The last one, or the start; none before the instance has started.
    last: Option<Timestamp>,
}

impl Ticks {
    fn next(&self) -> Option<Timestamp> {
        self.last?.checked_add(self.period).ok()
    }

    /// Leaves the oldest ticks out if too many are due by then.
    fn catch_up(&mut self, by: Timestamp) {
        let Some(last) = self.last else { return };
        let left_out = by.duration_since(last).as_nanos() / self.period.as_nanos() - MOST_TICKS;
        if left_out > 0 {
            let skipped = left_out * self.period.as_nanos();
            let seconds = i64::try_from(skipped / 1_000_000_000).unwrap_or(i64::MAX);
            let nanos = i32::try_from(skipped % 1_000_000_000).unwrap_or(0);
            self.last = last.checked_add(SignedDuration::new(seconds, nanos)).ok().or(self.last);
        }
    }
}

/// An instance's timers. See the [module](self).
#[derive(Debug, Default)]
pub struct Timers {
    wakes: BTreeMap<String, Wake>,
    /// The wakes in the order in which they are due.
    order: BTreeSet<(Timestamp, String)>,
    ticks: Option<Ticks>,
}

impl Timers {
    /// The timers of an instance that has never run; `every` is the time between two of its ticks.
    pub fn new(every: Option<Duration>) -> Self {
        let period = every.map(|period| SignedDuration::try_from(period).unwrap_or(SignedDuration::MAX));
        let ticks = period.map(|period| Ticks { period, last: None });
        Self { ticks, ..Self::default() }
    }

    /// The prefix of the keys from which [`restore`](Self::restore) reads.
    pub const PREFIX: &str = "\0";

    /// Takes up the timers that are stored. What is not readable is left out: another build wrote it.
    pub fn restore(&mut self, keys: impl IntoIterator<Item = (String, Arc<str>)>) {
        for (key, value) in keys {
            self.read(&key, Some(&value));
        }
    }

    /// Takes up what a hook that ended well has written.
    pub fn written(&mut self, keys: &[KeyValue]) {
        for (key, value) in keys.iter().filter(|(key, _)| key.starts_with(RESERVED)) {
            self.read(key, value.as_deref());
        }
    }

    fn read(&mut self, key: &str, value: Option<&str>) {
        if let Some(key) = key.strip_prefix(WAKE) {
            if let Some(before) = self.wakes.remove(key) {
                self.order.remove(&(before.at, key.to_owned()));
            }
            if let Some(wake) = value.and_then(|json| serde_json::from_str::<Wake>(json).ok()) {
                self.order.insert((wake.at, key.to_owned()));
                self.wakes.insert(key.to_owned(), wake);
            }
        } else if key == TICK
            && let Some(ticks) = &mut self.ticks
        {
            ticks.last = value.and_then(|json| serde_json::from_str(json).ok()).or(ticks.last);
        }
    }

    /// The instance starts, or joins: ticks are counted from here. Returns what its first hook writes with its
    /// effects; nothing if it has started before, or has no ticks.
    pub fn start(&mut self, at: Timestamp) -> Option<KeyValue> {
        let ticks = self.ticks.as_mut().filter(|ticks| ticks.last.is_none())?;
        ticks.last = Some(at);
        Some(tick_key(at))
    }

    /// When the next timer is due; none if there is none.
    pub fn next(&self) -> Option<Timestamp> {
        let tick = self.ticks.as_ref().and_then(Ticks::next);
        let wake = self.order.first().map(|(at, _)| *at);
        tick.into_iter().chain(wake).min()
    }

    /// The first timer that is due by a time of the meeting. It stays due until it [fires](Self::fired). Of two
    /// that are due at once a tick comes first, then wakes in the order of their keys.
    pub fn due(&mut self, by: Timestamp) -> Option<DueTimer> {
        if let Some(ticks) = &mut self.ticks {
            ticks.catch_up(by);
        }
        let at = self.next().filter(|at| *at <= by)?;
        if self.ticks.as_ref().and_then(Ticks::next) == Some(at) {
            return Some(DueTimer::Tick { at });
        }
        let (_, key) = self.order.first()?;
        Some(DueTimer::Wake { at, key: key.clone(), set_by: self.wakes.get(key)?.seq })
    }

    /// A timer's call is done: its hook has ended well and has written `keys`, or was given up. Adds to `keys` what
    /// says so in the store: a wake is deleted, unless its hook has set it anew. A tick is noted only if the hook
    /// had effects, because otherwise it may be repeated.
    pub fn fired(&mut self, timer: &DueTimer, keys: &mut Vec<KeyValue>, has_effects: bool) {
        match timer {
            DueTimer::Tick { at } => {
                if has_effects {
                    keys.push(tick_key(*at));
                }
                if let Some(ticks) = &mut self.ticks {
                    ticks.last = Some(*at);
                }
            }
            DueTimer::Wake { key, .. } => {
                let key = format!("{WAKE}{key}");
                if !keys.iter().any(|(written, _)| *written == key) {
                    keys.push((key, None));
                }
            }
        }
        self.written(keys);
    }
}

fn tick_key(at: Timestamp) -> KeyValue {
    let json = serde_json::to_string(&at).expect("invariant: a time has a JSON form");
    (TICK.to_owned(), Some(json.into()))
}

/// What a hook writes that asks for a wake.
pub(crate) fn wake(key: &str, at: Timestamp, seq: Seq) -> KeyValue {
    let json = serde_json::to_string(&Wake { at, seq }).expect("invariant: a wake has a JSON form");
    (format!("{WAKE}{key}"), Some(json.into()))
}

/// What a hook writes that cancels a wake.
pub(crate) fn cancel(key: &str) -> KeyValue {
    (format!("{WAKE}{key}"), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Everything that fires up to a time, as its kind or key, and its time.
    fn fire_all(timers: &mut Timers, by: i64) -> Vec<(String, i64)> {
        let mut fired = Vec::new();
        while let Some(due) = timers.due(at(by)) {
            timers.fired(&due, &mut Vec::new(), false);
            fired.push(match due {
                DueTimer::Tick { at } => ("tick".to_owned(), at.as_second()),
                DueTimer::Wake { key, at, .. } => (key, at.as_second()),
            });
        }
        fired
    }

    fn named(fired: &[(&str, i64)]) -> Vec<(String, i64)> {
        fired.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
    }

    #[test]
    fn timers_fire_in_the_order_of_their_times() {
        let mut timers = Timers::new(Some(Duration::from_secs(10)));
        assert_eq!(timers.next(), None, "ticks are counted from the start");
        timers.start(at(100)).unwrap();
        timers.written(&[wake("b", at(110), Seq(1)), wake("a", at(110), Seq(1)), wake("c", at(105), Seq(2))]);
        timers.written(&[
            wake("d", at(104), Seq(3)),
            cancel("d"),
            wake("c", at(111), Seq(3)),
            cancel("none"),
        ]);
        assert_eq!(timers.next(), Some(at(110)));
        assert!(fire_all(&mut timers, 109).is_empty());
        let expected = [("tick", 110), ("a", 110), ("b", 110), ("c", 111), ("tick", 120), ("tick", 130)];
        assert_eq!(fire_all(&mut timers, 135), named(&expected));
        assert_eq!(timers.next(), Some(at(140)));
    }

    #[test]
    fn a_wake_is_deleted_with_its_calls_effects_unless_its_hook_sets_it_anew() {
        let mut timers = Timers::default();
        timers.written(&[wake("a", at(5), Seq(7))]);
        let due = timers.due(at(5)).unwrap();
        assert_eq!(due, DueTimer::Wake { at: at(5), key: "a".to_owned(), set_by: Seq(7) });
        assert_eq!(timers.due(at(5)).as_ref(), Some(&due), "it stays due until its call is done");
        let mut keys = vec![wake("a", at(9), Seq(7))];
        timers.fired(&due, &mut keys, true);
        assert_eq!((keys.len(), timers.next()), (1, Some(at(9))));
        let due = timers.due(at(9)).unwrap();
        let mut keys = Vec::new();
        timers.fired(&due, &mut keys, true);
        assert_eq!((keys, timers.next()), (vec![cancel("a")], None));
    }

    #[test]
    fn a_tick_with_effects_is_not_repeated_after_a_restart() {
        let mut timers = Timers::new(Some(Duration::from_secs(10)));
        let mut stored = vec![timers.start(at(0)).unwrap()];
        for (second, has_effects) in [(10, false), (20, true), (30, false)] {
            let (due, mut keys) = (timers.due(at(second)).unwrap(), Vec::new());
            timers.fired(&due, &mut keys, has_effects);
            stored.extend(keys);
        }
        let mut restarted = Timers::new(Some(Duration::from_secs(10)));
        restarted.restore(stored.into_iter().map(|(key, value)| (key, value.unwrap())));
        assert_eq!(restarted.start(at(99)), None, "it has started before");
        assert_eq!(restarted.next(), Some(at(30)));
    }

    #[test]
    fn after_a_long_silence_the_oldest_ticks_are_left_out() {
        let mut timers = Timers::new(Some(Duration::from_millis(1)));
        timers.start(at(0)).unwrap();
        let mut count = 0;
        let mut last = None;
        while let Some(due) = timers.due(at(1_000_000_000)) {
            timers.fired(&due, &mut Vec::new(), false);
            count += 1;
            last = Some(due.at());
        }
        assert_eq!((count, last), (1_000, Some(at(1_000_000_000))));
    }

    #[test]
    fn what_another_build_wrote_is_left_out() {
        let mut timers = Timers::new(None);
        let keys = [("\0wake/a", "{}"), ("\0tick", "5"), ("\0other", "1"), ("\0wake/b", "oops")];
        timers.restore(keys.map(|(key, json)| (key.to_owned(), json.into())));
        assert_eq!(timers.next(), None);
    }

    proptest! {
        /// What is restored from the keys that were written is what is there, and fires likewise.
        #[test]
        fn timers_are_restored_as_they_were(
            writes in prop::collection::vec((0..6_u8, 0..100_i64, any::<bool>()), 0..40),
            by in 0..100_i64,
        ) {
            let mut timers = Timers::new(Some(Duration::from_secs(7)));
            let mut stored: BTreeMap<String, Option<Arc<str>>> = BTreeMap::new();
            stored.extend(timers.start(at(0)));
            for (key, second, is_set) in writes {
                let key = key.to_string();
                let write = if is_set { wake(&key, at(second), Seq(1)) } else { cancel(&key) };
                timers.written(std::slice::from_ref(&write));
                stored.extend([write]);
                // Some fire in between.
                if let Some(due) = timers.due(at(second / 2)) {
                    let mut keys = Vec::new();
                    timers.fired(&due, &mut keys, true);
                    stored.extend(keys);
                }
            }
            let mut restored = Timers::new(Some(Duration::from_secs(7)));
            restored.restore(stored.into_iter().filter_map(|(key, value)| Some((key, value?))));
            prop_assert_eq!(restored.next(), timers.next());
            prop_assert_eq!(fire_all(&mut restored, by), fire_all(&mut timers, by));
        }
    }
}
