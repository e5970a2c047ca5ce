//! Forgetting a meeting.
//!
//! First its owner is fenced, and no node can claim it any more. Then its rows are deleted: the log in parts,
//! so that no transaction is large, and the meeting's own row last, so that an interrupted deletion can be
//! found and finished.

use surrealdb::types::Value;
use teammy_kernel::{MeetingId, store};

use super::{
    connection::QueryText, connection_manager::QueryKind, decode::StoredRow, ids, meetings::NOT_OWNED,
    open_database::OpenDatabase, values::by_id,
};

/// The tables that hold rows of a meeting, beside its log and its own row.
const TABLES: [&str; 7] =
    [ids::LIFECYCLE, ids::NUMBERED, ids::MARKS, ids::INSTANCES, ids::KEYS, ids::DEAD_LETTERS, ids::ACCOUNTS];
/// How many seqs are deleted in one transaction.
const WINDOW: u16 = 4096;

const FENCE: &QueryText =
    &["BEGIN;", NOT_OWNED, "UPDATE $id SET epoch += 1, forgotten = true, owner = NONE RETURN AFTER; COMMIT"];
const DELETE: &QueryText = &["DELETE $id RETURN NONE"];

impl OpenDatabase {
    pub(super) async fn forget_meeting(&self, meeting: MeetingId) -> Result<bool, store::Error> {
        let doing = || format!("forgetting meeting {meeting}");
        let id = || Ok(by_id(ids::meeting_id(&meeting)));
        let Some(record) = self.rows(QueryKind::Write, FENCE, id, doing, StoredRow::meeting).await?.pop()
        else {
            return Ok(false);
        };
        for from in (1..=record.reserved.0.max(self.log_end(&meeting).await?)).step_by(WINDOW.into()) {
            let range = ids::packets_of(ids::PACKETS, &meeting, from, from + u64::from(WINDOW) - 1);
            self.delete(&meeting, range).await?;
        }
        for table in TABLES {
            self.delete(&meeting, ids::all_of(table, &meeting)).await?;
        }
        for table in [ids::OPEN, ids::LISTED] {
            let place = ids::place(record.created, &meeting);
            self.delete(&meeting, ids::place_id(table, place)).await?;
        }
        self.delete(&meeting, ids::meeting_id(&meeting)).await?;
        Ok(true)
    }

    /// Deletes a record, or a range of them.
    async fn delete(&self, meeting: &MeetingId, id: Value) -> Result<(), store::Error> {
        let doing = || format!("forgetting meeting {meeting}");
        let variables = || Ok(by_id(id.clone()));
        self.rows(QueryKind::Write, DELETE, variables, doing, |_| Ok(())).await.map(drop)
    }
}
