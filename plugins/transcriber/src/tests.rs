//! The plugin in a meeting, with speech in the data folder and a model that answers with what it got.

mod clocks;
mod failures;
mod hearing;
mod model;
mod scenario;

use std::{fs, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use teammy_kernel::{
    DataPacket, MeetingId, MeetingMetadata, Publish,
    data::{AudioFrame, Transcription},
    testing::{self, PluginTest},
};

use super::*;
use model::FakeModel;

/// When the meetings of the tests begin.
const BEGAN: Timestamp = Timestamp::constant(1_767_603_600, 0);

fn at(ms: i64) -> Timestamp {
    BEGAN + SignedDuration::from_millis(ms)
}

/// The speech of a file, at 16 kHz.
fn speech(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let wav = hound::WavReader::new(fs::File::open(path).unwrap()).unwrap();
    assert_eq!((wav.spec().sample_rate, wav.spec().channels), (16_000, 1));
    wav.into_samples().map(Result::unwrap).collect()
}

/// A participant's microphone.
#[derive(Debug, Clone, Copy)]
struct Microphone {
    name: &'static str,
    rate: u32,
    channels: u16,
}

const ADA: Microphone = Microphone { name: "Ada", rate: 16_000, channels: 1 };
const BO: Microphone = Microphone { name: "Bo", rate: 48_000, channels: 2 };

impl Microphone {
    /// Frames of 20 ms from a time on, in which the sounds are heard from their times on.
    fn frames(self, from: i64, to: i64, sounds: &[(i64, &[i16])]) -> Vec<Publish> {
        let times = (from..to).step_by(20);
        let frame = |from: i64| {
            let sample = |n: i64| {
                // In quarters of a sample at 16 kHz, so that 48 kHz are whole numbers of them and lie on a
                // line between.
                let rate = f64::from(self.rate);
                #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
                let seconds = from as f64 / 1_000.0 + n as f64 / rate;
                let of = |(begins, samples): &(i64, &[i16])| {
                    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
                    let position = (seconds - *begins as f64 / 1_000.0) * 16_000.0;
                    between(samples, position)
                };
                sounds.iter().map(of).sum::<f64>()
            };
            let count = i64::from(self.rate) / 50;
            #[expect(clippy::cast_possible_truncation, reason = "the sounds do not overlap")]
            let samples = (0..count).map(|n| sample(n).round() as i16);
            let samples = samples.flat_map(|sample| vec![sample; usize::from(self.channels)]);
            let samples: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
            let frame =
                AudioFrame { sample_rate: self.rate, channels: self.channels, samples: samples.into() };
            Publish::audio(frame).participant(self.name).timestamp(at(from))
        };
        times.map(frame).collect()
    }
}

/// The value between two samples, on the line between them; 0 outside of them.
fn between(samples: &[i16], position: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "the numbers are small")]
    let before = position.floor() as i64;
    let sample = |index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| samples.get(index))
            .map_or(0.0, |sample| f64::from(*sample))
    };
    let share = position - position.floor();
    sample(before) * (1.0 - share) + sample(before + 1) * share
}

/// All frames in the order of their times.
fn mixed(frames: impl IntoIterator<Item = Vec<Publish>>) -> Vec<Publish> {
    let mut all: Vec<Publish> = frames.into_iter().flatten().collect();
    all.sort_by_key(|frame| frame.timestamp);
    all
}

/// How long samples at 16 kHz are, in milliseconds.
fn ms(samples: &[i16]) -> i64 {
    i64::try_from(samples.len() / 16).unwrap()
}

async fn meeting(model: &FakeModel) -> PluginTest<Transcriber> {
    let builder = PluginTest::builder().llm(model.clone());
    builder
        .meeting(MeetingMetadata::new(MeetingId::new("m").unwrap()).started_at(BEGAN))
        .start()
        .await
        .unwrap()
}

/// Publishes frames as a plugin gets them that keeps pace: a few at a time.
async fn play(meeting: &mut PluginTest<Transcriber>, frames: Vec<Publish>) {
    let mut frames = frames.into_iter().peekable();
    while frames.peek().is_some() {
        meeting.receive_batch(frames.by_ref().take(5)).await.unwrap();
    }
}

/// Who said what from when to when, in milliseconds from the meeting's start.
fn said(outputs: &[Arc<DataPacket>]) -> Vec<(String, u64, u64, String)> {
    let said = |packet: &Arc<DataPacket>| {
        let said: Transcription = testing::json(packet);
        assert!(said.is_final);
        let by = packet.participant.as_deref().unwrap_or("nobody").to_owned();
        (by, said.start_ms, said.end_ms, said.text)
    };
    outputs.iter().map(said).collect()
}

#[track_caller]
fn assert_near(is: u64, should: i64, tolerance: i64) {
    let is = i64::try_from(is).unwrap();
    assert!((is - should).abs() <= tolerance, "{is} and {should}");
}

#[tokio::test]
async fn a_wrong_configuration_is_rejected() {
    let error = PluginTest::<Transcriber>::start_with(json!({"silence_ms": 20})).await.unwrap_err();
    assert_eq!(error.to_string(), "`silence_ms` is 20; choose 200 to 3000");
    let error = PluginTest::<Transcriber>::start_with(json!({"silence": 600})).await.unwrap_err();
    assert!(error.chain().contains("unknown field"), "{error}");
}

#[test]
fn limits_are_whole_windows() {
    let of = |silence_ms| limits(&Config { silence_ms, ..Config::default() });
    assert_eq!(of(600), Limits { silence: 38, padding: 13, longest: 1_250, speech: 16 });
    // The silence after one segment is not that before the next.
    assert_eq!((of(200).silence, of(200).padding), (13, 6));
}

/// Half a minute of tests is enough for the time that a paused clock has to pass.
const LONG: Duration = Duration::from_secs(30);
