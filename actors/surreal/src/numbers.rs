//! Looks up numbered packets, and how far their producers have come, by [runs](super::runs).

use futures::{StreamExt, TryStreamExt, stream};
use teammy_kernel::{
    MeetingId, Seq,
    store::{self, Mark},
};

use super::{READ, SurrealStore, by_id, rows, runs::LONGEST};

/// How many producers are asked about at once.
const AT_ONCE: usize = 16;

/// The place of a number in a run that was read.
fn place(number: u64, (last, seqs): &(u64, Vec<Seq>)) -> Option<Seq> {
    let from_last = usize::try_from(last.checked_sub(number)?).ok()?;
    seqs.iter().rev().nth(from_last).copied()
}

impl SurrealStore {
    pub(super) async fn find_number(
        &self,
        meeting: &MeetingId,
        producer: &str,
        number: u64,
    ) -> Result<Option<Seq>, store::Error> {
        let doing = || format!("looking up number {number} of a producer in meeting {meeting}");
        let runs = self.runs_from(meeting, producer, number, doing).await?;
        // If an owner ever gave a number out twice, the original is the one that came first.
        Ok(runs.iter().filter_map(|run| place(number, run)).min())
    }

    /// How far all producers of a meeting have come.
    pub(super) async fn read_marks(&self, meeting: &MeetingId) -> Result<Vec<Mark>, store::Error> {
        let doing = || format!("reading producers of meeting {meeting}");
        let all = || Ok(by_id(rows::all_of("mark", meeting)));
        let marks = self.read(READ, all, doing, rows::Row::mark).await?;
        let newest = stream::iter(marks).map(|mark| self.newest(meeting, mark));
        let mut newest: Vec<Mark> = newest.buffered(AT_ONCE).try_collect().await?;
        newest.sort_by(|a, b| a.producer.cmp(&b.producer));
        Ok(newest)
    }

    /// How far a producer has come that was at a mark when that was written.
    async fn newest(&self, meeting: &MeetingId, mark: Mark) -> Result<Mark, store::Error> {
        let doing = || format!("reading how far a producer is in meeting {meeting}");
        let runs = self.runs_from(meeting, &mark.producer, mark.number, doing).await?;
        let last = runs.iter().filter_map(|(number, seqs)| Some((*number, *seqs.last()?))).max();
        Ok(match last {
            Some((number, seq)) if number > mark.number => Mark { number, seq, ..mark },
            _ => mark,
        })
    }

    /// The runs that end at a number or less than [`LONGEST`] above it.
    async fn runs_from(
        &self,
        meeting: &MeetingId,
        producer: &str,
        number: u64,
        doing: impl Fn() -> String,
    ) -> Result<Vec<(u64, Vec<Seq>)>, store::Error> {
        let ends = || Ok(by_id(rows::runs_of(meeting, producer, number, number.saturating_add(LONGEST - 1))));
        self.read(READ, ends, doing, rows::Row::run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_place_counted_from_the_last() {
        let run = (12, vec![Seq(40), Seq(50), Seq(70)]);
        let places = [(9, None), (10, Some(40)), (11, Some(50)), (12, Some(70)), (13, None), (0, None)];
        for (number, expected) in places {
            assert_eq!(place(number, &run), expected.map(Seq), "{number}");
        }
    }
}
