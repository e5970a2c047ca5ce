//! Creating, claiming and reading meetings' rows.

use surrealdb::types::Variables;
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, Seq, Timestamp,
    store::{self, MeetingRecord},
};

use super::{
    connection::QueryText,
    connection_manager::QueryKind,
    decode::StoredRow,
    encode,
    error::{Cause, QueryError},
    ids,
    open_database::{OpenDatabase, SELECT},
    values::{by_id, number, variables},
};

/// Deletes the record in `owned` of a meeting that a program without a lease claims, or that is forgotten.
pub(super) const NOT_OWNED: &str = "
    FOR $old IN (SELECT VALUE array::append(owner, record::id(id)[0]) FROM $id WHERE owner != NONE) {
        DELETE type::record('owned', $old) RETURN NONE
    };";

const CREATE: &QueryText = &["BEGIN;
    CREATE $id CONTENT $row RETURN NONE;
    INSERT IGNORE INTO listed { id: $listed } RETURN NONE;
    INSERT IGNORE INTO open { id: $open } RETURN NONE;
    COMMIT"];
/// A meeting that has ended may be claimed to be reopened, so a claim puts it among the open ones again.
const CLAIM: &QueryText = &[
    "BEGIN;",
    NOT_OWNED,
    "UPDATE $id SET epoch += 1, reserved += $reserve, owner = NONE WHERE forgotten != true RETURN AFTER;
    FOR $place IN (SELECT VALUE place FROM $id WHERE forgotten != true AND place != NONE) {
        INSERT IGNORE INTO open { id: type::record('open', $place) } RETURN NONE
    };
    COMMIT",
];

/// The variables of a query that creates a meeting.
pub(super) fn new_meeting(meeting: &MeetingRecord) -> Result<Variables, Cause> {
    let id = &meeting.metadata.id;
    let place = ids::place(meeting.created, id);
    Ok(variables([
        ("id", ids::meeting_id(id)),
        ("row", encode::meeting_row(meeting)?),
        ("listed", ids::place_id(ids::LISTED, place.clone())),
        ("open", ids::place_id(ids::OPEN, place)),
    ]))
}

impl OpenDatabase {
    pub(super) async fn create_meeting(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> Result<MeetingRecord, store::Error> {
        let meeting = MeetingRecord::first(metadata, instances, reserve, created);
        let id = &meeting.metadata.id;
        let doing = || format!("creating meeting {id}");
        match self.query(QueryKind::Write, CREATE, || new_meeting(&meeting)).await {
            Ok(_) => Ok(meeting),
            Err(QueryError::Database(error)) if error.is_already_exists() => {
                Err(store::Error::Exists(meeting.metadata.id))
            }
            Err(error) => Err(error.into_store(doing)),
        }
    }

    pub(super) async fn claim_meeting(
        &self,
        meeting: MeetingId,
        reserve: u64,
    ) -> Result<MeetingRecord, store::Error> {
        let values = || Ok(variables([("id", ids::meeting_id(&meeting)), ("reserve", number(reserve)?)]));
        let doing = || format!("claiming meeting {meeting}");
        let claimed = self.rows(QueryKind::Write, CLAIM, values, doing, StoredRow::meeting).await?.pop();
        claimed.ok_or(store::Error::NotFound(meeting))
    }

    pub(super) async fn read_meeting(
        &self,
        meeting: &MeetingId,
    ) -> Result<Option<MeetingRecord>, store::Error> {
        let doing = || format!("reading meeting {meeting}");
        let id = || Ok(by_id(ids::meeting_id(meeting)));
        Ok(self.rows(QueryKind::Read, SELECT, id, doing, StoredRow::meeting).await?.pop())
    }

    /// The highest seq that a stored packet of the meeting may have; 0 if there is no such meeting.
    pub(super) async fn log_end(&self, meeting: &MeetingId) -> Result<u64, store::Error> {
        let doing = || format!("reading the end of meeting {meeting}");
        let id = || Ok(by_id(ids::meeting_id(meeting)));
        let end = self.rows(QueryKind::Read, SELECT, id, doing, StoredRow::log_end).await?.pop();
        Ok(end.unwrap_or(0))
    }
}
