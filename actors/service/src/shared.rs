//! What all requests share.

use std::{convert::Infallible, sync::Arc};

use axum::{Json, http::HeaderValue};
use serde_json::{Value, json};
use teammy_runtime::{
    Node,
    admin::{self, Request},
};
use tokio::sync::mpsc;

use crate::{
    access::Caller,
    limits::{Owner, Quotas, Slots},
    problem::Problem,
    stop::Stop,
};

/// How a node serves, as its configuration says.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) service: teammy_config::Service,
    /// The largest packet.
    pub(crate) packet_bytes: usize,
}

impl Settings {
    /// The largest line or frame that holds one packet, in bytes: base64 and escapes make its payload larger, and its JSON
    /// stands around it.
    pub(crate) fn packet_text_bytes(&self) -> usize {
        const AROUND: usize = 64 << 10;
        self.packet_bytes.saturating_mul(2).saturating_add(AROUND)
    }
}

/// Renders metrics in the text format of Prometheus.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    pub(crate) stop: Stop,
    pub(crate) settings: Arc<Settings>,
    /// The requests of each key.
    pub(crate) slots: Arc<Slots<Owner>>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) metrics: Option<Render>,
    /// Whoever serves a connection or a WebSocket holds a clone, so that a stop can wait for all of them.
    #[allow(dead_code, reason = "it is held, and nothing is sent")]
    pub(crate) alive_while_held: mpsc::Sender<Infallible>,
}

impl Shared {
    /// Waits until the caller's key or token has ended, or a key is asked for, if the caller came without one.
    pub(crate) async fn over(&self, caller: &Caller) {
        match caller.access() {
            Some(access) => self.node.keys().ended(access).await,
            None => self.node.keys().asked_for().await,
        }
    }

    /// A problem as the caller knows its meetings, which passes if it comes of the node's start or stop.
    pub(crate) fn shown(&self, problem: Problem, caller: &Caller) -> Problem {
        caller.shown_problem(problem, &self.stop)
    }

    /// Whether pages of this origin may use the API.
    pub(crate) fn is_allowed(&self, origin: &HeaderValue) -> bool {
        let origins = &self.settings.service.origins;
        !self.node.keys().is_empty() && origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

/// Has the node do what an operator asks. The answer says nothing of what was asked: the request's path does.
pub(crate) async fn ask(node: &Node, request: Request) -> Result<Json<Value>, Problem> {
    let mut answer = json!(admin::handle(node, request).await?);
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("answer");
    }
    Ok(Json(answer))
}

#[cfg(test)]
impl Shared {
    /// What requests to a node share in a test.
    pub(crate) fn of_test(node: Node) -> Self {
        let config = teammy_config::Config::default();
        let settings =
            Settings { service: config.service, packet_bytes: config.limits.packet_bytes.as_usize() };
        Self {
            node: Arc::new(node),
            stop: Stop::default(),
            slots: Arc::new(Slots::of_keys()),
            quotas: Arc::new(Quotas::new(Vec::new())),
            metrics: None,
            settings: Arc::new(settings),
            alive_while_held: mpsc::channel(1).0,
        }
    }
}
