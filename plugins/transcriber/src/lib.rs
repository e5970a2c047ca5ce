//! Turns sound into text: what each participant says, with the times.
//!
//! The plugin takes `audio`, cuts each participant's sound where somebody stops to speak, and asks the model
//! that `llm.transcription` names for the text. It puts out what the source `transcription` carries, and each
//! packet names who spoke. So any plugin that takes `transcription` can take its output instead:
//!
//! ```toml
//! [[plugin]]
//! name = "transcriber"
//! config = { language = "en", hint = "Teammy, SurrealDB" }
//!
//! [[plugin]]
//! name = "minutes"
//! sources = { transcription = "transcriber" }
//! ```
//!
//! ```json
//! {"text":"Shall we move the release?","start_ms":61200,"end_ms":62900,"is_final":true,"language":"en"}
//! ```
//!
//! # How sound is cut
//! A segment begins a fifth of a second before somebody speaks, and ends when nobody spoke for
//! [`silence_ms`](Config::silence_ms); silence is not sent. One that grows longer than
//! [`max_seconds`](Config::max_seconds) is cut where it is quietest near its end. Less than
//! [`min_speech_ms`](Config::min_speech_ms) of speech is dropped, and said in the log at level DEBUG.
//!
//! A participant who sends no frames for `silence_ms`, because the microphone is off, has stopped to speak,
//! too: the text comes within about a second of the last frame, by the meeting's clock, and the time that the
//! model takes. That clock may be ahead of a participant's, because frames come late, or because a packet is
//! misdated, by however much. No sound is lost then. Where a packet carries the clock ahead while somebody
//! speaks, a segment may be cut in two, or in a few if it is by hours. Less speech than `min_speech_ms`
//! before the microphone is off waits for the next frame, for ten seconds of others' frames, or for the end:
//! it may be the beginning of more, or the rest of a segment that was cut. The module `silence` in the source
//! explains the rule.
//!
//! Speech is found by [earshot](https://docs.rs/earshot): a small neural network in Rust alone, maintained,
//! without dependencies, and by its authors' figures more accurate than Silero's network, whose crate
//! `voice_activity_detector` needs the ONNX runtime; `webrtc-vad` compiles C, has had no release for years,
//! and tells noise from speech less well. Sound at other rates than 16 kHz is converted by
//! [rubato](https://docs.rs/rubato), without its Fourier transforms, which would bring more crates and no
//! better speech. Each of the two takes about 0.3 ms of a processor's time for a second of sound.
//!
//! # Frames
//! Frames may have any rate from 4 to 192 kHz and any number of channels, whose mean is taken; both may
//! change in a meeting. Frames that name no participant are one speaker. The times come from the frames'
//! timestamps:
//!
//! * A frame that comes up to 150 ms early or late follows the one before it, as clocks jitter.
//! * A longer gap while somebody speaks is filled with silence. A gap of `silence_ms` ends the segment.
//! * A frame that is dated further back begins a new segment. No sound is lost, whatever its time.
//!
//! `start_ms` and `end_ms` are counted from the meeting's `started_at`, or from the time at which it was
//! started here. A model that says the times of parts gives a packet for each part, otherwise a segment is
//! one packet. A text that is empty is dropped: models hear such things in noise.
//!
//! # Several at once
//! All segments that end in one hook are asked for at once, and what they give is put out in the order of its
//! times. Meanwhile frames queue up, and the next hook takes up to [`MAX_FRAMES`] of them. So a model keeps
//! pace if it answers within the time of so many frames: with frames of 20 ms, 40 s of one participant, and
//! 4 s of ten who all send. If it is slower, the meeting drops the oldest frames (`delivery.tail_bytes`),
//! unless you configure `delivery = { audio = "block" }`. Dropped frames are counted in the state (`lost`).
//!
//! # Memory
//! Sound is in memory only: 32 kB for each second of a segment that has no text yet, and some 30 kB for each
//! participant who has sent frames in the last ten seconds in which others did. Sound of [`MAX_BYTES`] in all
//! makes the plugin ask at once instead of waiting for a silence, so nothing is dropped. It follows
//! [`MAX_SPEAKERS`] participants at a time. Sound that has no text yet is lost with a restart of the node or
//! the instance, and with a takeover: frames are not stored. What was put out is stored as ever.
//!
//! # When the model fails
//! * **A temporary failure**: the hook fails, and the runtime tries it again; only what has no text yet is
//!   sent once more. At the last try (`hooks.tries`) the segment is left out.
//! * **A refusal, a used-up budget, a wrong configuration**, such as no model for transcription: the segment
//!   is left out at once. The next one is tried as ever.
//! * What is left out is counted in the state (`left_out`), and a warning is logged for the first of a
//!   meeting. Frames without a channel, or with a rate out of range, are counted too (`unreadable`).
//!
//! # Privacy
//! No text gets into the log, and no sound is stored.

mod config;
mod hearing;
mod segments;
mod silence;
mod sound;
mod speaker;
mod state;
mod transcript;

use std::sync::Arc;

use jiff::Timestamp;
use teammy_kernel::{
    Audio, Batch, Cx, DataPacket, Error, History, Hooks, InCallPlugin, Json, LlmError, Receive, Seq,
    StartupCx, Wake,
    data::{AudioFrame, Transcription},
};
use tracing::{debug, warn};

pub use config::Config;
pub use hearing::{Hearing, MAX_BYTES, MAX_SPEAKERS};
pub use state::State;

use hearing::Said;
use segments::Limits;
use transcript::Part;

/// The most frames that one hook takes.
pub const MAX_FRAMES: usize = 2_000;

/// The most segments that are asked for at once: each takes a copy of its sound.
const AT_ONCE: usize = 64;

/// How much is kept before and after speech, in milliseconds.
const PADDING_MS: u32 = 200;

/// After so many bytes of frames others may run.
const SLICE: usize = 1 << 20;

/// The most packets that a hook may put out.
const MAX_OUTPUTS: usize = 1_000;

/// The most bytes of texts in one hook: their JSON stays far below the 4 MiB that a hook may put out.
const MAX_TEXT: usize = 1 << 20;

/// The key of the wake that ends the segments of those who send nothing more.
const SILENCE: &str = "silence";

/// The plugin: its configuration, and what follows from it.
#[derive(Debug)]
pub struct Transcriber {
    config: Config,
    limits: Limits,
}

impl InCallPlugin for Transcriber {
    type Config = Config;
    type State = State;
    type Scratch = Hearing;
    type Output = Json<Transcription>;
    const KIND: &'static str = "transcriber";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NEEDS_LLM: bool = true;

    async fn on_startup(config: Config, _: &StartupCx) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { limits: limits(&config), config })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on_batch::<AudioFrame>("audio", MAX_FRAMES).on_wake()
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Transcription>>, Error> {
        cx.scratch_mut().end_all();
        self.ask(cx).await?;
        self.put_out(cx).await?;
        if cx.scratch().wake.is_some() {
            cx.cancel(SILENCE)?;
        }
        Ok(None)
    }
}

impl Receive<Batch<AudioFrame>> for Transcriber {
    async fn receive(
        &self,
        frames: Batch<AudioFrame>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Transcription>>, Error> {
        let packets: Vec<Arc<DataPacket>> = cx.packets().to_vec();
        let mut bytes = 0;
        for (packet, frame) in packets.iter().zip(frames) {
            cx.scratch_mut().hear(self.limits, packet, &frame);
            while cx.scratch_mut().is_full() {
                if !cx.scratch_mut().is_waiting() {
                    cx.scratch_mut().end_longest();
                }
                self.ask(cx).await?;
            }
            bytes += frame.samples.len();
            if bytes >= SLICE {
                bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        cx.scratch_mut().cut_silent_among_others(self.limits);
        self.ask(cx).await?;
        self.put_out(cx).await?;
        cx.scratch_mut().set_margins(self.limits);
        self.wake_when_silent(cx)?;
        Ok(None)
    }
}

impl Receive<Wake> for Transcriber {
    async fn receive(&self, wake: Wake, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Transcription>>, Error> {
        cx.scratch_mut().wake = None;
        cx.scratch_mut().woken(self.limits, wake.at);
        self.ask(cx).await?;
        self.put_out(cx).await?;
        self.wake_when_silent(cx)?;
        Ok(None)
    }
}

impl Transcriber {
    /// Asks the model for the text of all segments that have ended, many at once. If it fails, the next try
    /// asks for those that have none.
    async fn ask(&self, cx: &mut Cx<'_, Self>) -> Result<(), Error> {
        loop {
            let waiting = cx.scratch_mut().waiting(AT_ONCE);
            if waiting.is_empty() {
                return Ok(());
            }
            let llm = cx.engine().llm().clone();
            let (indexes, sounds): (Vec<usize>, Vec<Audio>) = waiting.into_iter().unzip();
            let requests = sounds.into_iter().map(|sound| {
                let mut request = llm.transcribe(sound).purpose("transcription");
                if let Some(language) = &self.config.language {
                    request = request.language(language);
                }
                if let Some(hint) = &self.config.hint {
                    request = request.hint(hint);
                }
                request.transcript()
            });
            let answers = futures::future::join_all(requests).await;
            let is_last = cx.is_last_attempt();
            let mut failure = None;
            for (index, answer) in indexes.into_iter().zip(answers) {
                match answer {
                    Ok(transcript) => cx.scratch_mut().answer(index, &transcript),
                    Err(error @ LlmError::Failed(_)) if !is_last => failure = Some(error),
                    Err(error) => cx.scratch_mut().leave_out(index, &error),
                }
            }
            if let Some(failure) = failure {
                return Err(Error::retry(failure));
            }
        }
    }

    /// Asks to be woken when those who speak will have been silent for long enough. Nothing of the hook may
    /// fail after it: what a failed hook asked for is not committed, and the scratch would still say that it
    /// was asked for.
    fn wake_when_silent(&self, cx: &mut Cx<'_, Self>) -> Result<(), Error> {
        let now = cx.packet().timestamp;
        let Some(due) = cx.scratch().due(self.limits) else { return Ok(()) };
        // A wake that is asked for already is early enough, as whoever goes on to speak makes it later. One
        // whose time has passed was not committed.
        if cx.scratch().wake.is_some_and(|wake| wake <= due && wake > now) {
            return Ok(());
        }
        cx.wake_at(due, SILENCE)?;
        cx.scratch_mut().wake = Some(due);
        Ok(())
    }

    /// Puts out what has a text, and adds up what has none. Speech that was too short is no loss, and is said
    /// to those who debug alone.
    async fn put_out(&self, cx: &mut Cx<'_, Self>) -> Result<(), Error> {
        let began = if cx.scratch_mut().has_answers() { Some(began(cx).await?) } else { None };
        let too_short = cx.scratch_mut().take_too_short();
        if too_short > 0 {
            let (meeting, instance) = (&cx.meeting().id, cx.instance());
            debug!(%meeting, %instance, too_short, "speech is dropped: it is shorter than `min_speech_ms`");
        }
        let (mut counts, problem) = cx.scratch_mut().take_counts();
        counts.lost = cx.gap();
        if let Some(began) = began {
            let said = cx.scratch_mut().take_answers();
            for (by, transcription) in self.transcriptions(said, began, &mut counts.left_out) {
                cx.emit_by(by, Json(transcription));
            }
        } else {
            cx.scratch_mut().take_answers();
        }
        if counts != State::default() {
            warn_once(cx, counts, problem.as_deref());
            cx.state_mut().add(counts);
        }
        Ok(())
    }

    /// What was said, as packets: a packet for each part, or for each segment if there would be too many.
    /// What is more than a hook may put out is left out.
    fn transcriptions(
        &self,
        said: Vec<Said>,
        began: Timestamp,
        left_out: &mut u64,
    ) -> Vec<(Option<Arc<str>>, Transcription)> {
        let are_too_many = said.iter().map(|said| said.parts.len()).sum::<usize>() > MAX_OUTPUTS;
        let mut transcriptions = Vec::new();
        let mut text = 0;
        for mut said in said {
            if are_too_many {
                said.parts = transcript::joined(&said.parts).into_iter().collect();
            }
            text += said.parts.iter().map(|part| part.text.len()).sum::<usize>();
            if transcriptions.len() + said.parts.len() > MAX_OUTPUTS || text > MAX_TEXT {
                *left_out += 1;
                continue;
            }
            let language = self.config.language.as_ref().or(said.language.as_ref());
            let transcription = |Part { start, end, text }: Part| {
                let ms = |time: std::time::Duration| {
                    let since = said.start.duration_since(began).as_millis();
                    let time = i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
                    u64::try_from(since.saturating_add(time).max(0)).unwrap_or(u64::MAX)
                };
                let mut transcription = Transcription::new(text, ms(start), ms(end));
                transcription.language = language.cloned();
                (said.by.clone(), transcription)
            };
            transcriptions.extend(said.parts.into_iter().map(transcription));
        }
        transcriptions
    }
}

/// When the meeting began: as its metadata says, or else its first packet, which is its start.
async fn began(cx: &mut Cx<'_, Transcriber>) -> Result<Timestamp, Error> {
    if let Some(began) = cx.meeting().started_at.or(cx.scratch_mut().began) {
        return Ok(began);
    }
    let datastore = cx.engine().datastore().clone();
    let first = datastore.stream_history(History::all().seqs(Seq(1), Seq(1))).await?;
    let began = first.first().map_or(cx.packet().timestamp, |packet| packet.timestamp);
    cx.scratch_mut().began = Some(began);
    Ok(began)
}

/// How sound is cut, in windows of 16 ms.
fn limits(config: &Config) -> Limits {
    let windows =
        |ms: u32| usize::try_from(ms.div_ceil(16)).expect("invariant: the configuration is in range");
    let silence = windows(config.silence_ms);
    Limits {
        silence,
        padding: windows(PADDING_MS).min(silence / 2),
        longest: usize::try_from(config.max_seconds * 1_000 / 16)
            .expect("invariant: the configuration is in range"),
        speech: windows(config.min_speech_ms),
    }
}

/// Warns of each kind of loss once a meeting, and says the rest to those who debug.
fn warn_once(cx: &Cx<'_, Transcriber>, new: State, problem: Option<&str>) {
    let (meeting, instance, before) = (&cx.meeting().id, cx.instance(), cx.state());
    let State { left_out, lost, unreadable } = new;
    if left_out > 0 && before.left_out == 0 {
        let error = problem.unwrap_or("there is more text than one hook may put out");
        warn!(%meeting, %instance, error, "speech is left out: it has no text; said once a meeting");
    }
    if unreadable > 0 && before.unreadable == 0 {
        warn!(%meeting, %instance, "frames without a channel or a rate are left out; said once a meeting");
    }
    debug!(%meeting, %instance, left_out, lost, unreadable, problem, "sound is left out");
}

#[cfg(test)]
mod tests;
