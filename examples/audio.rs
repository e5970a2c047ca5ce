//! Publishes audio in real time and transcriptions in bulk, and goes on reading where it stopped:
//! `cargo run --example audio`. `docs/embedding.md` explains it.

use std::{error::Error, time::Duration};

use futures::TryStreamExt;
use teammy::{
    Batch, Cx, Factory, Hooks, InCallPlugin, Json, MeetingId, MeetingMetadata, MeetingRef, Node, Publish,
    PublishError, Receive, Seq, StartupCx,
    config::Config,
    data::{AudioFrame, Transcription},
    plugin,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Of a microphone: 16 kHz, mono, 20 ms a frame, which is 640 bytes 50 times a second.
const SAMPLE_RATE: u32 = 16_000;
const FRAME: Duration = Duration::from_millis(20);

/// Puts out the loudest sample, each time that one is louder than all before it.
struct Loudness;

impl InCallPlugin for Loudness {
    type Config = ();
    type State = u16;
    type Scratch = ();
    type Output = Json<u16>;
    const KIND: &'static str = "loudness";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        // Frames that have queued up meanwhile come together, up to a second of them.
        hooks.on_batch::<AudioFrame>("audio", 50)
    }
}

impl Receive<Batch<AudioFrame>> for Loudness {
    async fn receive(
        &self,
        frames: Batch<AudioFrame>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<u16>>, plugin::Error> {
        let samples = frames.iter().flat_map(|frame| frame.samples.chunks_exact(2));
        let loudness = samples.map(|sample| i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs());
        let loudest = loudness.max().unwrap_or(0);
        // A state that is not touched is not stored again.
        if loudest <= *cx.state() {
            return Ok(None);
        }
        *cx.state_mut() = loudest;
        Ok(Some(Json(loudest)))
    }
}

/// Publishes a frame as it comes from a microphone. Returns whether the meeting took it: a frame that would have
/// to wait is of no use any more.
async fn publish_frame(meeting: &MeetingRef, who: &str, samples: Vec<u8>) -> Result<bool, BoxError> {
    let frame = AudioFrame { sample_rate: SAMPLE_RATE, channels: 1, samples: samples.into() };
    match meeting.try_publish(Publish::audio(frame).participant(who)).await {
        Ok(_) => Ok(true),
        Err(PublishError::Busy(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Publishes what a recogniser has found, and waits until all of it is stored. After a crash it can be called
/// again with the same texts: the meeting takes each number once.
async fn publish_texts(meeting: &MeetingRef, who: &str, texts: &[&str]) -> Result<Seq, BoxError> {
    let mut packets = Vec::new();
    for (number, text) in (1..).zip(texts) {
        let said = Publish::json("transcription", &Transcription::new(*text, 0, 0))?;
        packets.push(said.participant(who).numbered("recogniser", number));
    }
    let receipts = meeting.publish_all(packets).await?;
    receipts.durable().await?;
    Ok(receipts.seqs().last().unwrap_or(Seq::ZERO))
}

/// Reads the outputs after the one that was read last, and returns the last one's seq. A backend keeps it, for
/// example in its own database, together with what it made of the outputs.
async fn read_on(meeting: &MeetingRef, last: Seq, most: usize) -> Result<Seq, BoxError> {
    let mut outputs = meeting.outputs_after(last);
    let mut last = last;
    for _ in 0..most {
        let Some(output) = outputs.try_next().await? else { break };
        println!("{} made {:?} of {:?}", output.source, output.payload, output.causes);
        last = output.seq;
    }
    Ok(last)
}

/// A tone of this loudness, for the length of a frame.
fn tone(loudness: i16) -> Vec<u8> {
    let samples = usize::try_from(SAMPLE_RATE).unwrap_or_default() * 20 / 1000;
    (0..samples).flat_map(|n| (if n % 32 < 16 { loudness } else { -loudness }).to_le_bytes()).collect()
}

/// Publishes 60 ms of audio, which become louder, and two transcriptions. Returns the last output's seq.
///
/// # Errors
/// The first error.
pub async fn run(config: Config) -> Result<Seq, BoxError> {
    let node = Node::builder(config).plugin(Factory::of::<Loudness>("loudness")).start().await?;
    let meeting = node.start_meeting(MeetingMetadata::new(MeetingId::new("studio")?), ["loudness"]).await?;
    let mut clock = tokio::time::interval(FRAME);
    let mut last = Seq::ZERO;
    for loudness in [1_000, 4_000, 16_000] {
        clock.tick().await;
        if publish_frame(&meeting, "Ada", tone(loudness)).await? {
            last = read_on(&meeting, last, 1).await?;
        }
    }
    let stored = publish_texts(&meeting, "Ada", &["Is this on?", "It is."]).await?;
    // Everything after the audio: the transcriptions, and what the runtime says of the meeting.
    let everything = meeting.packets_after(last);
    meeting.end().await?;
    let sources: Vec<_> = everything.map_ok(|packet| packet.source.to_string()).try_collect().await?;
    println!("after {last}: {sources:?}; stored up to {stored} before the end");
    node.shutdown(Duration::from_secs(30)).await?;
    Ok(last)
}

/// Runs the example in memory.
#[tokio::main]
pub async fn main() -> Result<(), teammy::Report> {
    run(Config::from_toml(r#"database.url = "mem://""#)?).await?;
    Ok(())
}
