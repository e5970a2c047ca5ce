//! Reads of history: the same answer whatever is stored, and without copying what is not asked for.

use super::*;
use crate::{History, Producer, store::Take};

/// A packet with this second as its time, with the number of a producer.
fn numbered(seq: Seq, source: &str, second: i64, producer: Option<(&str, u64)>) -> Arc<DataPacket> {
    Arc::new(DataPacket {
        timestamp: Timestamp::from_second(second).unwrap(),
        producer: producer.map(|(id, number)| Producer { id: id.into(), number }),
        ..(*packet(seq, source, vec![])).clone()
    })
}

/// A packet of source `x` in this second, numbered by one of two producers; or any step of [`Step`].
#[derive(Debug, Clone)]
enum Move {
    Publish { second: i64, producer: Option<usize> },
    Other(Step),
}

const PRODUCERS: [&str; 2] = ["p", "q"];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let publish = (0..20_i64, prop::option::of(0..2_usize))
        .prop_map(|(second, producer)| Move::Publish { second, producer });
    let others = steps().prop_map(|steps| steps.into_iter().map(Move::Other).collect::<Vec<_>>());
    (prop::collection::vec(publish, 0..60), others).prop_flat_map(|(publishes, others)| {
        let moves = [publishes, others].concat();
        Just(moves).prop_shuffle()
    })
}

/// A world after these moves, and the last number of each producer.
fn world(moves: &[Move]) -> (World, [u64; 2]) {
    let (mut world, mut numbers) = (World::new(), [0; 2]);
    for step in moves {
        match step {
            Move::Publish { second, producer } => {
                let producer = producer.map(|index| {
                    numbers[index] += 1;
                    (PRODUCERS[index], numbers[index])
                });
                let packet = numbered(world.seqs.external().unwrap(), "x", *second, producer);
                world.published.push(packet.clone());
                world.log.append(Append::new(packet, Durability::Durable, true));
            }
            Move::Other(step) => world.step(step),
        }
    }
    (world, numbers)
}

fn histories() -> impl Strategy<Value = History> {
    let source = prop::option::of(prop::sample::select(vec!["x", "v", "early", "relay", "late", "meeting"]));
    let seqs = (0..80_u64, prop_oneof![0..150_u64, Just(u64::MAX)]);
    let last = prop::option::of(0..12_usize);
    let not_before = prop::option::of(0..20_i64);
    (source, last, not_before, seqs).prop_map(|(source, last, not_before, (from, to))| {
        let mut history = History::all().seqs(Seq(from), Seq(to));
        history.source = source.map(name);
        history.last = last;
        history.not_before = not_before.map(|second| Timestamp::from_second(second).unwrap());
        history
    })
}

/// The definition: a read of all these packets, one after the other.
fn filtered(
    packets: &[Arc<DataPacket>],
    history: &History,
    reader: &Name,
    before: Seq,
) -> Vec<Arc<DataPacket>> {
    let is_visible = |packet: &DataPacket| packet.source == *reader || packet.seq < before;
    let mut found: Vec<_> = packets.iter().filter(|p| is_visible(p) && history.matches(p)).cloned().collect();
    if let Some(last) = history.last {
        found.drain(..found.len().saturating_sub(last));
    }
    found
}

/// What a store answers, by the definition of a query.
fn stored(world: &World, query: &crate::store::PacketQuery) -> Vec<Arc<DataPacket>> {
    let mut found: Vec<_> = world.stored.iter().filter(|packet| query.matches(packet)).cloned().collect();
    if let Take::Last(count) = query.take {
        found.drain(..found.len().saturating_sub(count));
    }
    found
}

proptest! {
    #[test]
    fn unstored_packets_are_found_as_if_all_were_copied(
        moves in moves(),
        history in histories(),
        reader in 0..3_usize,
        before in prop_oneof![4 => 1..150_u64, 1 => Just(u64::MAX)],
    ) {
        let (world, numbers) = world(&moves);
        let (reader, before) = (name(SOURCES[reader].0), Seq(before));
        let read = HistoryRead::new(history.clone(), reader.clone(), before);
        let unstored = world.log.unstored(|_| true);
        let found = world.log.unstored_history(&read);
        prop_assert_eq!(&found, &filtered(&unstored, &history, &reader, before));

        for (producer, last) in PRODUCERS.into_iter().zip(numbers) {
            for number in 0..last + 2 {
                let is_it = |packet: &&Arc<DataPacket>| {
                    packet.producer == Some(Producer { id: producer.into(), number })
                };
                let seq = unstored.iter().find(is_it).map(|packet| packet.seq);
                prop_assert_eq!(world.log.unstored_number(producer, number), seq);
            }
        }
    }

    #[test]
    fn a_read_does_not_depend_on_what_is_stored(
        moves in moves(),
        history in histories(),
        reader in 0..3_usize,
        before in prop_oneof![4 => 1..150_u64, 1 => Just(u64::MAX)],
        is_stored_in_between in any::<bool>(),
    ) {
        let (mut world, _) = world(&moves);
        let (reader, before) = (name(SOURCES[reader].0), Seq(before));
        let mut all = world.stored.clone();
        all.extend(world.log.unstored(|_| true));
        let read = HistoryRead::new(history.clone(), reader.clone(), before);
        let unstored = world.log.unstored_history(&read);
        if is_stored_in_between {
            world.commit();
            world.commit();
        }
        let queries = read.stored();
        prop_assert!(queries.len() <= 2);
        let stored = queries.iter().flat_map(|query| stored(&world, query));
        let answer = read.merge(stored, unstored);
        prop_assert_eq!(answer, filtered(&all, &history, &reader, before));
    }
}

#[test]
fn a_read_is_at_most_two_queries_of_the_store() {
    let (reader, before) = (name("early"), Seq(10));
    let of = |source: &str| History::of(source).unwrap();
    let range = |from, to| crate::store::PacketQuery::range(Seq(from), to);
    let cases = [
        (of("x"), vec![range(1, Seq(9)).sources(vec![name("x")])]),
        (of("early"), vec![range(1, Seq::MAX).sources(vec![name("early")])]),
        (History::all(), vec![range(1, Seq(9)), range(10, Seq::MAX).sources(vec![reader.clone()])]),
        (
            History::all().seqs(Seq(3), Seq(12)).last(4),
            vec![
                range(3, Seq(9)).take(Take::Last(4)),
                range(10, Seq(12)).sources(vec![reader.clone()]).take(Take::Last(4)),
            ],
        ),
        (History::all().seqs(Seq(3), Seq(7)), vec![range(3, Seq(7))]),
        (History::all().seqs(Seq(10), Seq(12)), vec![range(10, Seq(12)).sources(vec![reader.clone()])]),
        (of("x").seqs(Seq(10), Seq(12)), vec![]),
        (
            of("x").not_before(Timestamp::UNIX_EPOCH),
            vec![range(1, Seq(9)).sources(vec![name("x")]).not_before(Timestamp::UNIX_EPOCH)],
        ),
    ];
    for (history, expected) in cases {
        let read = HistoryRead::new(history.clone(), reader.clone(), before);
        assert_eq!(read.stored(), expected, "{history:?}");
    }
}
