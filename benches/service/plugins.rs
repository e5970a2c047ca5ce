//! The plugins of a meeting: two of the repository's, and three that stand for what backends write themselves.
//!
//! | instance | takes | puts out |
//! |---|---|---|
//! | `watch-list` | transcriptions | each that mentions a term, which all of the bench's do |
//! | `talk-time` | transcriptions | a table after each 20th |
//! | `captions`, `notes` | transcriptions | each as a line of text |
//! | `level` | audio, and keeps the loudest sample as its state | nothing |
//! | `speech` | audio, and keeps whether somebody speaks as its state | when somebody begins or stops |
//! | `level-stored`, `speech-stored` | the same, and also count frames in their states, so that each frame has effects | the same |
//!
//! `level` and `speech` count in their scratch, as `transcriber` keeps the sound that it has heard: what changes with each frame and
//! can be lost is no state.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use teammy_kernel::{Cx, Error, Factory, Hooks, InCallPlugin, Json, Receive, StartupCx, data::Transcription};

/// The instances of a meeting. As of the repository's five plugins, one of them takes audio.
pub const FIVE: [&str; 5] = ["captions", "notes", "speech", "talk-time", "watch-list"];

/// Five of which two take audio.
const TWO_AUDIO: [&str; 5] = ["captions", "level", "speech", "talk-time", "watch-list"];

/// Five of which two take audio, and change their state with each frame.
const STORING: [&str; 5] = ["captions", "level-stored", "speech-stored", "talk-time", "watch-list"];

/// All instances that are configured, and their kinds.
pub const ALL: [(&str, &str); 8] = [
    ("captions", "captions"),
    ("level", "level"),
    ("level-stored", "level-stored"),
    ("notes", "captions"),
    ("speech", "speech"),
    ("speech-stored", "speech-stored"),
    ("talk-time", "talk-time"),
    ("watch-list", "watch-list"),
];

/// Which instances a meeting has. With any it has transcriptions, and a reader of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plugins {
    None,
    Five,
    TwoAudio,
    Storing,
}

impl Plugins {
    pub fn are_any(self) -> bool {
        self != Self::None
    }

    pub fn instances(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Five => &FIVE,
            Self::TwoAudio => &TWO_AUDIO,
            Self::Storing => &STORING,
        }
    }
}

/// The instance whose outputs are timed.
pub const TIMED: &str = "watch-list";

/// The mean of the samples' sizes above which somebody speaks.
const SPEECH: u64 = 500;

/// The bench's own plugins.
pub fn own() -> [Factory; 5] {
    [
        Factory::of::<Captions>("captions"),
        Factory::of::<Level<false>>("level"),
        Factory::of::<Level<true>>("level-stored"),
        Factory::of::<Speech<false>>("speech"),
        Factory::of::<Speech<true>>("speech-stored"),
    ]
}

fn samples(sound: &[u8]) -> impl ExactSizeIterator<Item = u64> {
    sound.as_chunks::<2>().0.iter().map(|sample| u64::from(i16::from_le_bytes(*sample).unsigned_abs()))
}

pub struct Level<const STORED: bool>;

impl<const STORED: bool> InCallPlugin for Level<STORED> {
    type Config = ();
    /// The loudest sample, and frames.
    type State = (u64, u64);
    /// Frames.
    type Scratch = u64;
    type Output = Bytes;
    const KIND: &'static str = if STORED { "level-stored" } else { "level" };
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl<const STORED: bool> Receive<Bytes> for Level<STORED> {
    async fn receive(&self, sound: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        let loudest = samples(&sound).max().unwrap_or_default();
        if STORED {
            cx.state_mut().1 += 1;
        } else {
            *cx.scratch_mut() += 1;
        }
        if loudest > cx.state().0 {
            cx.state_mut().0 = loudest;
        }
        Ok(None)
    }
}

pub struct Speech<const STORED: bool>;

/// Somebody begins or stops to speak.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Speaking {
    speaks: bool,
}

impl<const STORED: bool> InCallPlugin for Speech<STORED> {
    type Config = ();
    /// Whether somebody speaks, and frames.
    type State = (bool, u64);
    /// Frames.
    type Scratch = u64;
    type Output = Json<Speaking>;
    const KIND: &'static str = if STORED { "speech-stored" } else { "speech" };
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl<const STORED: bool> Receive<Bytes> for Speech<STORED> {
    async fn receive(&self, sound: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Speaking>>, Error> {
        let samples = samples(&sound);
        let count = samples.len().max(1) as u64;
        let speaks = samples.sum::<u64>() / count > SPEECH;
        if STORED {
            cx.state_mut().1 += 1;
        } else {
            *cx.scratch_mut() += 1;
        }
        if cx.state().0 == speaks {
            return Ok(None);
        }
        cx.state_mut().0 = speaks;
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
