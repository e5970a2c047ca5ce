//! The test kit: packets through a plugin in a few lines, without a node, a store or a file.
//!
//! [`PluginTest`] takes the meeting's part. It runs hooks through the same code as the runtime does, with the
//! same rules: a hook that fails changes nothing, a state is read back from its JSON before the next hook
//! sees it, writes are kept with the hook that made them, and an output becomes a packet that names its
//! causes.
//!
//! A language model is a [`ScriptedLlm`], which follows the test's script, or a [`Cassette`], which repeats
//! what a real model has answered.
//!
//! Use the kit under `#[tokio::test(start_paused = true)]`. Time then passes only in [`PluginTest::advance`]
//! and in the delays of a [`ScriptedLlm`], without waiting and with the same result each time.
//!
//! # Examples
//! ```
//! use teammy_kernel::testing::{self, PluginTest, ScriptedLlm};
//! use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, StartupCx, Json, LlmMessage, Publish, Receive, data::Chat};
//!
//! /// Answers questions in the chat.
//! struct Helper;
//!
//! impl InCallPlugin for Helper {
//!     type Config = ();
//!     type State = u64;
//!     type Scratch = ();
//!     type Output = Json<Chat>;
//!     const KIND: &'static str = "helper";
//!     const VERSION: &'static str = "1.0.0";
//!     async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!     fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
//!         hooks.on::<Json<Chat>>("chat")
//!     }
//! }
//!
//! impl Receive<Json<Chat>> for Helper {
//!     async fn receive(
//!         &self,
//!         Json(chat): Json<Chat>,
//!         cx: &mut Cx<'_, Self>,
//!     ) -> Result<Option<Json<Chat>>, Error> {
//!         if !chat.text.ends_with('?') {
//!             return Ok(None);
//!         }
//!         *cx.state_mut() += 1;
//!         let answer = cx.engine().llm().prompt([LlmMessage::user(chat.text)], 0.0).await?;
//!         Ok(Some(Json(Chat::new(answer))))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Error> {
//! let llm = ScriptedLlm::default().fail("overloaded").reply("At nine.");
//! let mut meeting = PluginTest::<Helper>::builder().llm(llm.clone()).start().await?;
//!
//! let asked = Publish::json("chat", &Chat::new("When do we meet?"))?.participant("Ada");
//! assert!(meeting.receive(asked).await.is_err());
//! assert_eq!(meeting.state(), 0, "a hook that fails changes nothing");
//!
//! let outputs = meeting.retry().await?;
//! assert_eq!(testing::json::<Chat>(&outputs[0]).text, "At nine.");
//! assert_eq!(meeting.state(), 1);
//! assert_eq!(llm.requests().len(), 2);
//! # Ok(())
//! # }
//! ```

mod cassette;
mod clock;
mod cost;
mod crash;
mod log;
mod meeting;
mod memory;
mod script;

use serde::de::DeserializeOwned;

pub use cassette::{Cassette, CassetteError};
pub use cost::StoreCost;
pub use crash::crash_everywhere;
pub use log::{Fields, Logged};
pub use meeting::{Builder, PluginTest, RejectedPacket};
pub use script::ScriptedLlm;

use crate::{DataPacket, Payload};

/// Reads a packet's text payload.
///
/// # Panics
/// If the packet carries something else.
#[track_caller]
pub fn text(packet: &DataPacket) -> &str {
    match &packet.payload {
        Payload::Text(text) => text,
        other => panic!("packet {} of {} carries {}, not text", packet.seq, packet.source, other.form()),
    }
}

/// Reads a packet's JSON payload.
///
/// # Panics
/// If the packet carries something else, or JSON of another type.
#[track_caller]
pub fn json<T: DeserializeOwned>(packet: &DataPacket) -> T {
    match &packet.payload {
        Payload::Json(text) => match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => panic!(
                "packet {} of {} is not a {}: {error}; it carries {text}",
                packet.seq,
                packet.source,
                std::any::type_name::<T>()
            ),
        },
        other => panic!("packet {} of {} carries {}, not JSON", packet.seq, packet.source, other.form()),
    }
}

#[cfg(test)]
mod tests;
