//! Marks: the last number of each producer.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::commit::Commit;
use crate::Seq;

/// A producer's highest number in a meeting, and the packet that has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The producer's own identifier.
    pub producer: Arc<str>,
    /// The highest stored number.
    pub number: u64,
    /// The seq of the packet with that number.
    pub seq: Seq,
}

impl Commit {
    /// The marks after this commit of the producers whose packets it holds, by producer.
    pub fn marks(&self) -> Vec<Mark> {
        let mut newest: BTreeMap<&Arc<str>, (u64, Seq)> = BTreeMap::new();
        for packet in &self.packets {
            let Some(producer) = &packet.producer else { continue };
            let mark = (producer.number, packet.seq);
            match newest.entry(&producer.id) {
                Entry::Vacant(entry) => {
                    entry.insert(mark);
                }
                Entry::Occupied(mut entry) if entry.get().0 < producer.number => {
                    entry.insert(mark);
                }
                Entry::Occupied(_) => {}
            }
        }
        let marks = newest.into_iter();
        marks.map(|(producer, (number, seq))| Mark { producer: producer.clone(), number, seq }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Mark;
    use crate::{
        DataPacket, MeetingId, Producer, Publish, Seq, Timestamp,
        store::{Commit, Epoch},
    };

    fn packet(seq: u64, producer: Option<(&str, u64)>) -> Arc<DataPacket> {
        let publish = Publish::text("chat", "hello").unwrap();
        let mut packet = publish.into_packet(MeetingId::new("m").unwrap(), Seq(seq), Timestamp::UNIX_EPOCH);
        packet.producer = producer.map(|(id, number)| Producer { id: id.into(), number });
        Arc::new(packet)
    }

    #[test]
    fn a_commit_has_the_newest_mark_of_each_producer() {
        type Packets<'a> = &'a [(u64, Option<(&'a str, u64)>)];
        type Marks<'a> = &'a [(&'a str, u64, u64)];
        let cases: [(Packets, Marks); 6] = [
            (&[], &[]),
            (&[(1, None), (2, None)], &[]),
            (&[(7, Some(("p", 1)))], &[("p", 1, 7)]),
            // The highest number counts, wherever its packet is, and marks are sorted by producer.
            (
                &[(2, Some(("q", 8))), (4, Some(("p", 1))), (5, None), (6, Some(("q", 9)))],
                &[("p", 1, 4), ("q", 9, 6)],
            ),
            (&[(2, Some(("p", 5))), (3, Some(("p", 4)))], &[("p", 5, 2)]),
            // Of two under one number the first is the original.
            (&[(2, Some(("p", 5))), (3, Some(("p", 5)))], &[("p", 5, 2)]),
        ];
        for (packets, marks) in cases {
            let mut commit = Commit::new(MeetingId::new("m").unwrap(), Epoch(1), 1, Seq(100));
            commit.packets = packets.iter().map(|(seq, producer)| packet(*seq, *producer)).collect();
            let expected: Vec<Mark> = marks
                .iter()
                .map(|&(producer, number, seq)| Mark { producer: producer.into(), number, seq: Seq(seq) })
                .collect();
            assert_eq!(commit.marks(), expected, "{packets:?}");
        }
    }
}
