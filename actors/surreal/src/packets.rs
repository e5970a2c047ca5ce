//! Reading packets.
//!
//! A range of seqs is a range of record ids, read in order. This version of SurrealDB reads such a range
//! forwards and whole, whatever `LIMIT` says, and sorts all of it for `ORDER BY id DESC`. So the first few or
//! the last few are read in windows that grow, from the end that is asked for, until there are enough: a long
//! meeting costs no more than a short one. What a meeting's own life is told by has a table of its own.

use std::sync::Arc;

use surrealdb::types::{Array, Value, Variables};
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId,
    store::{self, PacketQuery, Take},
};

use super::{SurrealStore, rows};

/// The first window is this many times as long as what is wanted, because logs have holes and other sources.
const FIRST_WINDOW: u64 = 2;
/// The shortest first window.
const LEAST_WINDOW: u64 = 64;
/// How much longer each window is than the one before.
const GROWTH: u64 = 4;

/// From which end of the log packets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Oldest,
    Newest,
}

/// The text for a query: which filters it has, and from which end it reads.
fn text(query: &PacketQuery, end: End) -> &'static str {
    match (query.sources.is_some(), query.not_before.is_some(), end) {
        (false, false, End::Oldest) => "SELECT * FROM $range ORDER BY id LIMIT $limit",
        (true, false, End::Oldest) => {
            "SELECT * FROM $range WHERE source IN $sources ORDER BY id LIMIT $limit"
        }
        (false, true, End::Oldest) => {
            "SELECT * FROM $range WHERE timestamp >= $not_before ORDER BY id LIMIT $limit"
        }
        (true, true, End::Oldest) => {
            "SELECT * FROM $range WHERE source IN $sources AND timestamp >= $not_before ORDER BY id LIMIT $limit"
        }
        (false, false, End::Newest) => "SELECT * FROM $range ORDER BY id DESC LIMIT $limit",
        (true, false, End::Newest) => {
            "SELECT * FROM $range WHERE source IN $sources ORDER BY id DESC LIMIT $limit"
        }
        (false, true, End::Newest) => {
            "SELECT * FROM $range WHERE timestamp >= $not_before ORDER BY id DESC LIMIT $limit"
        }
        (true, true, End::Newest) => {
            "SELECT * FROM $range WHERE source IN $sources AND timestamp >= $not_before ORDER BY id DESC LIMIT $limit"
        }
    }
}

/// Where the packets are that a query asks for.
fn table(query: &PacketQuery) -> &'static str {
    match query.sources.as_deref() {
        Some([source]) if *source == Lifecycle::SOURCE => rows::LIFECYCLE,
        _ => rows::PACKETS,
    }
}

impl SurrealStore {
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
                self.window(&meeting, &query, (query.from.0, query.to.0), u64::MAX, End::Oldest).await
            }
            Take::First(count) => self.nearest(&meeting, &query, count, End::Oldest).await,
            Take::Last(count) => self.nearest(&meeting, &query, count, End::Newest).await,
        }
    }

    /// The packets nearest to one end.
    async fn nearest(
        &self,
        meeting: &MeetingId,
        query: &PacketQuery,
        count: usize,
        end: End,
    ) -> Result<Vec<Arc<DataPacket>>, store::Error> {
        // What is not read yet.
        let (mut low, mut high) = (query.from.0, query.to.0);
        let mut length = (count as u64).saturating_mul(FIRST_WINDOW).max(LEAST_WINDOW);
        let mut log_end = None;
        let mut found = Vec::new();
        loop {
            // Above the log's end there is nothing to look for. It is read when it can save something: before
            // a first window at that end, and before a second one at the other.
            if log_end.is_none() && high - low >= length && (end == End::Newest || low > query.from.0) {
                log_end = Some(self.log_end(meeting).await?);
            }
            let stored = log_end.unwrap_or(high).min(high);
            let (from, to) = match end {
                End::Oldest if stored.saturating_sub(low) < length => (low, high),
                End::Oldest => (low, low + (length - 1)),
                End::Newest => (stored.saturating_sub(length - 1).max(low), high),
            };
            let missing = (count - found.len()) as u64;
            found.extend(self.window(meeting, query, (from, to), missing, end).await?);
            if found.len() >= count || (from, to) == (low, high) {
                break;
            }
            match end {
                End::Oldest => low = to + 1,
                End::Newest => high = from - 1,
            }
            length = length.saturating_mul(GROWTH);
        }
        if end == End::Newest {
            found.reverse();
        }
        Ok(found)
    }

    /// Packets of a part of the log, in the order in which they are read.
    async fn window(
        &self,
        meeting: &MeetingId,
        query: &PacketQuery,
        (from, to): (u64, u64),
        limit: u64,
        end: End,
    ) -> Result<Vec<Arc<DataPacket>>, store::Error> {
        // No stored seq is above what a record's id can hold: an end up there is cut off, a start up there
        // finds nothing.
        if i64::try_from(from).is_err() {
            return Ok(Vec::new());
        }
        let variables = || {
            let mut variables = Variables::new();
            variables.insert("range", rows::packets_of(table(query), meeting, from, to));
            variables.insert("limit", rows::bound(limit));
            if let Some(sources) = &query.sources {
                let sources: Vec<Value> = sources.iter().map(|source| rows::text(source.as_str())).collect();
                variables.insert("sources", Array::from(sources));
            }
            if let Some(at) = query.not_before {
                variables.insert("not_before", rows::moment(at));
            }
            Ok(variables)
        };
        let doing = || format!("reading packets {from} to {to} of meeting {meeting}");
        self.read(&[text(query, end)], variables, doing, |row| row.packet(meeting).map(Arc::new)).await
    }
}
