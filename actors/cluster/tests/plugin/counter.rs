//! A plugin whose outputs show what it got.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use teammy_config::Config;
use teammy_kernel::{Cx, Error, Factory, Hooks, InCallPlugin, Json, Publish, Receive, StartupCx};

/// Counts what it gets, in its state, and gives each count out once.
struct Counter;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Counted {
    count: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Message {
    text: String,
    /// How long the hook takes.
    #[serde(default)]
    wait: u64,
}

impl InCallPlugin for Counter {
    type Config = ();
    type State = Counted;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "counter";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Message>>("chat")
    }
}

impl Receive<Json<Message>> for Counter {
    async fn receive(
        &self,
        chat: Json<Message>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Value>>, Error> {
        if chat.0.wait > 0 {
            tokio::time::sleep(Duration::from_millis(chat.0.wait)).await;
        }
        cx.state_mut().count += 1;
        let count = cx.state().count;
        Ok(Some(Json(json!({"count": count, "text": chat.0.text}))))
    }
}

pub(crate) fn config() -> Config {
    let instances =
        ["counter", "second"].map(|name| format!("[[plugin]]\nname = \"{name}\"\nkind = \"counter\"\n"));
    Config::from_toml(&instances.concat()).unwrap()
}

pub(crate) fn factories() -> Vec<Factory> {
    vec![Factory::of::<Counter>("counter")]
}

/// A packet that its key names.
pub(crate) fn chat(key: &str, wait: u64) -> Publish {
    Publish::json("chat", &json!({"text": key, "wait": wait})).unwrap()
}
