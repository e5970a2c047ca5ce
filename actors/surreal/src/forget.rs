//! Forgetting a meeting.
//!
//! Its owner is fenced first, and nobody can claim it any more. Then its rows go, the log in parts, so that
//! no transaction is large, and the meeting's own row last: a forgetting that was cut off is found and can be
//! gone on with.

use surrealdb::types::Value;
use teammy_kernel::{MeetingId, store};

use super::{Row, SurrealStore, Text, by_id, rows};

/// The tables whose rows are a meeting's, beside the log and the meeting's own.
const TABLES: [&str; 6] = [rows::LIFECYCLE, "numbered", "mark", "state", "kv", "dead_letter"];
/// How many seqs' packets go in one transaction.
const WINDOW: u16 = 4096;

const FENCE: &Text = &["UPDATE $id SET epoch += 1, forgotten = true RETURN AFTER"];
const DELETE: &Text = &["DELETE $id RETURN NONE"];

impl SurrealStore {
    pub(super) async fn forget_meeting(&self, meeting: MeetingId) -> Result<bool, store::Error> {
        let doing = || format!("forgetting meeting {meeting}");
        let id = || Ok(by_id(rows::meeting_id(&meeting)));
        let Some(record) = self.write(FENCE, id, doing, Row::meeting).await?.pop() else { return Ok(false) };
        for from in (1..=record.reserved.0.max(self.log_end(&meeting).await?)).step_by(WINDOW.into()) {
            let range = rows::packets_of(rows::PACKETS, &meeting, from, from + u64::from(WINDOW) - 1);
            self.delete(&meeting, range).await?;
        }
        for table in TABLES {
            self.delete(&meeting, rows::all_of(table, &meeting)).await?;
        }
        self.delete(&meeting, rows::meeting_id(&meeting)).await?;
        Ok(true)
    }

    async fn delete(&self, meeting: &MeetingId, what: Value) -> Result<(), store::Error> {
        let doing = || format!("forgetting meeting {meeting}");
        self.write(DELETE, || Ok(by_id(what.clone())), doing, |_| Ok(())).await.map(drop)
    }
}
