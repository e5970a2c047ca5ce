//! Which instances of a meeting are suspended, and how many packets each gave up that were not redriven.

use std::collections::BTreeMap;
#[cfg(feature = "cluster")]
use std::collections::BTreeSet;

use serde::Serialize;
use teammy::{
    MeetingId, MeetingStats, Store,
    store::{self, InstanceStatus},
};

use super::text::count;

/// The instances that failed in a meeting, by name.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Failures(Vec<Failure>);

/// What an instance failed at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Failure {
    instance: String,
    suspended: bool,
    /// The packets that it gave up.
    dead_letters: u64,
}

impl Failures {
    /// What failed in a meeting: what is stored of it, and what this run gave up. The store has no dead letter of
    /// a packet that is not stored; the run's `stats` count it.
    pub(crate) async fn of(
        store: &dyn Store,
        meeting: &MeetingId,
        stats: Option<&MeetingStats>,
    ) -> Result<Self, store::Error> {
        let mut given_up: BTreeMap<String, u64> = BTreeMap::new();
        for letter in store.dead_letters(meeting.clone()).await? {
            *given_up.entry(letter.instance.to_string()).or_default() += 1;
        }
        for instance in stats.into_iter().flat_map(|stats| &stats.instances) {
            let stored = given_up.entry(instance.name.to_string()).or_default();
            *stored = instance.dead_letters.max(*stored);
        }
        let rows = store.instances(meeting.clone()).await?;
        let failures = rows.into_iter().map(|row| Failure {
            suspended: row.status == InstanceStatus::Suspended,
            dead_letters: given_up.get(row.instance.as_str()).copied().unwrap_or(0),
            instance: row.instance.to_string(),
        });
        Ok(Self(failures.filter(|failure| failure.suspended || failure.dead_letters > 0).collect()))
    }

    /// What is known to have failed: the instances that are suspended, and how many packets each gave up.
    #[cfg(feature = "cluster")]
    pub(crate) fn known(suspended: &BTreeSet<String>, given_up: BTreeMap<String, u64>) -> Self {
        let mut failures: BTreeMap<String, Failure> = BTreeMap::new();
        let none =
            |instance: &String| Failure { instance: instance.clone(), suspended: false, dead_letters: 0 };
        for instance in suspended {
            failures.entry(instance.clone()).or_insert_with(|| none(instance)).suspended = true;
        }
        for (instance, packets) in given_up {
            failures.entry(instance.clone()).or_insert_with(|| none(&instance)).dead_letters = packets;
        }
        Self(failures.into_values().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What failed, for people, such as `talk-time gave up 2 packets; minutes is suspended`.
    pub(crate) fn readable(&self) -> String {
        let failure = |Failure { instance, suspended, dead_letters }: &Failure| {
            let given_up = format!("{instance} gave up {}", count(*dead_letters, "packet", "packets"));
            match (suspended, dead_letters) {
                (true, 0) => format!("{instance} is suspended"),
                (true, _) => format!("{given_up} and is suspended"),
                (false, _) => given_up,
            }
        };
        self.0.iter().map(failure).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "cluster")]
    #[test]
    fn what_is_known_is_put_together_by_instance() {
        let suspended = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
        let given_up = BTreeMap::from([("a".to_owned(), 1), ("c".to_owned(), 2)]);
        let failures = Failures::known(&suspended, given_up);
        assert_eq!(
            failures.readable(),
            "a gave up 1 packet; b is suspended; c gave up 2 packets and is suspended"
        );
    }

    #[test]
    fn people_read_what_failed() {
        let failure = |instance: &str, suspended, dead_letters| Failure {
            instance: instance.to_owned(),
            suspended,
            dead_letters,
        };
        let failures = Failures(vec![failure("a", false, 1), failure("b", true, 0), failure("c", true, 2)]);
        assert_eq!(
            failures.readable(),
            "a gave up 1 packet; b is suspended; c gave up 2 packets and is suspended"
        );
    }
}
