//! A test with a recorded model, as docs/plugin-guide.md shows it.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use teammy_kernel::{
    Cx, Error, Hooks, InCallPlugin, Json, LlmMessage, LlmProvider, Publish, Receive, StartupCx,
    data::Chat,
    testing::{self, Cassette, PluginTest, ScriptedLlm},
};

/// Answers in the chat.
struct Helper;

impl InCallPlugin for Helper {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Json<Chat>;
    const KIND: &'static str = "helper";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Helper {
    async fn receive(
        &self,
        Json(chat): Json<Chat>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Chat>>, Error> {
        let messages = [LlmMessage::system("Answer in one sentence."), LlmMessage::user(chat.text)];
        let answer = cx.engine().llm().ask(messages).fast().temperature(0.2).text().await?;
        Ok(Some(Json(Chat::new(answer))))
    }
}

/// The model that is recorded: here a script stands for it, so that this test needs no server.
fn model() -> impl LlmProvider {
    ScriptedLlm::default().reply("The meeting begins at nine.")
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered() {
    let llm = Cassette::auto("tests/cassettes/helper.jsonl", model).unwrap();
    let mut meeting = PluginTest::<Helper>::builder().llm(llm.clone()).start().await.unwrap();
    let asked = Publish::json("chat", &Chat::new("When do we meet?")).unwrap();
    let answer = meeting.receive(asked).await.unwrap().unwrap();
    assert!(testing::json::<Chat>(&answer).text.contains("nine"));
    assert_eq!(llm.remaining(), 0, "each recorded request was made");
}

#[tokio::test(start_paused = true)]
async fn a_changed_prompt_is_shown_beside_the_recorded_one() {
    let llm = Cassette::replay("tests/cassettes/question.jsonl").unwrap();
    let mut meeting = PluginTest::<Helper>::builder().llm(llm).start().await.unwrap();
    let asked = Publish::json("chat", &Chat::new("Where do we meet?")).unwrap();
    let error = meeting.receive(asked).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the language model refused the request: the recording tests/cassettes/question.jsonl has no line left for request 1; \
         the closest is line 1 (- recorded, + asked):\n\
         \x20 messages[1].content:\n\
         \x20   - When do we meet?\n\
         \x20   + Where do we meet?\n\
         if the change is intended, record it again with TEAMMY_RECORD=1"
    );
}
