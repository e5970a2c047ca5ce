//! Packets: they are read as they were written, and queries answer as a plain filter does.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    fixture::Fixture,
    samples::{Numbers, at, commit, commit_one, create, meeting, name, packet},
};
use crate::{
    DataPacket, JsonText, MeetingId, Payload, Producer, Seq, Timestamp, TraceContext,
    store::{Outcome, PacketQuery, Take},
};

fn json(text: &str) -> Payload {
    Payload::json_text(text).expect("invariant: this is JSON")
}

/// Packets of every form, with all optional fields and without.
fn odd_packets(of: &MeetingId) -> Vec<DataPacket> {
    let plain = |seq| (*packet(of, seq)).clone();
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [
        Payload::Bytes(Bytes::new()),
        Payload::Bytes(Bytes::from(every_byte)),
        Payload::Bytes(Bytes::from(vec![0xff; 1 << 20])),
        Payload::Text("".into()),
        Payload::Text("it's \"quoted\" `ticked` ⟩ \\ \n\t\0 ü 日本語 🚀 e\u{301} \u{10ffff}".into()),
        Payload::Text("ü".repeat(1 << 19).into()),
        Payload::Text("{\"looks\":\"like JSON\"}".into()),
        json("null"),
        // JSON is kept as text: digits, white space, order and repeated names stay.
        json("{ \"b\":1.0, \"a\":123456789012345678901234567890,\n \"a\":[1e400,-0] }"),
        json(&format!("\"{}\"", "x".repeat((1 << 20) - 2))),
        // Versions that did not check texts have stored such ones. They must not hide the rest of a history.
        JsonText::new("{not json").into(),
        JsonText::new("").into(),
    ];
    let mut packets: Vec<DataPacket> =
        (1..).zip(payloads).map(|(seq, payload)| DataPacket { payload, ..plain(seq) }).collect();
    let moments = [
        Timestamp::UNIX_EPOCH,
        Timestamp::new(0, 1).expect("invariant: a valid moment"),
        Timestamp::new(-1, -999_999_999).expect("invariant: a valid moment"),
        Timestamp::new(1_700_000_000, 999_999_999).expect("invariant: a valid moment"),
        Timestamp::MIN,
        Timestamp::MAX,
    ];
    for (seq, moment) in (20..).zip(moments) {
        packets.push(DataPacket { timestamp: moment, received_at: at(0), ..plain(seq) });
        packets.push(DataPacket { timestamp: at(0), received_at: moment, ..plain(seq + 20) });
    }
    for (seq, participant) in (60..).zip([None, Some(""), Some("O'Brien \"Bob\" `x` 🚀"), Some("NONE")]) {
        packets.push(DataPacket { participant: participant.map(Into::into), ..plain(seq) });
    }
    for (seq, number) in (70..).zip([1, u64::from(u32::MAX) + 1]) {
        let producer = Producer { id: "it's:mine ⟩ é".into(), number };
        packets.push(DataPacket { producer: Some(producer), ..plain(seq) });
    }
    packets.push(DataPacket { causes: vec![Seq(1)], ..plain(80) });
    packets.push(DataPacket { causes: (1..=2_000).rev().map(Seq).collect(), ..plain(81) });
    packets.push(DataPacket { source: name("talk-time.de_1"), ..plain(82) });
    let trace = TraceContext::sampled(u128::MAX - 1, 1);
    packets.push(DataPacket { trace, ..plain(83) });
    packets.sort_by_key(|packet| packet.seq);
    packets
}

/// A packet is read as it was committed, to the last digit.
pub async fn packets_come_back_equal(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    let packets: Vec<Arc<DataPacket>> = odd_packets(&id).into_iter().map(Arc::new).collect();
    let mut whole = commit(&id, 1, 1);
    whole.packets.clone_from(&packets);
    assert_eq!(commit_one(store, whole).await, Outcome::Applied);
    let read = store.packets(id.clone(), PacketQuery::default()).await.expect("packets are read");
    assert_eq!(read.len(), packets.len());
    for (read, written) in read.iter().zip(&packets) {
        // The message leaves payloads out, which may be a megabyte.
        assert!(read == written, "packet {} ({}) came back changed", written.seq, written.payload.form());
    }
    // Also one at a time: a store may read single packets in another way.
    for written in &packets {
        let query = PacketQuery::range(written.seq, written.seq);
        let read = store.packets(id.clone(), query).await.expect("packets are read");
        assert!(read.len() == 1 && read[0] == *written, "packet {} came back changed", written.seq);
    }
}

/// Every combination of range, sources, time and count answers as a filter over all packets does.
pub async fn queries_answer_as_the_model_does(fixture: Fixture) {
    const PACKETS: u64 = 300;
    let store = &*fixture.store;
    let mut numbers = Numbers::new(0x7ea3);
    let id = meeting("m");
    create(store, "m").await;
    // A log with holes, mixed sources, times out of order and equal times.
    let sources = ["chat", "transcription", "talk-time"];
    let mut packets = Vec::new();
    let mut seq = 0;
    for _ in 0..PACKETS {
        seq += 1 + numbers.below(4) / 2 * numbers.below(30);
        let which = usize::try_from(numbers.below(20) / 8).expect("invariant: below three");
        packets.push(Arc::new(DataPacket {
            source: name(sources[which]),
            timestamp: at(i64::try_from(numbers.below(200)).expect("invariant: below two hundred")),
            ..(*packet(&id, seq)).clone()
        }));
    }
    for (number, chunk) in (1..).zip(packets.chunks(64)) {
        let mut part = commit(&id, 1, number);
        part.packets = chunk.to_vec();
        part.reserved = Seq(seq + 50_000);
        assert_eq!(commit_one(store, part).await, Outcome::Applied);
    }
    // Meetings whose ids sort just before and after this one's.
    for neighbour in ["l", "m!", "m0", "mm", "n"].map(meeting) {
        create(store, neighbour.as_str()).await;
        let mut part = commit(&neighbour, 1, 1);
        part.packets = (1..=20).map(|seq| packet(&neighbour, seq)).collect();
        assert_eq!(commit_one(store, part).await, Outcome::Applied);
    }
    let middle = packets[150].seq;
    let ranges = [
        (Seq(1), Seq::MAX),
        (Seq::ZERO, Seq(0)),
        (Seq::ZERO, middle),
        (middle, middle),
        (middle, Seq::MAX),
        (middle.next(), Seq(middle.0 + 100)),
        (Seq(seq), Seq(seq)),
        (Seq(seq + 1), Seq::MAX),
        (Seq::MAX, Seq::MAX),
        (middle, middle.previous()),
        (Seq(10), Seq(2)),
    ];
    let source_sets: [Option<&[&str]>; 5] =
        [None, Some(&[]), Some(&["chat"]), Some(&["talk-time", "transcription"]), Some(&["nobody"])];
    let moments = [None, Some(at(100)), Some(at(199)), Some(at(10_000))];
    let takes = [
        Take::All,
        Take::First(0),
        Take::First(1),
        Take::First(10),
        Take::Last(0),
        Take::Last(1),
        Take::Last(100),
        Take::Last(usize::MAX),
    ];
    for (from, to) in ranges {
        for sources in source_sets {
            for not_before in moments {
                let every: Vec<_> = {
                    let query = query(from, to, sources, not_before, Take::All);
                    packets.iter().filter(|packet| query.matches(packet)).cloned().collect()
                };
                for take in takes {
                    let expected = match take {
                        Take::All => &every[..],
                        Take::First(count) => &every[..count.min(every.len())],
                        Take::Last(count) => &every[every.len() - count.min(every.len())..],
                    };
                    let query = query(from, to, sources, not_before, take);
                    let read = store.packets(id.clone(), query.clone()).await.expect("packets are read");
                    assert!(
                        read == expected,
                        "{query:?}: {:?} instead of {:?}",
                        read.iter().map(|packet| packet.seq.0).collect::<Vec<_>>(),
                        expected.iter().map(|packet| packet.seq.0).collect::<Vec<_>>(),
                    );
                }
            }
        }
    }
}

fn query(
    from: Seq,
    to: Seq,
    sources: Option<&[&str]>,
    not_before: Option<Timestamp>,
    take: Take,
) -> PacketQuery {
    let mut query = PacketQuery::range(from, to).take(take);
    query.sources = sources.map(|sources| sources.iter().map(|source| name(source)).collect());
    query.not_before = not_before;
    query
}
