//! Language models: one actor a node, through which every question of a plugin goes, and the client that it
//! asks.
//!
//! The actor owns the provider: what the configuration names ([`configured`], in a build with feature
//! `openai`), or what an embedder has. Each question is answered on a task of its own on the runtime of
//! whoever called [`behind_actor`], never on a plugin's; the actor takes the next one meanwhile. A question
//! whose asker is gone (its hook passed its deadline, or its meeting stopped) is called off at once, and all
//! are when the actor ends. A provider that panics fails that question and nothing else.
//!
//! What a question may cost, and how long it may take, is decided where it enters: in this actor's mailbox.

mod actor;
mod error;
#[cfg(feature = "openai")]
mod openai;

use ractor::Actor;
use teammy_kernel::{SharedLlm, chain};

pub use error::Error;
#[cfg(feature = "openai")]
pub use openai::LOG_TARGET;

use actor::{LlmActor, LlmRef};

/// The models that a configuration names; none where it names none. That one cannot be asked matters where
/// somebody needs it.
///
/// # Errors
/// [`Error::Client`]; and if models are needed, [`Error::Keyless`] and [`Error::Key`], or [`Error::NoClient`]
/// in a build without feature `openai`.
#[cfg(feature = "openai")]
pub fn configured(config: &teammy_config::Llm, are_needed: bool) -> Result<SharedLlm, Error> {
    let Some(models) = openai::OpenAi::new(config)? else { return Ok(SharedLlm::none()) };
    if are_needed {
        models.ready()?;
    }
    Ok(SharedLlm::new(models))
}

/// The models that a configuration names, which this build cannot ask.
///
/// # Errors
/// [`Error::NoClient`] if models are named and needed.
#[cfg(not(feature = "openai"))]
pub fn configured(config: &teammy_config::Llm, are_needed: bool) -> Result<SharedLlm, Error> {
    if config.models.is_empty() || !are_needed { Ok(SharedLlm::none()) } else { Err(Error::NoClient) }
}

/// Puts an actor before a provider. Where there is none to ask, there is nothing to put it before.
///
/// # Errors
/// [`Error::Actor`].
///
/// # Panics
/// If it is not called on a tokio runtime.
pub async fn behind_actor(provider: SharedLlm) -> Result<SharedLlm, Error> {
    if !provider.is_configured() {
        return Ok(provider);
    }
    let spawned = LlmActor::spawn(None, LlmActor, provider).await;
    let (actor, _) = spawned.map_err(|error| Error::Actor(chain(&error)))?;
    Ok(SharedLlm::new(LlmRef::new(actor)))
}
