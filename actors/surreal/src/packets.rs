//! Reading packets.
//!
//! A range of seqs is a range of record ids. This version of SurrealDB reads such a range forwards and as a
//! whole, whatever `LIMIT` says, and sorts all of it for `ORDER BY id DESC`. So the first or last packets are
//! read in growing windows, from the end that the query asks for, until there are enough. A long meeting then
//! costs no more than a short one. Packets of source `meeting` are read from a table of their own.

use std::sync::Arc;

use surrealdb::types::{Array, Value, Variables};
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId,
    store::{self, PacketQuery, Take},
};

use super::{
    connection_manager::QueryKind,
    ids,
    open_database::OpenDatabase,
    values::{bound, moment, text},
};

/// The first window's length, in multiples of the wanted count, because logs have holes and other sources.
const FIRST_WINDOW: u64 = 2;
/// The shortest first window.
const MIN_WINDOW: u64 = 64;
/// Each window is this many times as long as the one before.
const GROWTH: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadOrder {
    OldestFirst,
    NewestFirst,
}

/// The query's text for its filters and its order.
fn query_text(query: &PacketQuery, order: ReadOrder) -> &'static str {
    match (query.sources.is_some(), query.not_before.is_some(), order) {
        (false, false, ReadOrder::OldestFirst) => "SELECT * FROM $range ORDER BY id LIMIT $limit",
        (true, false, ReadOrder::OldestFirst) => {
            "SELECT * FROM $range WHERE source IN $sources ORDER BY id LIMIT $limit"
        }
        (false, true, ReadOrder::OldestFirst) => {
            "SELECT * FROM $range WHERE timestamp >= $not_before ORDER BY id LIMIT $limit"
        }
        (true, true, ReadOrder::OldestFirst) => {
            "SELECT * FROM $range WHERE source IN $sources AND timestamp >= $not_before ORDER BY id LIMIT $limit"
        }
        (false, false, ReadOrder::NewestFirst) => "SELECT * FROM $range ORDER BY id DESC LIMIT $limit",
        (true, false, ReadOrder::NewestFirst) => {
            "SELECT * FROM $range WHERE source IN $sources ORDER BY id DESC LIMIT $limit"
        }
        (false, true, ReadOrder::NewestFirst) => {
            "SELECT * FROM $range WHERE timestamp >= $not_before ORDER BY id DESC LIMIT $limit"
        }
        (true, true, ReadOrder::NewestFirst) => {
            "SELECT * FROM $range WHERE source IN $sources AND timestamp >= $not_before ORDER BY id DESC LIMIT $limit"
        }
    }
}

/// The table that holds the packets of a query.
fn table(query: &PacketQuery) -> &'static str {
    match query.sources.as_deref() {
        Some([source]) if *source == Lifecycle::SOURCE => ids::LIFECYCLE,
        _ => ids::PACKETS,
    }
}

impl OpenDatabase {
    pub(super) async fn read_packets(
        &self,
        meeting: MeetingId,
        query: PacketQuery,
    ) -> Result<Vec<Arc<DataPacket>>, store::Error> {
        if query.from > query.to || query.sources.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        match query.take {
            Take::First(0) | Take::Last(0) => Ok(Vec::new()),
            Take::All => {
                self.window(&meeting, &query, (query.from.0, query.to.0), u64::MAX, ReadOrder::OldestFirst)
                    .await
            }
            Take::First(count) => self.nearest(&meeting, &query, count, ReadOrder::OldestFirst).await,
            Take::Last(count) => self.nearest(&meeting, &query, count, ReadOrder::NewestFirst).await,
        }
    }

    /// The first `count` packets of a query in an order; the result is oldest first.
    async fn nearest(
        &self,
        meeting: &MeetingId,
        query: &PacketQuery,
        count: usize,
        order: ReadOrder,
    ) -> Result<Vec<Arc<DataPacket>>, store::Error> {
        // The seqs that are not read yet.
        let (mut low, mut high) = (query.from.0, query.to.0);
        let mut length = (count as u64).saturating_mul(FIRST_WINDOW).max(MIN_WINDOW);
        let mut log_end = None;
        let mut found = Vec::new();
        loop {
            // Windows need not reach above the log's end, so it is read as soon as it can save a window:
            // before the first one if they go down from there, else before the second one.
            if log_end.is_none()
                && high - low >= length
                && (order == ReadOrder::NewestFirst || low > query.from.0)
            {
                log_end = Some(self.log_end(meeting).await?);
            }
            let stored = log_end.unwrap_or(high).min(high);
            let (from, to) = match order {
                ReadOrder::OldestFirst if stored.saturating_sub(low) < length => (low, high),
                ReadOrder::OldestFirst => (low, low + (length - 1)),
                ReadOrder::NewestFirst => (stored.saturating_sub(length - 1).max(low), high),
            };
            let missing = (count - found.len()) as u64;
            found.extend(self.window(meeting, query, (from, to), missing, order).await?);
            if found.len() >= count || (from, to) == (low, high) {
                break;
            }
            match order {
                ReadOrder::OldestFirst => low = to + 1,
                ReadOrder::NewestFirst => high = from - 1,
            }
            length = length.saturating_mul(GROWTH);
        }
        if order == ReadOrder::NewestFirst {
            found.reverse();
        }
        Ok(found)
    }

    /// The packets of a range of seqs, in `order`.
    async fn window(
        &self,
        meeting: &MeetingId,
        query: &PacketQuery,
        (from, to): (u64, u64),
        limit: u64,
        order: ReadOrder,
    ) -> Result<Vec<Arc<DataPacket>>, store::Error> {
        // Seqs above the highest number of a record's id are never stored, so a range that starts there is
        // empty. (One that only ends there is cut off by `bound`.)
        if i64::try_from(from).is_err() {
            return Ok(Vec::new());
        }
        let variables = || {
            let mut variables = Variables::new();
            variables.insert("range", ids::packets_of(table(query), meeting, from, to));
            variables.insert("limit", bound(limit));
            if let Some(sources) = &query.sources {
                let sources: Vec<Value> = sources.iter().map(|source| text(source.as_str())).collect();
                variables.insert("sources", Array::from(sources));
            }
            if let Some(at) = query.not_before {
                variables.insert("not_before", moment(at));
            }
            Ok(variables)
        };
        let doing = || format!("reading packets {from} to {to} of meeting {meeting}");
        self.rows(QueryKind::Read, &[query_text(query, order)], variables, doing, |row| {
            row.packet(meeting).map(Arc::new)
        })
        .await
    }
}
