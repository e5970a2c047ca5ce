//! Commits, as transactions of a size that the database can take.
//!
//! SurrealKV writes a transaction to its log before it finds that the transaction is larger than the
//! memtable. The commit fails then, but after a crash the log holds what cannot be read back, and the
//! directory doesn't open any more. So no transaction may come near that size: a batch is split where it
//! would, and a commit that is too big on its own is refused before anything of it is written.

use std::{collections::HashMap, iter};

use surrealdb::types::{Array, Value};
use teammy_kernel::{
    MeetingId,
    store::{self, Commit, Epoch, Outcome},
};

use super::{SurrealStore, error::TooBig, rows, runs, variables};

/// Applies the parts that may be, with what each of them writes beside the meeting's row.
const BEGIN: &str = "BEGIN;
    FOR $part IN $parts {
        LET $row = (UPDATE $part.meeting
            SET commit = $part.number, reserved = math::max([reserved, $part.reserved]), status = $part.status,
                last = IF $part.last { math::max([last ?? 0, $part.last]) } ELSE { last }
            WHERE epoch = $part.epoch AND commit = $part.number - 1
            RETURN VALUE commit);
        IF $row != [] {";
/// Says how each meeting stands afterwards, from which follows what became of each part.
const END: &str = "
        }
    };
    SELECT id, epoch, commit FROM $meetings;
    COMMIT";

/// As [`BEGIN`], for a commit that is alone: what it writes are variables of their own, which the database
/// copies once, and not once more for each level that they lie in. (A loop, though it runs once, because it
/// is a statement without a result.)
const BEGIN_ALONE: &str = "BEGIN;
    FOR $once IN [true] {
        LET $row = (UPDATE $meeting
            SET commit = $number, reserved = math::max([reserved, $reserved]), status = $status,
                last = IF $last { math::max([last ?? 0, $last]) } ELSE { last }
            WHERE epoch = $epoch AND commit = $number - 1
            RETURN VALUE commit);
        IF $row != [] {";

/// One kind of rows.
struct Kind {
    /// Whether a commit has any.
    some: fn(&Commit) -> bool,
    /// The statement that writes those of `$part`.
    of_part: &'static str,
    /// The same for a commit that is alone.
    alone: &'static str,
}

macro_rules! kind {
    ($some:expr, $before:literal, $rows:literal, $after:literal) => {
        Kind {
            some: $some,
            of_part: concat!($before, " $part.", $rows, " ", $after),
            alone: concat!($before, " $", $rows, " ", $after),
        }
    };
}

const KINDS: [Kind; 9] = [
    kind!(|commit| !commit.packets.is_empty(), "INSERT INTO packet", "packets", "RETURN NONE;"),
    kind!(
        |commit| rows::lifecycle(commit).next().is_some(),
        "INSERT INTO lifecycle",
        "lifecycle",
        "RETURN NONE;"
    ),
    // Of two packets under one number the first keeps it.
    kind!(runs::has_runs, "INSERT IGNORE INTO numbered", "runs", "RETURN NONE;"),
    // A mark never goes back. (What is to be done with a row that is there is worked out for a new one too, where the
    // columns are `NONE`.)
    kind!(
        runs::has_marks,
        "INSERT INTO mark",
        "marks",
        "ON DUPLICATE KEY UPDATE
            seq = IF $input.number > number { $input.seq } ELSE { seq },
            number = math::max([number ?? 0, $input.number])
            RETURN NONE;"
    ),
    // A state that isn't given stays as it is.
    kind!(
        |commit| !commit.instances.is_empty(),
        "INSERT INTO state",
        "instances",
        "ON DUPLICATE KEY UPDATE
            cursor = $input.cursor, joined = $input.joined, status = $input.status, state = $input.state ?? state
            RETURN NONE;"
    ),
    kind!(
        |commit| commit.keys.iter().any(|write| write.value.is_some()),
        "INSERT INTO kv",
        "set",
        "ON DUPLICATE KEY UPDATE value = $input.value RETURN NONE;"
    ),
    kind!(
        |commit| commit.keys.iter().any(|write| write.value.is_none()),
        "DELETE",
        "unset",
        "RETURN NONE;"
    ),
    kind!(
        |commit| !commit.dead_letters.is_empty(),
        "INSERT INTO dead_letter",
        "dead_letters",
        "ON DUPLICATE KEY UPDATE
            source = $input.source, tries = $input.tries, error = $input.error, at = $input.at
            RETURN NONE;"
    ),
    kind!(|commit| !commit.redriven.is_empty(), "DELETE", "redriven", "RETURN NONE;"),
];

/// The text for a batch. A statement that finds nothing to write takes the database about as long as one that
/// writes a row, so only those are in it that some part needs.
fn text(commits: &[Commit]) -> Vec<&'static str> {
    let needed = KINDS.iter().filter(|kind| commits.iter().any(kind.some));
    match commits {
        [_] => iter::once(BEGIN_ALONE).chain(needed.map(|kind| kind.alone)).chain([END]).collect(),
        _ => iter::once(BEGIN).chain(needed.map(|kind| kind.of_part)).chain([END]).collect(),
    }
}

/// What a record takes beside its contents, generously.
const RECORD: usize = 512;
/// What a number takes in a list, at most.
const NUMBER: usize = 16;

/// About how many bytes a commit takes in a transaction.
fn size(commit: &Commit) -> u64 {
    // The meeting's id is in each record's key, and the key is in the record.
    let record = RECORD + 2 * commit.meeting.as_str().len();
    let packets = commit
        .packets
        .iter()
        .map(|packet| record + packet.cost() + packet.participant.as_ref().map_or(0, |who| who.len()));
    let lifecycle = rows::lifecycle(commit).map(|packet| record + packet.cost());
    let (runs, marks) = (runs::runs(commit), runs::marks(commit));
    let runs = runs.iter().map(|run| record + 2 * run.producer.len() + NUMBER * run.seqs.len());
    let marks = marks.iter().map(|mark| record + 2 * mark.producer.len());
    let instances = commit
        .instances
        .iter()
        .map(|instance| record + instance.state.as_ref().map_or(0, |state| state.len()));
    let keys = commit
        .keys
        .iter()
        .map(|write| record + 2 * write.key.len() + write.value.as_ref().map_or(0, |value| value.len()));
    let letters = commit.dead_letters.iter().map(|letter| record + letter.error.len());
    let redriven = commit.redriven.iter().map(|_| record);
    let bytes = record
        + packets
            .chain(lifecycle)
            .chain(runs)
            .chain(marks)
            .chain(instances)
            .chain(keys)
            .chain(letters)
            .chain(redriven)
            .sum::<usize>();
    bytes as u64
}

impl SurrealStore {
    pub(super) async fn apply(&self, batch: &[Commit]) -> Result<Vec<Outcome>, store::Error> {
        let limit = self.inner.transaction;
        // All are looked at before one is applied, so that a refusal is of the whole batch.
        for commit in batch {
            let bytes = size(commit);
            if bytes > limit {
                let doing = format!("committing {} of meeting {}", commit.number, commit.meeting);
                return Err(store::Error::Failed { doing, cause: Box::new(TooBig { bytes, limit }) });
            }
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|commit| {
                bytes += size(commit);
                bytes <= self.inner.together.min(limit)
            });
            let (now, later) = rest.split_at(fit.count().max(1));
            outcomes.extend(self.transact(now).await?);
            rest = later;
        }
        Ok(outcomes)
    }

    /// Applies commits in one transaction.
    async fn transact(&self, commits: &[Commit]) -> Result<Vec<Outcome>, store::Error> {
        let doing = || match commits {
            [one] => format!("committing {} of meeting {}", one.number, one.meeting),
            many => format!("committing for {} meetings", many.len()),
        };
        let values = || {
            let meetings: Vec<Value> =
                commits.iter().map(|commit| rows::meeting_id(&commit.meeting)).collect();
            let mut values = variables([("meetings", Value::Array(Array::from(meetings)))]);
            if let [alone] = commits {
                for (name, value) in rows::part(alone)? {
                    values.insert(name, value);
                }
            } else {
                let parts = commits.iter().map(|commit| rows::part(commit).map(Value::Object));
                values.insert("parts", Value::Array(Array::from(parts.collect::<Result<Vec<_>, _>>()?)));
            }
            Ok(values)
        };
        let stands = self
            .write(&text(commits), values, doing, |mut row| Ok((row.meeting_id()?, row.stand()?)))
            .await?;
        let stands: HashMap<MeetingId, (Epoch, u64)> = stands.into_iter().collect();
        Ok(commits.iter().map(|commit| outcome(commit, stands.get(&commit.meeting))).collect())
    }
}

/// What became of a commit, from how its meeting stands after the transaction: the row holds our number under
/// our epoch if the commit is stored, by this transaction or by an earlier one.
fn outcome(commit: &Commit, stand: Option<&(Epoch, u64)>) -> Outcome {
    match stand {
        Some(&(epoch, number)) if epoch == commit.epoch && number == commit.number => Outcome::Applied,
        Some(&(epoch, stored)) if epoch == commit.epoch => Outcome::OutOfOrder { stored },
        _ => Outcome::Fenced,
    }
}
