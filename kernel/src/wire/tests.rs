use proptest::prelude::*;

use jiff::Timestamp;

use super::*;
use crate::{
    DataPacket, JsonText, MeetingId, Name, Payload, Producer, Publish, Seq, TraceContext, data::AudioFrame,
};

fn hex(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap())
}

fn packet() -> DataPacket {
    DataPacket {
        meeting: MeetingId::new("m").unwrap(),
        seq: Seq(7),
        source: Name::new("chat").unwrap(),
        timestamp: Timestamp::new(1, 500).unwrap(),
        received_at: Timestamp::new(2, 0).unwrap(),
        participant: Some("Ada".into()),
        payload: Payload::json_text("{}").unwrap(),
        producer: Some(Producer { id: "p".into(), number: 3 }),
        causes: vec![Seq(5)],
        trace: None,
    }
}

/// What `packet` was in layout 1.
const PACKET_1: [&str; 21] = [
    "0100000000000000",
    "6d",
    "0700000000000000",
    "0400000000000000",
    "63686174",
    "0100000000000000",
    "f4010000",
    "0200000000000000",
    "00000000",
    "01",
    "0300000000000000",
    "416461",
    "02000000",
    "0200000000000000",
    "7b7d",
    "01",
    "0100000000000000",
    "70",
    "0300000000000000",
    "0100000000000000",
    "0500000000000000",
];

/// What `publish` was in layout 1.
const PUBLISH_1: [&str; 13] = [
    "0400000000000000",
    "63686174",
    "01",
    "0100000000000000",
    "f4010000",
    "01",
    "0300000000000000",
    "416461",
    "01000000",
    "0100000000000000",
    "61",
    "01",
    "0100000000000000700300000000000000",
];

const TRACE: &str = "0000000000000000000000000000000a000000000000000b03";

fn publish() -> Publish {
    let publish = Publish::text("chat", "a").unwrap().participant("Ada").numbered("p", 3);
    publish.timestamp(Timestamp::new(1, 500).unwrap())
}

fn written<T: Wire>(value: &T) -> String {
    encode(value).unwrap().iter().flat_map(|byte| hex(*byte)).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Earlier builds read these bytes: a change of them needs a new version.
#[test]
fn golden_bytes_of_a_packet_in_layout_2() {
    let body = PACKET_1.concat();
    assert_eq!(written(&packet()), format!("02{body}00"));
    let traced = DataPacket { trace: TraceContext::sampled(10, 11), ..packet() };
    assert_eq!(written(&traced), format!("02{body}01{TRACE}"));
    assert_eq!(decode::<DataPacket>(&encode(&traced).unwrap()).unwrap(), traced);
}

#[test]
fn golden_bytes_of_a_publish_in_layout_2() {
    let body = PUBLISH_1.concat();
    assert_eq!(written(&publish()), format!("02{body}00"));
    let traced = publish().traced(TraceContext::sampled(10, 11).unwrap());
    assert_eq!(written(&traced), format!("02{body}01{TRACE}"));
    assert_eq!(decode::<Publish>(&encode(&traced).unwrap()).unwrap(), traced);
    let least = Publish::bytes("chat", "a").unwrap();
    for publish in [publish(), traced, least] {
        assert_eq!(publish.size_hint(), encode(&publish).unwrap().len() - 1);
    }
}

#[test]
fn layout_1_is_read() {
    let old = bytes(&format!("01{}", PACKET_1.concat()));
    assert_eq!(decode::<DataPacket>(&old).unwrap(), packet());
    assert!(matches!(decode::<DataPacket>(&[&old[..], &[0]].concat()), Err(Error::Trailing(1))));
    let old = bytes(&format!("01{}", PUBLISH_1.concat()));
    assert_eq!(decode::<Publish>(&old).unwrap(), publish());
    assert!(matches!(decode::<Publish>(&old[..old.len() - 1]), Err(Error::Decode(_))));
}

/// Earlier builds did not check texts.
#[test]
fn a_malformed_text_of_an_earlier_build_is_read_and_written_again() {
    let packet = DataPacket { payload: Payload::json_text("{\"a\":7}").unwrap(), ..packet() };
    let mut bytes = encode(&packet).unwrap();
    let at = bytes.windows(7).position(|part| part == b"{\"a\":7}").unwrap();
    bytes[at..at + 7].copy_from_slice(b"{broken");
    let read = decode::<DataPacket>(&bytes).unwrap();
    let Payload::Malformed(malformed) = &read.payload else { panic!("{read:?}") };
    assert_eq!((malformed.text(), malformed.column()), ("{broken", 2));
    assert_eq!(encode(&read).unwrap(), bytes);
    assert_eq!(DataPacket { payload: packet.payload.clone(), ..read }, packet);
}

#[test]
fn golden_bytes_of_an_audio_frame_in_layout_1() {
    let frame = AudioFrame { sample_rate: 16_000, channels: 1, samples: vec![1, 2].into() };
    let bytes = encode(&frame).unwrap();
    assert_eq!(bytes, [1, 0x80, 0x3e, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(frame.size_hint(), bytes.len() - 1);
    assert_eq!(decode::<AudioFrame>(&bytes).unwrap(), frame);
}

#[test]
fn another_version_is_named() {
    let mut bytes = encode(&packet()).unwrap();
    bytes[0] = 9;
    let error = decode::<DataPacket>(&bytes).unwrap_err().to_string();
    assert_eq!(error, "message is of layout 9, this build reads layout 2");
}

#[test]
fn leftovers_and_cuts_are_errors() {
    let mut bytes = encode(&packet()).unwrap();
    bytes.push(0);
    assert!(matches!(decode::<DataPacket>(&bytes), Err(Error::Trailing(1))));
    bytes.truncate(bytes.len() - 2);
    assert!(matches!(decode::<DataPacket>(&bytes), Err(Error::Decode(_))));
    assert!(matches!(decode::<DataPacket>(&[]), Err(Error::Empty)));
}

#[test]
fn a_length_beyond_the_limit_allocates_nothing() {
    let mut bytes = vec![2];
    bytes.extend(u64::MAX.to_le_bytes());
    assert!(matches!(decode::<DataPacket>(&bytes), Err(Error::Decode(_))));
}

proptest! {
    #[test]
    fn any_packet_comes_back(
        seq: u64,
        second in -1_000_000_000_000_i64..1_000_000_000_000,
        nanos in 0..1_000_000_000_i32,
        participant: Option<String>,
        data: Vec<u8>,
        text: String,
        form in 0..3,
        causes: Vec<u64>,
        trace: (u128, u64),
    ) {
        let second = second.rem_euclid(200_000_000_000);
        let packet = DataPacket {
            seq: Seq(seq),
            timestamp: Timestamp::new(second, nanos).unwrap(),
            participant: participant.map(Into::into),
            payload: match form {
                0 => Payload::Bytes(data.into()),
                1 => Payload::Text(text.into()),
                _ => JsonText::new(text).into(),
            },
            causes: causes.into_iter().map(Seq).collect(),
            trace: TraceContext::sampled(trace.0, trace.1),
            ..packet()
        };
        let bytes = encode(&packet).unwrap();
        prop_assert_eq!(packet.size_hint(), bytes.len() - 1);
        prop_assert_eq!(decode::<DataPacket>(&bytes).unwrap(), packet);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = decode::<DataPacket>(&bytes);
    }
}
