//! Commits as transactions, none of which is larger than the database can take.
//!
//! SurrealKV writes a transaction to its log before it checks whether the transaction fits into the memtable.
//! If it doesn't, the commit fails; but after a crash the log holds a record that cannot be replayed, and the
//! directory doesn't open any more. So no transaction may come near that size: a larger batch is split, and a
//! commit that is too large on its own is rejected before any part of the batch is written.

use std::{collections::HashMap, iter};

use surrealdb::types::{Array, Value};
use teammy_kernel::{
    MeetingId,
    store::{self, Commit, Epoch, MeetingStatus, Outcome},
};

use super::{
    decode, encode, error::CommitTooLarge, ids, open_database::OpenDatabase, runs, values::variables,
};

/// A batch is split into transactions of about this many bytes, or of one commit if that is larger.
const BEST_TRANSACTION_BYTES: u64 = 1 << 20;

/// Updates the row of each part's meeting. Only where that succeeds, the statements that follow write the
/// part's other rows.
const BATCH_HEAD: &str = "
    FOR $part IN $parts {
        LET $row = (UPDATE $part.meeting
            SET commit = $part.number, reserved = math::max([reserved, $part.reserved]), status = $part.status,
                last = IF $part.last { math::max([last ?? 0, $part.last]) } ELSE { last }
            WHERE epoch = $part.epoch AND commit = $part.number - 1
            RETURN VALUE commit);
        IF $row != [] {";
/// Reads each meeting's epoch and commit number afterwards, which tell each part's outcome.
const TAIL: &str = "
        }
    };
    SELECT id, epoch, commit FROM $meetings;
    ";

/// As [`BATCH_HEAD`], for a single commit. Its values are top-level variables, because the database copies a
/// nested value once more for each level. (The loop runs once; it is there because it is a statement without
/// a result.)
const SINGLE_HEAD: &str = "
    FOR $once IN [true] {
        LET $row = (UPDATE $meeting
            SET commit = $number, reserved = math::max([reserved, $reserved]), status = $status,
                last = IF $last { math::max([last ?? 0, $last]) } ELSE { last }
            WHERE epoch = $epoch AND commit = $number - 1
            RETURN VALUE commit);
        IF $row != [] {";

/// One kind of rows that a commit may write.
struct RowKind {
    /// Whether a commit has such rows.
    is_in: fn(&Commit) -> bool,
    /// The statement that writes the rows of `$part`.
    of_part: &'static str,
    /// The statement that writes the rows of a single commit.
    of_single: &'static str,
}

macro_rules! row_kind {
    ($is_in:expr, $before:literal, $rows:literal, $after:literal) => {
        RowKind {
            is_in: $is_in,
            of_part: concat!($before, " $part.", $rows, " ", $after),
            of_single: concat!($before, " $", $rows, " ", $after),
        }
    };
}

const ROW_KINDS: [RowKind; 10] = [
    row_kind!(|commit| !commit.packets.is_empty(), "INSERT INTO packet", "packets", "RETURN NONE;"),
    row_kind!(
        |commit| encode::lifecycle(commit).next().is_some(),
        "INSERT INTO lifecycle",
        "lifecycle",
        "RETURN NONE;"
    ),
    // Of two packets with one number the first keeps it.
    row_kind!(runs::has_runs, "INSERT IGNORE INTO numbered", "runs", "RETURN NONE;"),
    // A mark never goes back. (The database evaluates the update for a new row too; its columns are `NONE`
    // then.)
    row_kind!(
        runs::has_marks,
        "INSERT INTO mark",
        "marks",
        "ON DUPLICATE KEY UPDATE
            seq = IF $input.number > number { $input.seq } ELSE { seq },
            number = math::max([number ?? 0, $input.number])
            RETURN NONE;"
    ),
    // A row without a state leaves the stored state unchanged.
    row_kind!(
        |commit| !commit.instances.is_empty(),
        "INSERT INTO state",
        "instances",
        "ON DUPLICATE KEY UPDATE
            cursor = $input.cursor, joined = $input.joined, status = $input.status, state = $input.state ?? state
            RETURN NONE;"
    ),
    row_kind!(
        |commit| commit.keys.iter().any(|write| write.value.is_some()),
        "INSERT INTO kv",
        "set",
        "ON DUPLICATE KEY UPDATE value = $input.value RETURN NONE;"
    ),
    row_kind!(
        |commit| commit.keys.iter().any(|write| write.value.is_none()),
        "DELETE",
        "unset",
        "RETURN NONE;"
    ),
    row_kind!(
        |commit| !commit.dead_letters.is_empty(),
        "INSERT INTO dead_letter",
        "dead_letters",
        "ON DUPLICATE KEY UPDATE
            source = $input.source, tries = $input.tries, error = $input.error, at = $input.at
            RETURN NONE;"
    ),
    row_kind!(|commit| !commit.redriven.is_empty(), "DELETE", "redriven", "RETURN NONE;"),
    // A meeting that ends is no longer among the open ones. (The batch's other meetings go on.)
    row_kind!(
        |commit| commit.status == MeetingStatus::Ended,
        "FOR $place IN (SELECT VALUE place FROM",
        "meeting",
        "WHERE status = 'ended' AND place != NONE) { DELETE type::record('open', $place) RETURN NONE };"
    ),
];

/// The query's text for a batch. It has only the statements that some commit needs: one that writes nothing
/// takes the database about as long as one that writes a row.
fn text(commits: &[Commit]) -> Vec<&'static str> {
    let needed = ROW_KINDS.iter().filter(|kind| commits.iter().any(kind.is_in));
    match commits {
        [_] => iter::once(SINGLE_HEAD).chain(needed.map(|kind| kind.of_single)).chain([TAIL]).collect(),
        _ => iter::once(BATCH_HEAD).chain(needed.map(|kind| kind.of_part)).chain([TAIL]).collect(),
    }
}

/// The most bytes that a record takes beside its contents.
const RECORD: usize = 512;
/// The most bytes that a number takes in a list.
const NUMBER: usize = 16;

/// Estimates how many bytes a commit takes in a transaction, rather too high than too low.
fn size(commit: &Commit) -> u64 {
    // The meeting's id is in each record's key, and the key is in the record too.
    let record = RECORD + 2 * commit.meeting.as_str().len();
    let packets = commit
        .packets
        .iter()
        .map(|packet| record + packet.cost() + packet.participant.as_ref().map_or(0, |who| who.len()));
    let lifecycle = encode::lifecycle(commit).map(|packet| record + packet.cost());
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

impl OpenDatabase {
    pub(super) async fn apply(&self, batch: &[Commit]) -> Result<Vec<Outcome>, store::Error> {
        let limit = self.transaction_bytes;
        // All commits are checked before one is applied, so that a rejection is of the whole batch.
        for commit in batch {
            let bytes = size(commit);
            if bytes > limit {
                let doing = format!("committing {} of meeting {}", commit.number, commit.meeting);
                return Err(store::Error::Failed { doing, cause: Box::new(CommitTooLarge { bytes, limit }) });
            }
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|commit| {
                bytes += size(commit);
                bytes <= BEST_TRANSACTION_BYTES.min(limit)
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
                commits.iter().map(|commit| ids::meeting_id(&commit.meeting)).collect();
            let mut values = variables([("meetings", Value::Array(Array::from(meetings)))]);
            if let [single] = commits {
                for (name, value) in encode::commit_part(single)? {
                    values.insert(name, value);
                }
            } else {
                let parts = commits.iter().map(|commit| encode::commit_part(commit).map(Value::Object));
                values.insert("parts", Value::Array(Array::from(parts.collect::<Result<Vec<_>, _>>()?)));
            }
            Ok(values)
        };
        let results = self.transaction(&text(commits), values).await;
        let progress = results
            .and_then(|results| decode::rows(results, |mut row| Ok((row.meeting_id()?, row.progress()?))));
        let progress = progress.map_err(|error| error.into_store(doing))?;
        let progress: HashMap<MeetingId, (Epoch, u64)> = progress.into_iter().collect();
        Ok(commits.iter().map(|commit| outcome(commit, progress.get(&commit.meeting))).collect())
    }
}

/// A commit's outcome, from its meeting's epoch and commit number after the transaction. The commit is
/// stored, by this transaction or an earlier one, if both are the commit's own.
fn outcome(commit: &Commit, progress: Option<&(Epoch, u64)>) -> Outcome {
    match progress {
        Some(&(epoch, number)) if epoch == commit.epoch && number == commit.number => Outcome::Applied,
        Some(&(epoch, stored)) if epoch == commit.epoch => Outcome::OutOfOrder { stored },
        _ => Outcome::Fenced,
    }
}
