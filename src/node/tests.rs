use std::{convert::Infallible, time::Duration};

use teammy_kernel::{
    Cx, Error as HookError, Hooks, InCallPlugin, Json, Receive, StartupCx, data::Chat, store::MemoryStore,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// A plugin that needs a language model.
struct Helper;

impl InCallPlugin for Helper {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Infallible;
    const KIND: &'static str = "helper";
    const VERSION: &'static str = "1.0.0";
    const NEEDS_LLM: bool = true;

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, HookError> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Helper {
    async fn receive(&self, _: Json<Chat>, _: &mut Cx<'_, Self>) -> Result<Option<Infallible>, HookError> {
        Ok(None)
    }
}

fn builder(toml: &str) -> Builder {
    Node::builder(Config::from_toml(toml).unwrap()).store(Arc::new(MemoryStore::default()))
}

#[cfg(feature = "openai")]
#[tokio::test]
async fn a_node_whose_plugins_need_a_model_wants_its_key() {
    let build = || builder("[[llm.model]]\nname = \"big\"\napi_key_env = \"NO_SUCH_KEY\"");
    let refused = build().plugin(Factory::of::<Helper>("helper")).start().await.unwrap_err();
    assert!(matches!(&refused, Error::Llm(error) if error.is::<teammy_llm::Error>()), "{refused}");
    assert!(refused.to_string().contains("NO_SUCH_KEY is not set"), "{refused}");
    // A node without such a plugin needs no key.
    build().start().await.unwrap().shutdown(DEADLINE).await.unwrap();
}

#[cfg(not(feature = "openai"))]
#[tokio::test]
async fn a_build_without_a_client_says_so() {
    let build = || builder("[[llm.model]]\nname = \"big\"");
    build().start().await.unwrap().shutdown(DEADLINE).await.unwrap();
    let refused = build().plugin(Factory::of::<Helper>("helper")).start().await.unwrap_err();
    let Error::Llm(error) = &refused else { panic!("{refused}") };
    assert!(matches!(error.downcast_ref(), Some(teammy_llm::Error::NoClient)), "{refused}");
}

#[tokio::test]
async fn a_store_in_memory_needs_no_database() {
    let config = || Config::from_toml("database.url = \"mem://\"").unwrap();
    let node = Node::builder(config()).start().await.unwrap();
    assert!(!node.has_llm());
    node.shutdown(DEADLINE).await.unwrap();
    open_store(&config().database).await.unwrap().close().await.unwrap();
}
