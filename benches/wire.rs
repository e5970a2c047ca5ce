//! The wire forms of packets beside bare bincode, in one run: `cargo bench -p teammy-benches --bench wire -- [--rounds N]`.
//!
//! The peer is what anybody would write: a plain struct with owned fields and derived serde, with the same numbers of fixed
//! length. Once its payload is a `Vec<u8>`, which serde takes apart byte by byte, and once `Bytes`, which it does not. Every
//! round measures each side once, in turns, and a ratio is the median of the rounds' ratios.

#![allow(missing_docs, unreachable_pub, reason = "the module's docs describe its content")]

#[path = "median.rs"]
mod median;

use std::hint::black_box;

use bincode::{
    config::{Configuration, Fixint, LittleEndian},
    serde::{decode_from_slice, encode_to_vec},
};
use bytes::Bytes;
use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use teammy_kernel::{
    DataPacket, MeetingId, Name, Payload, Publish, Seq, Timestamp,
    wire::{Wire, decode, encode},
};
use tokio::time::Instant;

use crate::median::{median, of_rounds};

const CONFIG: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

/// What a packet is without Teammy.
#[derive(Serialize, Deserialize)]
struct BarePacket<P> {
    meeting: String,
    seq: u64,
    source: String,
    timestamp: (i64, i32),
    received_at: (i64, i32),
    participant: Option<String>,
    payload: BarePayload<P>,
    producer: Option<BareProducer>,
    causes: Vec<u64>,
    trace: Option<([u8; 16], [u8; 8], u8)>,
}

/// What a packet to publish is without Teammy.
#[derive(Serialize, Deserialize)]
struct BarePublish<P> {
    source: String,
    timestamp: Option<(i64, i32)>,
    participant: Option<String>,
    payload: BarePayload<P>,
    producer: Option<BareProducer>,
    trace: Option<([u8; 16], [u8; 8], u8)>,
}

#[derive(Serialize, Deserialize)]
struct BareProducer {
    id: String,
    number: u64,
}

#[derive(Serialize, Deserialize)]
enum BarePayload<P> {
    Bytes(P),
    Text(String),
    Json(String),
}

fn packet(bytes: usize) -> DataPacket {
    let meeting = MeetingId::new("bench").expect("a well-formed id");
    publish(bytes).into_packet(meeting, Seq(1), Timestamp::UNIX_EPOCH)
}

fn publish(bytes: usize) -> Publish {
    let source = Name::new("audio").expect("a well-formed name");
    Publish::on(source, Payload::Bytes(Bytes::from(vec![7; bytes]))).participant("Ada")
}

fn bare_packet<P: From<Vec<u8>>>(bytes: usize) -> BarePacket<P> {
    BarePacket {
        meeting: "bench".to_owned(),
        seq: 1,
        source: "audio".to_owned(),
        timestamp: (0, 0),
        received_at: (0, 0),
        participant: Some("Ada".to_owned()),
        payload: BarePayload::Bytes(vec![7; bytes].into()),
        producer: None,
        causes: Vec::new(),
        trace: None,
    }
}

fn bare_publish<P: From<Vec<u8>>>(bytes: usize) -> BarePublish<P> {
    BarePublish {
        source: "audio".to_owned(),
        timestamp: None,
        participant: Some("Ada".to_owned()),
        payload: BarePayload::Bytes(vec![7; bytes].into()),
        producer: None,
        trace: None,
    }
}

/// Nanoseconds a call.
fn time<T>(times: u32, mut work: impl FnMut() -> T) -> f64 {
    let began = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

/// What is done with a value.
const STEPS: [&str; 3] = ["encode", "decode", "both"];

/// Nanoseconds of each of [`STEPS`].
type Times = [f64; STEPS.len()];

fn ours<T: Wire>(value: &T, times: u32) -> Times {
    let bytes = encode(value).expect("it has a form on the wire");
    [
        time(times, || encode(black_box(value))),
        time(times, || decode::<T>(black_box(&bytes))),
        time(times, || decode::<T>(&encode(black_box(value)).expect("it has a form on the wire"))),
    ]
}

fn bare<T: Serialize + DeserializeOwned>(value: &T, times: u32) -> Times {
    let encode = |value: &T| encode_to_vec(value, CONFIG).expect("it has a form in bincode");
    let bytes = encode(value);
    [
        time(times, || encode(black_box(value))),
        time(times, || decode_from_slice::<T, _>(black_box(&bytes), CONFIG)),
        time(times, || decode_from_slice::<T, _>(&encode(black_box(value)), CONFIG)),
    ]
}

/// The sides of a comparison, each of which is measured once a round.
type Sides<'a> = [&'a dyn Fn() -> Times; 3];

fn compare(what: &str, rounds: usize, sides: Sides<'_>, table: &mut Table) {
    let mut measured = [const { Vec::<Times>::new() }; 3];
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let times = sides[at]();
            // The first round warms up.
            if round > 0 {
                measured[at].push(times);
            }
        }
    }
    for (step, name) in STEPS.iter().enumerate() {
        let of = |side: usize| measured[side].iter().map(|times| times[step]).collect::<Vec<f64>>();
        let [ours, with_vec, with_bytes] = [of(0), of(1), of(2)];
        let ratio = |peer: &[f64]| format!("{:.2}", of_rounds(&ours, peer, |ours, peer| ours / peer));
        let (to_vec, to_bytes) = (ratio(&with_vec), ratio(&with_bytes));
        let ns = |values: Vec<f64>| format!("{:.0}", median(values));
        table.add_row([format!("{what}, {name}"), ns(ours), ns(with_vec), to_vec, ns(with_bytes), to_bytes]);
    }
}

fn main() {
    let mut rounds = 9;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                rounds = number.expect("--rounds takes a number");
            }
            // Cargo passes it.
            "--bench" => {}
            other => panic!("{other} is no option"),
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "ours, ns", "bincode with Vec<u8>, ns", "÷ it", "bincode with Bytes, ns", "÷ it"]);
    for (bytes, times) in [(256, 100_000), (16 * 1024, 20_000)] {
        let (packet, publish) = (packet(bytes), publish(bytes));
        let packets = (bare_packet::<Vec<u8>>(bytes), bare_packet::<Bytes>(bytes));
        let publishes = (bare_publish::<Vec<u8>>(bytes), bare_publish::<Bytes>(bytes));
        compare(
            &format!("packet of {bytes} B"),
            rounds,
            [&|| ours(&packet, times), &|| bare(&packets.0, times), &|| bare(&packets.1, times)],
            &mut table,
        );
        compare(
            &format!("publish of {bytes} B"),
            rounds,
            [&|| ours(&publish, times), &|| bare(&publishes.0, times), &|| bare(&publishes.1, times)],
            &mut table,
        );
    }
    println!("{table}");
}
