//! Where numbered packets are, and how far their producers have come.
//!
//! A row for each numbered packet would double the rows that a commit writes, and one row for each producer
//! would have to be written anew, longer each time. So a commit writes a row for each **run**: packets of one
//! producer whose numbers follow each other, with the last number in the record's id and all seqs in the
//! record. (Seqs rise with the numbers, but outputs and other producers' packets come between.) That is one
//! new row a commit and producer, as a rule.
//!
//! This version of SurrealDB reads a range forwards and whole, whatever `LIMIT` says (see `packets`), so the
//! first run at or after a number, or the last run of all, can't be had from a range that is open at its end.
//! A run is therefore at most [`LONGEST`] numbers long: the one that holds a number ends less than that above
//! it, and one short range holds the answer, however long the meeting is.
//!
//! How far a producer has come, which a new owner asks of all of them, needs a place to start from: its
//! **mark**. To update a row costs several times what a new one does, so a mark is not written by each
//! commit, but by each that holds the first number of a stretch of [`LONGEST`]. Since numbers have no holes,
//! the newest is less than that above it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use teammy_kernel::{
    Seq,
    store::{Commit, Mark},
};

/// The most numbers in one run, and how many there are from one that has a mark written to the next that has.
pub(super) const LONGEST: u64 = 64;

/// Packets of one producer whose numbers follow each other, in one commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) producer: &'a Arc<str>,
    /// The last packet's number.
    pub(super) last: u64,
    /// Where the packets are, in the order of their numbers.
    pub(super) seqs: Vec<Seq>,
}

impl Run<'_> {
    /// Takes a packet in, if its number is the next and there is room.
    fn extend(&mut self, number: u64, seq: Seq) -> bool {
        let follows = self.last.checked_add(1) == Some(number) && (self.seqs.len() as u64) < LONGEST;
        if follows {
            self.last = number;
            self.seqs.push(seq);
        }
        follows
    }
}

/// The numbered packets of a commit.
pub(super) fn runs(commit: &Commit) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    // By producer: which of the runs is the one to go on with.
    let mut current: HashMap<&Arc<str>, usize> = HashMap::new();
    for packet in &commit.packets {
        let Some(producer) = &packet.producer else { continue };
        let run = current.get(&producer.id).and_then(|&index| runs.get_mut(index));
        if !run.is_some_and(|run| run.extend(producer.number, packet.seq)) {
            current.insert(&producer.id, runs.len());
            runs.push(Run { producer: &producer.id, last: producer.number, seqs: vec![packet.seq] });
        }
    }
    runs
}

/// The marks that a commit writes: of producers that begin a stretch of numbers in it, the first included.
pub(super) fn marks(commit: &Commit) -> Vec<Mark> {
    let begin: HashSet<&Arc<str>> = beginning(commit).collect();
    if begin.is_empty() {
        return Vec::new();
    }
    let mut marks = commit.marks();
    marks.retain(|mark| begin.contains(&mark.producer));
    marks
}

/// Who begins a stretch of numbers in a commit.
fn beginning(commit: &Commit) -> impl Iterator<Item = &Arc<str>> {
    let producers = commit.packets.iter().filter_map(|packet| packet.producer.as_ref());
    producers.filter(|producer| producer.number % LONGEST == 1).map(|producer| &producer.id)
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

    use super::{LONGEST, marks, runs};

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
        let long = commit((1..=2 * LONGEST + 1).map(|number| (number, Some(("p", number)))));
        let lengths: Vec<_> = runs(&long).iter().map(|run| (run.last, run.seqs.len() as u64)).collect();
        assert_eq!(lengths, [(LONGEST, LONGEST), (2 * LONGEST, LONGEST), (2 * LONGEST + 1, 1)]);
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
            (2..=LONGEST, None),
            (LONGEST..=LONGEST + 1, Some(LONGEST + 1)),
            (LONGEST + 2..=2 * LONGEST, None),
            (20..=3 * LONGEST + 7, Some(3 * LONGEST + 7)),
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
