//! A plugin with a timer: `cargo run --example reminder`. Chat messages such as `remind 5 tea` ask for a reminder
//! in so many minutes, and `never mind tea` cancels it.

use std::time::Duration;

use futures::TryStreamExt;
use teammy::{
    Cx, Factory, Hooks, InCallPlugin, Json, MeetingId, MeetingMetadata, Node, Publish, Receive, StartupCx,
    Wake, config::Config, data::Chat, plugin::Error,
};

/// Reminds of things in the chat.
struct Reminder;

impl InCallPlugin for Reminder {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "reminder";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat").on_wake()
    }
}

impl Receive<Json<Chat>> for Reminder {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        match chat.0.text.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["remind", minutes, what] => {
                // People write anything: what is no number asks for nothing, and nothing here may overflow.
                let after =
                    minutes.parse().ok().map(Duration::from_secs).and_then(|after| after.checked_mul(60));
                if let Some(at) = after.and_then(|after| cx.packet().timestamp.checked_add(after).ok()) {
                    cx.wake_at(at, what)?;
                }
            }
            ["never", "mind", what] => cx.cancel(what)?,
            _ => {}
        }
        Ok(None)
    }
}

impl Receive<Wake> for Reminder {
    async fn receive(&self, wake: Wake, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(Some(format!("{}: time for {}", wake.at.strftime("%H:%M"), wake.key)))
    }
}

/// Plays a quarter of an hour of chat, and returns the reminders.
///
/// # Errors
/// Any of the node.
pub async fn run(config: Config) -> Result<Vec<String>, teammy::Report> {
    let node = Node::builder(config).plugin(Factory::of::<Reminder>("reminder")).start().await?;
    let start: teammy::Timestamp = "2026-01-05T09:00:00Z".parse()?;
    let metadata = MeetingMetadata::new(MeetingId::new("demo")?).started_at(start);
    let meeting = node.start_meeting(metadata, ["reminder"]).await?;
    // The chat alone moves the meeting's clock.
    meeting.hold_clock(start).await?;
    for (minute, text) in [(1, "remind 5 tea"), (2, "remind 9 lunch"), (3, "never mind lunch"), (15, "bye")] {
        let said = Publish::json("chat", &Chat::new(text))?.timestamp(start + Duration::from_mins(minute));
        meeting.publish(said).await?;
    }
    meeting.end().await?;
    let outputs: Vec<_> = meeting.outputs().try_collect().await?;
    node.shutdown(Duration::from_secs(30)).await?;
    Ok(outputs.iter().filter_map(|output| Some(output.payload.as_text()?.to_owned())).collect())
}

/// Prints the reminders.
#[tokio::main]
pub async fn main() -> Result<(), teammy::Report> {
    for reminder in run(Config::from_toml(r#"database.url = "mem://""#)?).await? {
        println!("{reminder}");
    }
    Ok(())
}
