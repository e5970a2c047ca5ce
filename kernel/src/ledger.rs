//! What an instance's requests to models have cost in a meeting, by hour and model. A pure state machine.
//!
//! The sums are keys of the instance's datastore, out of the plugin's sight. One owner at a time writes them, with the
//! answer that they count: so each answer that a hook saw is counted, and once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    MeetingId, Name,
    engine::{llm::Charges, provider::KeyValue},
};

/// The prefix of the keys; the hour and the model follow.
pub const PREFIX: &str = "\0usage/";

/// An hour and a model.
type Entry = (Timestamp, String);

/// What an instance's requests to one model have cost in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UsageRow {
    /// The meeting; none where meetings are added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meeting: Option<MeetingId>,
    /// The instance.
    pub instance: Name,
    /// When the hour began.
    pub hour: Timestamp,
    /// The model, by its name in the configuration.
    pub model: String,
    /// What they cost, and how they went.
    #[serde(flatten)]
    pub charges: Charges,
}

impl UsageRow {
    /// The row of all meetings together.
    pub fn sum(instance: Name, hour: Timestamp, model: String, charges: Charges) -> Self {
        Self { meeting: None, instance, hour, model, charges }
    }

    /// The row of a stored key; none for one that is no row, or that another version wrote.
    pub fn read(meeting: &MeetingId, instance: &Name, key: &str, value: &str) -> Option<Self> {
        let (hour, model) = entry(key)?;
        let charges = serde_json::from_str(value).ok()?;
        Some(Self { meeting: Some(meeting.clone()), instance: instance.clone(), hour, model, charges })
    }
}

fn entry(key: &str) -> Option<Entry> {
    let (hour, model) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some((hour.parse().ok()?, model.to_owned()))
}

/// An instance's sums. See the [module](self).
#[derive(Debug, Default)]
pub struct Ledger {
    sums: BTreeMap<Entry, Charges>,
    /// Those that are not written yet.
    changed: BTreeSet<Entry>,
}

impl Ledger {
    /// Takes up the sums that are stored, and adds what was counted meanwhile.
    pub fn restore(&mut self, keys: impl IntoIterator<Item = (String, Arc<str>)>) {
        for (key, value) in keys {
            if let (Some(entry), Ok(stored)) = (entry(&key), serde_json::from_str::<Charges>(&value)) {
                *self.sums.entry(entry).or_default() += stored;
            }
        }
    }

    /// Adds what requests have cost at this time.
    pub fn add(&mut self, now: Timestamp, charged: BTreeMap<String, Charges>) {
        const HOUR: i64 = 3_600;
        let hour = Timestamp::from_second(now.as_second().div_euclid(HOUR) * HOUR).unwrap_or(now);
        for (model, charges) in charged {
            let entry = (hour, model);
            *self.sums.entry(entry.clone()).or_default() += charges;
            self.changed.insert(entry);
        }
    }

    /// Whether anything is to be written.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What is to be written: the new sums.
    pub fn take_changed(&mut self) -> Vec<KeyValue> {
        let write = |(hour, model): Entry| {
            let json = serde_json::to_string(&self.sums[&(hour, model.clone())]);
            let json = json.expect("invariant: charges are JSON");
            (format!("{PREFIX}{hour}/{model}"), Some(json.into()))
        };
        std::mem::take(&mut self.changed).into_iter().map(write).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NanoUsd;

    fn charges(calls: u64, cost: u64) -> Charges {
        Charges { calls, cost: NanoUsd(cost), ..Charges::default() }
    }

    #[test]
    fn sums_go_on_after_a_restart() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut ledger = Ledger::default();
        let one = |model: &str| BTreeMap::from([(model.to_owned(), charges(1, 5))]);
        ledger.add(at("2026-01-05T10:59:59Z"), one("a/b"));
        ledger.add(at("2026-01-05T10:00:00Z"), one("a/b"));
        ledger.add(at("2026-01-05T11:00:00Z"), one("a/b"));
        ledger.add(at("2026-01-05T11:00:00Z"), one("c"));
        let written = ledger.take_changed();
        assert_eq!((written.len(), ledger.is_changed()), (3, false));
        let mut next = Ledger::default();
        next.add(at("2026-01-05T11:30:00Z"), one("c"));
        next.restore(written.into_iter().map(|(key, value)| (key, value.unwrap())));
        let written = next.take_changed();
        let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
        let rows: Vec<UsageRow> = written
            .iter()
            .map(|(key, value)| UsageRow::read(&meeting, &instance, key, value.as_deref().unwrap()).unwrap())
            .collect();
        assert_eq!(rows.len(), 1, "only what is new is written");
        assert_eq!((rows[0].hour, rows[0].model.as_str()), (at("2026-01-05T11:00:00Z"), "c"));
        assert_eq!(rows[0].charges, charges(2, 10));
        assert_eq!(UsageRow::read(&meeting, &instance, "\0wake/a", "1"), None);
    }
}
