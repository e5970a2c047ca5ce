//! Looks up numbered packets, and each producer's newest, by [runs](super::runs).

use futures::{StreamExt, TryStreamExt, stream};
use surrealdb::types::{Array, Value};
use teammy_kernel::{
    MeetingId, Seq,
    store::{self, Mark},
};

use super::{
    connection::QueryText,
    connection_manager::QueryKind,
    decode::StoredRow,
    error::QueryError,
    ids,
    open_database::{OpenDatabase, SELECT},
    runs::MAX_RUN,
    values::{by_id, variables},
};

/// How many producers are looked up at once.
const AT_ONCE: usize = 16;

/// The seq of a number, if it is in a run.
fn seq_of(number: u64, (last, seqs): &(u64, Vec<Seq>)) -> Option<Seq> {
    let from_last = usize::try_from(last.checked_sub(number)?).ok()?;
    seqs.iter().rev().nth(from_last).copied()
}

impl OpenDatabase {
    pub(super) async fn find_number(
        &self,
        meeting: &MeetingId,
        producer: &str,
        number: u64,
    ) -> Result<Option<Seq>, store::Error> {
        let doing = || format!("looking up number {number} of a producer in meeting {meeting}");
        let runs = self.runs_from(meeting, producer, number, doing).await?;
        // If an owner ever gave one number to two packets, the first is the original.
        Ok(runs.iter().filter_map(|run| seq_of(number, run)).min())
    }

    /// Each producer's newest packet in a meeting.
    pub(super) async fn read_marks(&self, meeting: &MeetingId) -> Result<Vec<Mark>, store::Error> {
        let doing = || format!("reading producers of meeting {meeting}");
        let all = || Ok(by_id(ids::all_of(ids::MARKS, meeting)));
        let marks = self.rows(QueryKind::Read, SELECT, all, doing, StoredRow::mark).await?;
        let newest = stream::iter(marks).map(|mark| self.newest(meeting, mark));
        let mut newest: Vec<Mark> = newest.buffered(AT_ONCE).try_collect().await?;
        newest.sort_by(|a, b| a.producer.cmp(&b.producer));
        Ok(newest)
    }

    /// Those of some meetings that have marks: one query looks into the ranges of all of them. (`FROM` does not take several
    /// ranges.)
    pub(super) async fn find_marked(
        &self,
        mut meetings: Vec<MeetingId>,
    ) -> Result<Vec<MeetingId>, store::Error> {
        const READ: &QueryText =
            &["RETURN $ranges.map(|$range| array::len((SELECT VALUE id FROM $range LIMIT 1)) > 0)"];
        let ranges = || {
            let ranges: Vec<Value> = meetings.iter().map(|id| ids::all_of(ids::MARKS, id)).collect();
            Ok(variables([("ranges", Value::Array(Array::from(ranges)))]))
        };
        let read = async {
            let are_marked = self.query(QueryKind::Read, READ, ranges).await?.take::<Vec<bool>>(0)?;
            Ok::<_, QueryError>(are_marked)
        };
        let doing = || "looking for meetings with numbered packets".to_owned();
        let mut are_marked = read.await.map_err(|error| error.into_store(doing))?.into_iter();
        meetings.retain(|_| are_marked.next().unwrap_or(false));
        Ok(meetings)
    }

    /// A producer's newest packet, which is in the stretch of numbers that begins at its stored mark.
    async fn newest(&self, meeting: &MeetingId, mark: Mark) -> Result<Mark, store::Error> {
        let doing = || format!("reading how far a producer is in meeting {meeting}");
        let runs = self.runs_from(meeting, &mark.producer, mark.number, doing).await?;
        let last = runs.iter().filter_map(|(number, seqs)| Some((*number, *seqs.last()?))).max();
        Ok(match last {
            Some((number, seq)) if number > mark.number => Mark { number, seq, ..mark },
            _ => mark,
        })
    }

    /// The runs whose last number is `number` or less than [`MAX_RUN`] above it.
    async fn runs_from(
        &self,
        meeting: &MeetingId,
        producer: &str,
        number: u64,
        doing: impl Fn() -> String,
    ) -> Result<Vec<(u64, Vec<Seq>)>, store::Error> {
        let ends = || Ok(by_id(ids::runs_of(meeting, producer, number, number.saturating_add(MAX_RUN - 1))));
        self.rows(QueryKind::Read, SELECT, ends, doing, StoredRow::run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbers_seq_is_counted_from_the_last() {
        let run = (12, vec![Seq(40), Seq(50), Seq(70)]);
        let cases = [(9, None), (10, Some(40)), (11, Some(50)), (12, Some(70)), (13, None), (0, None)];
        for (number, expected) in cases {
            assert_eq!(seq_of(number, &run), expected.map(Seq), "{number}");
        }
    }
}
