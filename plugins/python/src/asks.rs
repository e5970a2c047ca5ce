//! Answers what hooks ask for.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use serde::Deserialize;
use serde_json::value::RawValue;
use teammy_kernel::{DataPacket, DatastoreError, History, Llm, LlmError, LlmMessage, MeetingEngine, Name};
use tokio::time::Duration;

use crate::{
    connection::Connection,
    frame::{self, Blobs},
    protocol::{Answer, AnswerError, Asked, Packet, ToHost, packet},
};

/// What was found for a hook.
enum Found {
    Nothing,
    Value(Box<RawValue>),
    Packets(Vec<Arc<DataPacket>>),
    Text(String),
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "messages are a list of objects with a `role` (system, user or assistant) and a `content` of text"
    )]
    Messages,
    #[error("there is no meeting now, so neither keys nor history")]
    NoMeeting,
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
    #[error(transparent)]
    Llm(#[from] LlmError),
    #[error("asking")]
    Frame(#[from] frame::Error),
}

impl Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::NoMeeting => "no-meeting",
            Self::Datastore(error) => error.class().code(),
            Self::Llm(error) => error.class().code(),
            Self::Frame(_) => "protocol",
        }
    }
}

/// Who is asked: in a meeting its engine, and after all meetings the models alone.
#[derive(Clone)]
pub(crate) enum Source {
    Engine(MeetingEngine, Name),
    Models(Llm),
}

impl Source {
    fn llm(&self) -> &Llm {
        match self {
            Self::Engine(engine, _) => engine.llm(),
            Self::Models(llm) => llm,
        }
    }

    /// Finds what is asked for, and answers.
    pub(crate) fn answer(
        self,
        connection: Arc<Connection>,
        ask: u64,
        what: Asked,
        blobs: Blobs,
    ) -> BoxFuture<'static, ()> {
        async move {
            let found = self.find(what, blobs).await;
            // To a host that has ended nothing needs to be said.
            let _ = match &found {
                Ok(found) => send(&connection, ask, found),
                Err(error) => fail(&connection, ask, error),
            }
            .or_else(|error| fail(&connection, ask, &error.into()));
        }
        .boxed()
    }

    async fn find(&self, what: Asked, mut blobs: Blobs) -> Result<Found, Error> {
        match (what, self) {
            (Asked::Get { key }, Self::Engine(engine, _)) => {
                let value = engine.datastore().get::<Box<RawValue>>(&key).await?;
                Ok(value.map_or(Found::Nothing, Found::Value))
            }
            (Asked::History { last, within }, Self::Engine(engine, instance)) => {
                let mut history = History::all();
                history.source = Some(instance.clone());
                history.last = (last > 0).then_some(last);
                history.within = within.map(Duration::from_micros);
                Ok(Found::Packets(engine.datastore().stream_history(history).await?))
            }
            (Asked::Get { .. } | Asked::History { .. }, Self::Models(_)) => Err(Error::NoMeeting),
            (Asked::Prompt { temperature }, _) => {
                Ok(Found::Text(self.llm().prompt(messages(&blobs.next()?)?, temperature).await?))
            }
            (Asked::FastPrompt { temperature }, _) => {
                Ok(Found::Text(self.llm().fast_prompt(messages(&blobs.next()?)?, temperature).await?))
            }
        }
    }
}

fn send(connection: &Connection, ask: u64, found: &Found) -> Result<(), frame::Error> {
    let answer = Answer { ask, ..Answer::default() };
    match found {
        Found::Nothing => connection.send(&ToHost::Answer(Answer { found: Some(false), ..answer }), &[]),
        Found::Value(value) => connection
            .send(&ToHost::Answer(Answer { found: Some(true), ..answer }), &[value.get().as_bytes()]),
        Found::Text(text) => connection.send(&ToHost::Answer(answer), &[text.as_bytes()]),
        Found::Packets(packets) => {
            let (packets, payloads): (Vec<Packet<'_>>, Vec<&[u8]>) =
                packets.iter().map(|it| packet(it)).unzip();
            connection.send(&ToHost::Answer(Answer { packets: Some(packets), ..answer }), &payloads)
        }
    }
}

fn fail(connection: &Connection, ask: u64, error: &Error) -> Result<(), frame::Error> {
    let error = AnswerError { code: error.code(), message: teammy_kernel::chain(error) };
    connection.send(&ToHost::Answer(Answer { ask, error: Some(error), ..Answer::default() }), &[])
}

/// A message as OpenAI's API has it.
#[derive(Deserialize)]
struct ApiMessage {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: String,
}

fn messages(json: &Bytes) -> Result<Vec<LlmMessage>, Error> {
    let messages: Vec<ApiMessage> = serde_json::from_slice(json).map_err(|_| Error::Messages)?;
    let message = |ApiMessage { role, content }| {
        let content = match content {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        };
        match &*role {
            "system" | "developer" => Ok(LlmMessage::system(content)),
            "user" => Ok(LlmMessage::user(content)),
            "assistant" => Ok(LlmMessage::assistant(content)),
            _ => Err(Error::Messages),
        }
    };
    messages.into_iter().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_openais_api() {
        let read = |json: &'static str| messages(&Bytes::from_static(json.as_bytes()));
        let parts = r#"[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]"#;
        assert_eq!(read(parts).unwrap(), [LlmMessage::user("ab")]);
        let two =
            r#"[{"role": "system", "content": "s"}, {"role": "assistant", "content": "a", "name": "x"}]"#;
        assert_eq!(read(two).unwrap(), [LlmMessage::system("s"), LlmMessage::assistant("a")]);
        for wrong in ["{}", r#"["hello"]"#, r#"[{"role": "king", "content": "a"}]"#, r#"[{"role": "user"}]"#]
        {
            assert!(matches!(read(wrong), Err(Error::Messages)), "{wrong}");
        }
    }
}
