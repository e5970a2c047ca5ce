//! A meeting backend that embeds Teammy with a plugin of its own: `cargo run --example embed`.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use teammy::{
    Cx, Factory, Hooks, InCallPlugin, Json, MeetingId, MeetingMetadata, Node, Publish, Receive, StartupCx,
    config::Config, data::Chat, plugin::Error,
};

/// Counts each emoji in the chat, and puts out the counts when one is sent for the second time.
struct Applause;

impl InCallPlugin for Applause {
    type Config = ();
    type State = BTreeMap<char, u32>;
    type Scratch = ();
    type Output = Json<BTreeMap<char, u32>>;
    const KIND: &'static str = "applause";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Applause {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Self::Output>, Error> {
        for emoji in chat.0.text.chars().filter(|c| !c.is_ascii()) {
            *cx.state_mut().entry(emoji).or_default() += 1;
        }
        Ok(cx.state().values().any(|count| *count == 2).then(|| Json(cx.state().clone())))
    }
}

/// Publishes three chat messages to the plugin.
#[tokio::main]
pub async fn main() -> Result<(), teammy::Report> {
    let config = Config::from_toml(r#"database.url = "mem://""#)?;
    let node = Node::builder(config).plugin(Factory::of::<Applause>("applause")).start().await?;
    let meeting = node.start_meeting(MeetingMetadata::new(MeetingId::new("demo")?), ["applause"]).await?;
    for (who, text) in [("Ada", "well done 👏"), ("Bo", "🎉"), ("Cy", "👏")] {
        meeting.publish(Publish::json("chat", &Chat::new(text))?.participant(who)).await?.durable().await?;
    }
    meeting.end().await?;
    let mut outputs = meeting.outputs();
    while let Some(output) = outputs.next().await {
        println!("{:?}", output?.payload);
    }
    node.shutdown(Duration::from_secs(30)).await?;
    Ok(())
}
