//! Language models: one actor per node that answers every plugin's questions, and the client that it calls.
//!
//! The actor owns the provider: the models that the configuration names ([`configured`], in a build with
//! feature `openai`), or an embedder's own. It answers each question on a task of its own, on the runtime
//! that [`behind_actor`] was called on and never on the plugins' runtime, and takes the next question
//! meanwhile. A question is cancelled as soon as its asker is gone (its hook passed its deadline, or its
//! meeting stopped), and all questions are cancelled when the actor ends. A provider that panics fails that
//! question and nothing else.
//!
//! Layers, each of which uses those below it: `models`, which asks one model after another; `budgets`, which keeps what
//! requests may cost; the client of one model (`openai`), which sends one request and reads its answer; and the rules
//! (`policy`), which are pure.

mod actor;
#[cfg(feature = "openai")]
mod budgets;
mod error;
#[cfg(feature = "openai")]
mod models;
#[cfg(feature = "openai")]
mod openai;
#[cfg(feature = "openai")]
mod policy;
#[cfg(feature = "openai")]
mod schema;
mod telemetry;
#[cfg(feature = "openai")]
mod windows;

use ractor::Actor;
#[cfg(feature = "openai")]
use teammy_kernel::Timestamp;
use teammy_kernel::{SharedLlm, chain};

pub use error::Error;
#[cfg(feature = "openai")]
pub use openai::LOG_TARGET;
pub use telemetry::HISTOGRAMS;

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
    let (Some(default), Some(fast)) = (&config.default, &config.fast) else { return Ok(SharedLlm::none()) };
    let endpoints = openai::endpoints(config)?.into_iter().zip(config.models.iter().map(terms)).collect();
    let retry = policy::RetryPolicy { tries: config.tries };
    let roles = models::Roles {
        default: default.clone(),
        fast: fast.clone(),
        embedding: config.embedding.clone(),
        transcription: config.transcription.clone(),
    };
    let configured: Vec<budgets::Rule> = config.budgets.iter().map(rule).collect();
    let budgets = (!configured.is_empty()).then(|| budgets::Budgets::new(configured, Timestamp::now));
    let models =
        models::Models::new(endpoints, &roles, retry, budgets).expect("invariant: all names are of models");
    if are_needed {
        models.chosen().into_iter().try_for_each(openai::Endpoint::ready)?;
    }
    telemetry::describe();
    let own = [teammy_config::BudgetScope::Meeting, teammy_config::BudgetScope::Instance];
    let is_apart = config.budgets.iter().any(|budget| own.contains(&budget.per));
    Ok(SharedLlm::new(models::Shared::new(models, config.cache, config.cache_memory.as_usize(), is_apart)))
}

/// What is configured of a model beside its server.
#[cfg(feature = "openai")]
fn terms(model: &teammy_config::LlmModel) -> models::Terms {
    let tier = |price: &teammy_config::Price| policy::Tier {
        above: price.above,
        input: price.input,
        cached_input: price.cached_input,
        output: price.output,
    };
    let (max_tokens, fixed_tokens) = match model.answer_limit() {
        teammy_config::AnswerLimit::Asked(most) => (most, None),
        teammy_config::AnswerLimit::Fixed(tokens) => (model.max_tokens, Some(tokens)),
        teammy_config::AnswerLimit::Unknown => (model.max_tokens, None),
    };
    models::Terms {
        fallback: model.fallback.clone(),
        capacity: policy::Capacity {
            at_once: model.concurrency,
            requests_per_minute: model.requests_per_minute,
            tokens_per_minute: model.tokens_per_minute,
        },
        prices: policy::Prices::new(model.price.iter().map(tier).collect()),
        max_tokens,
        fixed_tokens,
    }
}

/// A budget by its configuration.
#[cfg(feature = "openai")]
fn rule(budget: &teammy_config::LlmBudget) -> budgets::Rule {
    use teammy_config::{BudgetScope, BudgetWindow};
    budgets::Rule {
        name: budget.name.clone(),
        scope: match budget.per {
            BudgetScope::Node => budgets::Scope::Node,
            BudgetScope::Tenant => budgets::Scope::Tenant,
            BudgetScope::Meeting => budgets::Scope::Meeting,
            BudgetScope::Instance => budgets::Scope::Instance,
        },
        window: match budget.window {
            BudgetWindow::Hour => windows::Window::Hour,
            BudgetWindow::Day => windows::Window::Day,
            BudgetWindow::Meeting => windows::Window::Meeting,
        },
        tenant: budget.tenant.clone(),
        instance: budget.instance.clone(),
        limit: policy::Limit {
            tokens: budget.tokens,
            cost: budget.usd.map(|usd| teammy_kernel::NanoUsd(usd.nanos)),
        },
    }
}

/// Returns [`SharedLlm::none`]: this build has no client for the models that a configuration names.
///
/// # Errors
/// [`Error::NoClient`] if models are named and needed.
#[cfg(not(feature = "openai"))]
pub fn configured(config: &teammy_config::Llm, are_needed: bool) -> Result<SharedLlm, Error> {
    if config.models.is_empty() {
        return Ok(SharedLlm::none());
    }
    if are_needed {
        return Err(Error::NoClient);
    }
    tracing::warn!(
        "[[llm.model]] is left out: this build cannot ask language models; build it with feature `openai`"
    );
    Ok(SharedLlm::none())
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
    let spawned = LlmActor::spawn(None, LlmActor, ()).await;
    let (actor, _) = spawned.map_err(|error| Error::Actor(chain(&error)))?;
    Ok(SharedLlm::new(LlmRef::new(actor, provider)))
}
