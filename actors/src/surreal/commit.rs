//! Commits, as transactions of a size that the database can take.
//!
//! SurrealKV writes a transaction to its log before it finds that the transaction is larger than the memtable. The
//! commit fails then, but after a crash the log holds what cannot be read back, and the directory doesn't open any more.
//! So no transaction may come near that size: a batch is split where it would, and a commit that is too big on its own is
//! refused before anything of it is written.

use std::{collections::HashMap, iter};

use surrealdb::types::{Array, Value};
use teammy_kernel::{
    MeetingId,
    store::{self, Commit, Epoch, Outcome},
};

use super::{SurrealStore, error::TooBig, numbers, rows, variables};

/// Applies the parts that may be, with what each of them writes beside the meeting's row.
const BEGIN: &str = "BEGIN;
    FOR $part IN $parts {
        LET $row = (UPDATE $part.meeting
            SET commit = $part.number, reserved = math::max([reserved, $part.reserved]), status = $part.status
            WHERE epoch = $part.epoch AND commit = $part.number - 1
            RETURN VALUE commit);
        IF $row != [] {";
/// Says how each meeting stands afterwards, from which follows what became of each part.
const END: &str = "
        }
    };
    SELECT id, epoch, commit FROM $meetings;
    COMMIT";

/// One kind of rows: whether a commit has any, and the statement that writes them.
type Kind = (fn(&Commit) -> bool, &'static str);

const PACKETS: Kind = (|commit| !commit.packets.is_empty(), "INSERT INTO packet $part.packets RETURN NONE;");
/// Of two packets under one number the first keeps it.
const RUNS: Kind = (numbers::has_runs, "INSERT IGNORE INTO numbered $part.runs RETURN NONE;");
/// A mark never goes back. (What is to be done with a row that is there is worked out for a new one too, where the
/// columns are `NONE`.)
const MARKS: Kind = (
    numbers::has_marks,
    "INSERT INTO mark $part.marks ON DUPLICATE KEY UPDATE
        seq = IF $input.number > number { $input.seq } ELSE { seq },
        number = math::max([number ?? 0, $input.number])
        RETURN NONE;",
);
/// A state that isn't given stays as it is.
const INSTANCES: Kind = (
    |commit| !commit.instances.is_empty(),
    "INSERT INTO state $part.instances ON DUPLICATE KEY UPDATE
        cursor = $input.cursor, joined = $input.joined, status = $input.status, state = $input.state ?? state
        RETURN NONE;",
);
const KEYS_SET: Kind = (
    |commit| commit.keys.iter().any(|write| write.value.is_some()),
    "INSERT INTO kv $part.set ON DUPLICATE KEY UPDATE value = $input.value RETURN NONE;",
);
const KEYS_UNSET: Kind =
    (|commit| commit.keys.iter().any(|write| write.value.is_none()), "DELETE $part.unset RETURN NONE;");
const DEAD_LETTERS: Kind = (
    |commit| !commit.dead_letters.is_empty(),
    "INSERT INTO dead_letter $part.dead_letters ON DUPLICATE KEY UPDATE
        source = $input.source, tries = $input.tries, error = $input.error, at = $input.at
        RETURN NONE;",
);

/// The text for a batch. A statement that finds nothing to write takes the database about as long as one that writes a
/// row, so only those are in it that some part needs.
fn text(commits: &[Commit]) -> Vec<&'static str> {
    let kinds = [PACKETS, RUNS, MARKS, INSTANCES, KEYS_SET, KEYS_UNSET, DEAD_LETTERS];
    let needed = kinds.into_iter().filter(|(some, _)| commits.iter().any(some));
    iter::once(BEGIN).chain(needed.map(|(_, statement)| statement)).chain([END]).collect()
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
    let (runs, marks) = (numbers::runs(commit), numbers::marks(commit));
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
    let bytes =
        record + packets.chain(runs).chain(marks).chain(instances).chain(keys).chain(letters).sum::<usize>();
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
                bytes <= limit
            });
            let (now, later) = rest.split_at(fit.count());
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
            let parts: Vec<Value> = commits.iter().map(rows::part).collect::<Result<_, _>>()?;
            let meetings: Vec<Value> =
                commits.iter().map(|commit| rows::meeting_id(&commit.meeting)).collect();
            Ok(variables([
                ("parts", Value::Array(Array::from(parts))),
                ("meetings", Value::Array(Array::from(meetings))),
            ]))
        };
        let stands = self
            .write(&text(commits), values, doing, |mut row| Ok((row.meeting_id()?, row.stand()?)))
            .await?;
        let stands: HashMap<MeetingId, (Epoch, u64)> = stands.into_iter().collect();
        Ok(commits.iter().map(|commit| outcome(commit, stands.get(&commit.meeting))).collect())
    }
}

/// What became of a commit, from how its meeting stands after the transaction: the row holds our number under our epoch
/// if the commit is stored, by this transaction or by an earlier one.
fn outcome(commit: &Commit, stand: Option<&(Epoch, u64)>) -> Outcome {
    match stand {
        Some(&(epoch, number)) if epoch == commit.epoch && number == commit.number => Outcome::Applied,
        Some(&(epoch, stored)) if epoch == commit.epoch => Outcome::OutOfOrder { stored },
        _ => Outcome::Fenced,
    }
}
