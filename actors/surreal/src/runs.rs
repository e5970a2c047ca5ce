//! Which rows a commit writes for its numbered packets.
//!
//! They must answer two questions: which seq a producer's number has, and what the newest number of each
//! producer is. A row for each numbered packet would double the rows that a commit writes. One row for each
//! producer would have to be rewritten by each commit, longer each time. So a commit writes a row for each
//! **run**: packets of one producer with consecutive numbers. The last number is in the record's id, and all
//! seqs are in the record. (Seqs rise with the numbers, but are not consecutive: outputs and other producers'
//! packets come between.) As a rule that is one new row for each commit and producer.
//!
//! This version of SurrealDB reads a range forwards and as a whole, whatever `LIMIT` says (see `packets`), so
//! an open-ended range cannot give the first run at or after a number, or the last run of all. Therefore a
//! run has at most [`MAX_RUN`] numbers: the run that holds a number ends less than that above it, and one
//! short range of ids finds it, however long the meeting is.
//!
//! A new owner asks for the newest number of each producer. The search starts from the producer's **mark**, a
//! number and its seq. An update of a row costs several times as much as a new row, so not each commit writes
//! a mark, but each that holds the first number of a stretch of [`MAX_RUN`]. Numbers have no holes, so the
//! newest number is less than that above the mark.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use teammy_kernel::{
    Seq,
    store::{Commit, Mark},
};

/// The most numbers in one run, and the distance between the numbers whose commits write a mark.
pub(super) const MAX_RUN: u64 = 64;

/// Packets of one commit that have one producer and consecutive numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NumberRun<'a> {
    pub(super) producer: &'a Arc<str>,
    /// The last packet's number.
    pub(super) last: u64,
    /// The packets' seqs, in the order of their numbers.
    pub(super) seqs: Vec<Seq>,
}

impl NumberRun<'_> {
    /// Adds a packet if its number is the next one and the run has room; returns whether it was added.
    fn extend(&mut self, number: u64, seq: Seq) -> bool {
        let follows = self.last.checked_add(1) == Some(number) && (self.seqs.len() as u64) < MAX_RUN;
        if follows {
            self.last = number;
            self.seqs.push(seq);
        }
        follows
    }
}

/// The runs of a commit's numbered packets.
pub(super) fn runs(commit: &Commit) -> Vec<NumberRun<'_>> {
    let mut runs: Vec<NumberRun<'_>> = Vec::new();
    // By producer: the index of its newest run.
    let mut current: HashMap<&Arc<str>, usize> = HashMap::new();
    for packet in &commit.packets {
        let Some(producer) = &packet.producer else { continue };
        let run = current.get(&producer.id).and_then(|&index| runs.get_mut(index));
        if !run.is_some_and(|run| run.extend(producer.number, packet.seq)) {
            current.insert(&producer.id, runs.len());
            runs.push(NumberRun { producer: &producer.id, last: producer.number, seqs: vec![packet.seq] });
        }
    }
    runs
}

/// The marks that a commit writes: the newest number of each producer that begins a stretch of numbers in it.
pub(super) fn marks(commit: &Commit) -> Vec<Mark> {
    let begin: HashSet<&Arc<str>> = beginning(commit).collect();
    if begin.is_empty() {
        return Vec::new();
    }
    let mut marks = commit.marks();
    marks.retain(|mark| begin.contains(&mark.producer));
    marks
}

/// The producers that begin a stretch of numbers in a commit.
fn beginning(commit: &Commit) -> impl Iterator<Item = &Arc<str>> {
    let producers = commit.packets.iter().filter_map(|packet| packet.producer.as_ref());
    producers.filter(|producer| producer.number % MAX_RUN == 1).map(|producer| &producer.id)
}

/// Whether a commit has [`runs`].
pub(super) fn has_runs(commit: &Commit) -> bool {
    commit.packets.iter().any(|packet| packet.producer.is_some())
}

/// Whether a commit writes [`marks`].
pub(super) fn has_marks(commit: &Commit) -> bool {
    beginning(commit).next().is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use teammy_kernel::{
        MeetingId, Producer, Publish, Seq, Timestamp,
        store::{Commit, Epoch},
    };

    use super::{MAX_RUN, marks, runs};

    fn commit(packets: impl IntoIterator<Item = (u64, Option<(&'static str, u64)>)>) -> Commit {
        let meeting = MeetingId::new("m").unwrap();
        let mut commit = Commit::new(meeting.clone(), Epoch(1), 1, Seq(1_000));
        for (seq, producer) in packets {
            let publish = Publish::text("chat", "hello").unwrap();
            let mut packet = publish.into_packet(meeting.clone(), Seq(seq), Timestamp::UNIX_EPOCH);
            packet.producer = producer.map(|(id, number)| Producer { id: id.into(), number });
            commit.packets.push(Arc::new(packet));
        }
        commit
    }

    /// The runs as (producer, last, seqs).
    fn read_off(commit: &Commit) -> Vec<(String, u64, Vec<u64>)> {
        let runs = runs(commit).into_iter();
        runs.map(|run| (run.producer.to_string(), run.last, run.seqs.iter().map(|seq| seq.0).collect()))
            .collect()
    }

    #[test]
    fn a_commit_has_one_run_for_each_producer() {
        assert_eq!(read_off(&commit([(1, None), (2, None)])), []);
        let mixed = commit([
            (1, Some(("p", 4))),
            (2, Some(("q", 1))),
            (3, None),
            (5, Some(("p", 5))),
            (8, Some(("p", 6))),
            (9, Some(("q", 2))),
        ]);
        let expected = [("p".to_owned(), 6, vec![1, 5, 8]), ("q".to_owned(), 2, vec![2, 9])];
        assert_eq!(read_off(&mixed), expected);
    }

    #[test]
    fn a_run_ends_at_a_hole_at_a_step_back_and_when_it_is_long() {
        let odd = commit([
            (1, Some(("p", 1))),
            (2, Some(("p", 3))),
            (3, Some(("p", 3))),
            (4, Some(("p", 2))),
            (5, Some(("p", u64::MAX))),
            (6, Some(("p", 0))),
        ]);
        let ends = [1, 3, 3, 2, u64::MAX, 0];
        let expected: Vec<_> = (1..).zip(ends).map(|(seq, last)| ("p".to_owned(), last, vec![seq])).collect();
        assert_eq!(read_off(&odd), expected);
        let long = commit((1..=2 * MAX_RUN + 1).map(|number| (number, Some(("p", number)))));
        let lengths: Vec<_> = runs(&long).iter().map(|run| (run.last, run.seqs.len() as u64)).collect();
        assert_eq!(lengths, [(MAX_RUN, MAX_RUN), (2 * MAX_RUN, MAX_RUN), (2 * MAX_RUN + 1, 1)]);
    }

    #[test]
    fn a_mark_is_written_at_the_start_of_each_stretch() {
        let numbers = |range: std::ops::RangeInclusive<u64>| {
            commit(
                range.map(|number| (number, Some(("p", number)))).chain([(500, Some(("q", 2))), (501, None)]),
            )
        };
        let cases = [
            (1..=1, Some(1)),
            (1..=9, Some(9)),
            (2..=MAX_RUN, None),
            (MAX_RUN..=MAX_RUN + 1, Some(MAX_RUN + 1)),
            (MAX_RUN + 2..=2 * MAX_RUN, None),
            (20..=3 * MAX_RUN + 7, Some(3 * MAX_RUN + 7)),
        ];
        for (range, expected) in cases {
            let marks = marks(&numbers(range.clone()));
            let written: Vec<_> =
                marks.iter().map(|mark| (&*mark.producer, mark.number, mark.seq.0)).collect();
            let expected: Vec<_> = expected.map(|number| ("p", number, number)).into_iter().collect();
            assert_eq!(written, expected, "{range:?}");
        }
    }
}
