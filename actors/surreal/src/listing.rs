//! Listing meetings.
//!
//! Tables `listed` and `open` hold an empty record for each meeting, or for each that may not have ended. Their
//! ids begin with the time of creation, counted down, so that a range scan meets the newest first. As this
//! version of SurrealDB reads a range as a whole, whatever `LIMIT` says, a page is read in growing windows of
//! time, until it is full. What it costs then depends on how many meetings were created around it, and not on
//! how many there are.

use surrealdb::types::{Array, Value, Variables};
use teammy_kernel::{
    Timestamp,
    store::{self, MeetingPage, MeetingQuery, MeetingRecord},
};
use tokio::time::Duration;

use super::{
    connection::QueryText,
    connection_manager::QueryKind,
    decode::StoredRow,
    error::{Cause, QueryError, UnexpectedValue},
    ids::{self, Places},
    open_database::OpenDatabase,
    values::{as_moment, bound, text, variables, word},
};

/// The rows of the meetings whose places are in a range. The second `SELECT` reads each by its id, in order.
const READ: &QueryText = &["SELECT * FROM
    (SELECT VALUE type::record('meeting', [record::id(id)[2]]) FROM $range)
    WHERE ($statuses = NONE OR status IN $statuses)
        AND ($labels = NONE OR object::entries(metadata.labels ?? {}) CONTAINSALL $labels)
    LIMIT $limit"];
const NOW: &QueryText = &["RETURN time::now()"];

/// The first window's length.
const FIRST_WINDOW: Duration = Duration::from_mins(10);
/// Each window is this many times as long as the one before.
const GROWTH: u32 = 6;
/// The last window but one is at most this long; the last one is all that is left.
const LONGEST_WINDOW: Duration = Duration::from_hours(24 * 365 * 10);

impl OpenDatabase {
    pub(super) async fn list_meetings(&self, query: MeetingQuery) -> Result<MeetingPage, store::Error> {
        let wanted = query.page_len() + 1;
        let table = if query.is_of_open() { ids::OPEN } else { ids::LISTED };
        let Some(mut rest) = Places::of(&query) else { return Ok(query.page(Vec::new())) };
        // From here on windows go back in time. None: all that is left has no time.
        let mut reached = match (&query.after, query.to) {
            (Some(after), _) => after.created,
            (None, Some(to)) => Some(to),
            (None, None) => Some(self.now().await?),
        };
        let mut length = FIRST_WINDOW;
        let mut found = Vec::new();
        loop {
            let until = reached.filter(|_| length <= LONGEST_WINDOW);
            let until = until.and_then(|at| at.checked_sub(length).ok());
            let until = until.filter(|at| query.from.is_none_or(|from| *at > from));
            let window = match until {
                Some(at) => rest.split_off_newer(at),
                None => rest.clone(),
            };
            found.extend(self.listed(table, &window, &query, wanted - found.len()).await?);
            if found.len() >= wanted || until.is_none() {
                return Ok(query.page(found));
            }
            reached = until;
            length *= GROWTH;
        }
    }

    /// The first meetings with these places that have the query's statuses and labels.
    async fn listed(
        &self,
        table: &str,
        places: &Places,
        query: &MeetingQuery,
        limit: usize,
    ) -> Result<Vec<MeetingRecord>, store::Error> {
        let values = || {
            let statuses = query.statuses.as_ref().map_or(Value::None, |statuses| {
                Value::Array(Array::from(statuses.iter().copied().map(word).collect::<Vec<_>>()))
            });
            let labels = query
                .labels
                .iter()
                .map(|(key, value)| Value::Array(Array::from(vec![text(key), text(value)])));
            let labels: Vec<Value> = labels.collect();
            Ok(variables([
                ("range", places.range(table)),
                ("statuses", statuses),
                ("labels", if labels.is_empty() { Value::None } else { Value::Array(Array::from(labels)) }),
                ("limit", bound(limit as u64)),
            ]))
        };
        self.rows(QueryKind::Read, READ, values, doing, StoredRow::meeting).await
    }

    /// The database's clock. It only says where to begin to look for the newest meetings: those that are
    /// dated later are found too.
    async fn now(&self) -> Result<Timestamp, store::Error> {
        let read = async {
            let mut results = self.query(QueryKind::Read, NOW, || Ok(Variables::new())).await?;
            let unexpected = || -> Cause {
                let record = "the database's time".to_owned();
                UnexpectedValue { record, column: "time::now()", expected: "a time" }.into()
            };
            let now = as_moment(&results.take::<Value>(0)?).ok_or_else(unexpected)?;
            Ok::<_, QueryError>(now)
        };
        read.await.map_err(|error| error.into_store(doing))
    }
}

fn doing() -> String {
    "listing meetings".to_owned()
}
