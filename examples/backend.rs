//! A meeting backend that embeds Teammy, step by step: `cargo run --example backend`. `docs/embedding.md`
//! explains it.
//!
//! It keeps meetings in memory; set `TEAMMY_DATABASE__URL=surrealkv://FOLDER` to store them on disk.

use std::{collections::VecDeque, error::Error, time::Duration};

use futures::TryStreamExt;
use teammy::{
    Cx, Factory, Hooks, InCallPlugin, JoinAt, Json, LlmError, LlmMessage, LlmProvider, LlmRequest,
    LlmResponse, MeetingId, MeetingMetadata, MeetingRef, Node, Publish, PublishError, Receive, Seq,
    StartupCx,
    config::{Config, Loader},
    data::{Chat, Transcription},
    meeting::{Delivered, StartAt, Subscribe},
    node::Opened,
    store::{MeetingQuery, MeetingStatus},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The backend's configuration file, with Teammy's keys.
pub const SETTINGS: &str = r#"
    database.url = "mem://"

    [[plugin]]
    name = "talk-time"
    config = { every = 2 }
"#;

/// Loads these settings; environment variables override them.
fn load_config() -> Result<Config, BoxError> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = Loader::default().text("backend.toml", SETTINGS).env(variables).load()?;
    for ignored in loaded.warnings() {
        eprintln!("{ignored}");
    }
    Ok(loaded.config)
}

/// The backend's own access to language models. This example has no model: it answers with the longest line
/// of the prompt.
struct Gateway;

impl LlmProvider for Gateway {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let lines = request.messages.iter().flat_map(|message| message.content.lines());
        match lines.max_by_key(|line| line.len()) {
            Some(longest) => Ok(LlmResponse::new(longest)),
            None => Err(LlmError::Refused("there is nothing to sum up".to_owned())),
        }
    }
}

/// The backend's own plugin: answers `!recap` in the chat with a model's summary of the last turns.
struct Recap;

impl InCallPlugin for Recap {
    type Config = ();
    type State = VecDeque<String>;
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "recap";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NEEDS_LLM: bool = true;

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, teammy::plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription").on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Transcription>> for Recap {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<String>, teammy::plugin::Error> {
        const TURNS: usize = 20;
        let turns = cx.state_mut();
        turns.push_back(said.text);
        if turns.len() > TURNS {
            turns.pop_front();
        }
        Ok(None)
    }
}

impl Receive<Json<Chat>> for Recap {
    async fn receive(
        &self,
        Json(message): Json<Chat>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<String>, teammy::plugin::Error> {
        if message.text.trim() != "!recap" {
            return Ok(None);
        }
        let turns = cx.state().iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let messages = [LlmMessage::system("Sum up:"), LlmMessage::user(turns)];
        Ok(Some(cx.engine().llm().prompt(messages, 0.0).await?))
    }
}

/// Starts a meeting, or resumes it if an earlier run of the backend left it unfinished.
async fn open(node: &Node, metadata: MeetingMetadata) -> Result<MeetingRef, BoxError> {
    match node.open(metadata, ["talk-time"]).await? {
        Opened::Ended(meeting) => Err(format!("meeting {} is over", meeting.id()).into()),
        opened => Ok(opened.into_meeting()),
    }
}

/// The newest meetings of a team that have ended: a page of them, and the query for the next page.
async fn ended_meetings(
    node: &Node,
    team: &str,
    after: Option<MeetingQuery>,
) -> Result<(Vec<MeetingId>, Option<MeetingQuery>), BoxError> {
    let first = || MeetingQuery::default().statuses([MeetingStatus::Ended]).label("team", team).limit(20);
    let query = after.unwrap_or_else(first);
    let page = node.store().meetings(query.clone()).await?;
    let ids = page.meetings.into_iter().map(|row| row.metadata.id).collect();
    Ok((ids, page.next.map(|next| query.after(next))))
}

/// Publishes a transcription, and waits until it is stored, so that no crash can lose it.
async fn publish_speech(meeting: &MeetingRef, who: &str, text: &str) -> Result<Seq, BoxError> {
    let said = Publish::json("transcription", &Transcription::new(text, 0, 0))?.participant(who);
    let receipt = meeting.publish(said).await?;
    receipt.durable().await?;
    Ok(receipt.seq())
}

/// Publishes a chat message, unless the meeting is busy.
async fn try_publish_chat(meeting: &MeetingRef, who: &str, text: &str) -> Result<bool, BoxError> {
    match meeting.try_publish(Publish::json("chat", &Chat::new(text))?.participant(who)).await {
        Ok(_) => Ok(true),
        Err(PublishError::Busy(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Prints outputs as they are stored, until the meeting has ended.
async fn print_outputs(meeting: MeetingRef) -> Result<Vec<String>, BoxError> {
    let mut printed = Vec::new();
    let mut outputs = meeting.outputs();
    while let Some(output) = outputs.try_next().await? {
        let line = match output.payload.as_text() {
            Some(text) => format!("{}: {text}", output.source),
            None => format!("{}: {} bytes", output.source, output.payload.len()),
        };
        println!("{line}");
        printed.push(line);
    }
    Ok(printed)
}

/// Counts transcriptions and outputs from the start of the meeting, and audio from now on.
async fn follow(meeting: &MeetingRef) -> Result<usize, BoxError> {
    let everything = Subscribe::to(["transcription", "talk-time", "audio"]).from(StartAt::Start);
    let mut packets = meeting.subscribe(everything).await?;
    let mut followed = 0;
    while let Some(Delivered { packet, gap, .. }) = packets.try_next().await? {
        if gap > 0 {
            eprintln!("lost {gap} packets before one of {}: this reader is too slow", packet.source);
        }
        followed += 1;
    }
    Ok(followed)
}

/// Runs one meeting, from the node's start to its shutdown, and returns the printed outputs.
///
/// # Errors
/// The first error.
pub async fn run(config: Config) -> Result<Vec<String>, BoxError> {
    let node = Node::builder(config)
        .plugins(teammy::plugins::bundle())
        .plugin(Factory::of::<Recap>("recap"))
        .llm(Gateway)
        .start()
        .await?;

    let metadata = MeetingMetadata::new(MeetingId::new("weekly")?).title("Weekly").label("team", "maps");
    let meeting = open(&node, metadata).await?;
    let printed = tokio::spawn(print_outputs(meeting.clone()));
    let followed = tokio::spawn({
        let meeting = meeting.clone();
        async move { follow(&meeting).await }
    });

    publish_speech(&meeting, "Ada", "The map is done, but for the legend.").await?;
    publish_speech(&meeting, "Bo", "Friday, then.").await?;

    // Add the plugin to the running meeting; it reads the log from its start.
    meeting.assign_at("recap", JoinAt::Start).await?;
    if !try_publish_chat(&meeting, "Bo", "!recap").await? {
        eprintln!("the meeting is busy: try again later");
    }
    meeting.unassign("recap").await?;

    meeting.end().await?;
    for instance in meeting.stats().await?.instances {
        eprintln!("{}: {} outputs, {} errors", instance.name, instance.outputs, instance.errors);
    }
    let (ended, _) = ended_meetings(&node, "maps", None).await?;
    eprintln!("{} meetings of team maps have ended", ended.len());
    node.shutdown(Duration::from_secs(30)).await?;
    eprintln!("followed {} packets", followed.await??);
    printed.await?
}

/// Runs the example with the settings above.
#[tokio::main]
pub async fn main() -> Result<(), teammy::Report> {
    run(load_config()?).await?;
    Ok(())
}
