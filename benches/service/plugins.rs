//! The plugins of a meeting: two of the repository's, and three that stand for what backends write themselves.
//!
//! | instance | takes | puts out |
//! |---|---|---|
//! | `watch-list` | transcriptions | each that mentions a term, which all of the bench's do |
//! | `talk-time` | transcriptions | a table after each 20th |
//! | `captions` | transcriptions | each as a line of text |
//! | `level` | audio, and keeps the loudest sample as its state | nothing |
//! | `speech` | audio, and keeps whether somebody speaks as its state | when somebody begins or stops |

use bytes::Bytes;
use serde::Serialize;
use teammy_kernel::{Cx, Error, Factory, Hooks, InCallPlugin, Json, Receive, StartupCx, data::Transcription};

/// The instances of a meeting.
pub const ALL: [&str; 5] = ["captions", "level", "speech", "talk-time", "watch-list"];

/// The instance whose outputs are timed.
pub const TIMED: &str = "watch-list";

/// The mean of the samples' sizes above which somebody speaks.
const SPEECH: u64 = 500;

/// The bench's own plugins.
pub fn own() -> [Factory; 3] {
    [Factory::of::<Captions>("captions"), Factory::of::<Level>("level"), Factory::of::<Speech>("speech")]
}

fn samples(sound: &[u8]) -> impl ExactSizeIterator<Item = u64> {
    sound.as_chunks::<2>().0.iter().map(|sample| u64::from(i16::from_le_bytes(*sample).unsigned_abs()))
}

pub struct Level;

impl InCallPlugin for Level {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "level";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for Level {
    async fn receive(&self, sound: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        let loudest = samples(&sound).max().unwrap_or_default();
        let state = cx.state_mut();
        *state = loudest.max(*state);
        Ok(None)
    }
}

pub struct Speech;

/// Somebody begins or stops to speak.
#[derive(Debug, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Speaking {
    speaks: bool,
}

impl InCallPlugin for Speech {
    type Config = ();
    type State = (bool, u64);
    type Scratch = ();
    type Output = Json<Speaking>;
    const KIND: &'static str = "speech";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for Speech {
    async fn receive(&self, sound: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Speaking>>, Error> {
        let samples = samples(&sound);
        let count = samples.len().max(1) as u64;
        let speaks = samples.sum::<u64>() / count > SPEECH;
        let (before, frames) = cx.state_mut();
        *frames += 1;
        if std::mem::replace(before, speaks) == speaks {
            return Ok(None);
        }
        Ok(Some(Json(Speaking { speaks })))
    }
}

pub struct Captions;

impl InCallPlugin for Captions {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "captions";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription")
    }
}

impl Receive<Json<Transcription>> for Captions {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<String>, Error> {
        *cx.state_mut() += 1;
        let who = cx.packet().participant.as_deref().unwrap_or_default();
        Ok(Some(format!("{who}: {}", said.text)))
    }
}
