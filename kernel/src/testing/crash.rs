//! Crashes at every place of a scenario.

use super::meeting::{Builder, Crash, PluginTest};
use crate::Error;

/// What a crash changed.
#[derive(Debug, thiserror::Error)]
#[error(
    "a crash {when} call {call} of the scenario changes {what}\nwithout it:\n{without}\nwith it:\n{with}"
)]
struct Difference {
    when: &'static str,
    call: usize,
    what: &'static str,
    without: String,
    with: String,
}

/// Runs a scenario again and again, with a crash at another place each time, and compares what comes of it: the
/// outputs, the last state, and the keys. At each call of a hook the plugin's process dies twice: before what the
/// hook made is stored, so that the hook runs again, and after it. The plugin starts anew each time, with what is
/// stored and without its scratch.
///
/// A plugin that keeps its memory in the state and in keys alone passes. One that keeps it in itself does not, nor one
/// whose hooks do not give the same when they run again. A [`ScriptedLlm`](super::ScriptedLlm) should answer by what
/// it is asked ([`when`](super::ScriptedLlm::when)), as a hook that runs again asks again.
///
/// Returns at how many places it crashed.
///
/// # Errors
/// The scenario's, or what a crash has changed.
///
/// # Examples
/// ```
/// # use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, Json, Publish, Receive, StartupCx, data::Chat};
/// # use teammy_kernel::testing::{PluginTest, crash_everywhere};
/// # struct Counter;
/// # impl InCallPlugin for Counter {
/// #     type Config = ();
/// #     type State = u64;
/// #     type Scratch = ();
/// #     type Output = Json<u64>;
/// #     const KIND: &'static str = "counter";
/// #     const VERSION: &'static str = "1.0.0";
/// #     async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
/// #         Ok(Self)
/// #     }
/// #     fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
/// #         hooks.on::<Json<Chat>>("chat")
/// #     }
/// # }
/// # impl Receive<Json<Chat>> for Counter {
/// #     async fn receive(&self, _: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<u64>>, Error> {
/// #         *cx.state_mut() += 1;
/// #         Ok(Some(Json(*cx.state())))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let crashes = crash_everywhere(PluginTest::<Counter>::builder, async |meeting| {
///     for text in ["one", "two"] {
///         meeting.receive(Publish::json("chat", &Chat::new(text))?).await?;
///     }
///     meeting.end().await?;
///     Ok(())
/// });
/// assert_eq!(crashes.await?, 8, "before and after the start, two packets, and the end");
/// # Ok(())
/// # }
/// ```
pub async fn crash_everywhere<P>(
    build: impl Fn() -> Builder<P>,
    scenario: impl AsyncFn(&mut PluginTest<P>) -> Result<(), Error>,
) -> Result<usize, Error> {
    let play = async |crash: Option<(usize, Crash)>| {
        let mut meeting = build().start_up().await?;
        if let Some((call, crash)) = crash {
            meeting.crash_at(call, crash);
        }
        meeting.start().await?;
        scenario(&mut meeting).await?;
        Ok::<_, Error>(meeting)
    };
    let undisturbed = play(None).await?;
    let mut places = 0;
    for call in 0..undisturbed.calls() {
        for (crash, when) in [(Crash::BeforeCommit, "before the commit of"), (Crash::AfterCommit, "after")] {
            let crashed = play(Some((call, crash))).await?;
            places += 1;
            for (what, of) in [
                ("the outputs", PluginTest::outputs_as_text as fn(&PluginTest<P>) -> String),
                ("the state", PluginTest::state_json),
                ("the keys", keys),
            ] {
                let (without, with) = (of(&undisturbed), of(&crashed));
                if without != with {
                    return Err(Error::reject(Difference { when, call: call + 1, what, without, with }));
                }
            }
        }
    }
    Ok(places)
}

fn keys<P>(meeting: &PluginTest<P>) -> String {
    let value =
        |key: String| format!("{key} = {}", meeting.value::<serde_json::Value>(&key).unwrap_or_default());
    meeting.keys().into_iter().map(value).collect::<Vec<_>>().join("\n")
}
