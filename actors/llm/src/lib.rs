//! Language models: one actor per node that answers every plugin's questions, and the client that it calls.
//!
//! The actor owns the provider: the models that the configuration names ([`configured`], in a build with
//! feature `openai`), or an embedder's own. It answers each question on a task of its own, on the runtime
//! that [`behind_actor`] was called on and never on the plugins' runtime, and takes the next question
//! meanwhile. A question is cancelled as soon as its asker is gone (its hook passed its deadline, or its
//! meeting stopped), and all questions are cancelled when the actor ends. A provider that panics fails that
//! question and nothing else.
//!
//! Rules about what a question may cost, and how long it may take, belong where it enters: in this actor's
//! mailbox.

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

/// Makes a client of the models that a configuration names; [`SharedLlm::none`] if it names none.
///
/// A model without a usable API key is an error only if `are_needed`; otherwise each question to it fails.
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

/// Returns [`SharedLlm::none`]: this build has no client for the models that a configuration names.
///
/// # Errors
/// [`Error::NoClient`] if models are named and needed.
#[cfg(not(feature = "openai"))]
pub fn configured(config: &teammy_config::Llm, are_needed: bool) -> Result<SharedLlm, Error> {
    if config.models.is_empty() || !are_needed { Ok(SharedLlm::none()) } else { Err(Error::NoClient) }
}

/// Puts an actor in front of a provider. Returns [`SharedLlm::none`] unchanged.
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
