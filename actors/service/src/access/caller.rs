//! Whose request it is, and which meetings it sees.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use teammy_kernel::{DataPacket, MeetingId, Name};
use teammy_runtime::keys::{Access, Scope};

use crate::{problem::Problem, stop::Stop};

/// Who asks; by default somebody who was asked for no key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(Option<Arc<Access>>);

impl Caller {
    pub(crate) fn of(access: Access) -> Self {
        Self(Some(Arc::new(access)))
    }

    pub(crate) fn access(&self) -> Option<&Access> {
        self.0.as_deref()
    }

    pub(crate) fn tenant(&self) -> Option<&str> {
        self.access().map(|access| access.tenant.as_str())
    }

    /// Whether a key allows this, or no key is asked for.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.access().is_none_or(|access| access.scopes.has(scope))
    }

    /// The id under which the caller's meeting is kept.
    pub(crate) fn inner(&self, id: &str) -> Result<MeetingId, Problem> {
        // Checked as the caller wrote it, so that an error shows that.
        let id = MeetingId::new(id)?;
        let Some(access) = self.access() else { return Ok(id) };
        let longest = MeetingId::MAX_BYTES - Name::MAX_BYTES - 1;
        if id.as_str().len() > longest {
            let problem = Problem::malformed(format!("the meeting's id is longer than {longest} bytes"));
            return Err(problem.with_status(StatusCode::UNPROCESSABLE_ENTITY));
        }
        let inner = MeetingId::new(format!("{}/{id}", access.tenant))?;
        if access.meeting.as_ref().is_some_and(|only| *only != inner) {
            return Err(Problem::forbidden("only-reads", "the token is for another meeting"));
        }
        Ok(inner)
    }

    /// The id that the caller gave a meeting; none if it is not the caller's.
    pub(crate) fn outer<'a>(&self, id: &'a MeetingId) -> Option<&'a str> {
        match self.tenant() {
            None => Some(id.as_str()),
            Some(tenant) => id.as_str().strip_prefix(tenant)?.strip_prefix('/'),
        }
    }

    /// A packet as the caller knows its meeting.
    pub(crate) fn packet(&self, packet: &Arc<DataPacket>) -> Arc<DataPacket> {
        if self.0.is_none() {
            return packet.clone();
        }
        let outer = self.outer(&packet.meeting).and_then(|id| MeetingId::new(id).ok());
        let Some(meeting) = outer else { return packet.clone() };
        Arc::new(DataPacket { meeting, ..(**packet).clone() })
    }

    /// A problem as the caller knows its meetings, which passes if it comes of the node's start or stop.
    pub(crate) fn shown_problem(&self, problem: Problem, stop: &Stop) -> Problem {
        let is_of_change = problem.is_of_change(stop.is_starting(), stop.is_stopping());
        let problem = problem.with_title(|title| self.text(title));
        if is_of_change { problem.passing() } else { problem }
    }

    /// What an error says, as the caller knows its meetings.
    pub(crate) fn text(&self, text: String) -> String {
        match self.tenant() {
            None => text,
            Some(tenant) => text.replace(&format!("meeting {tenant}/"), "meeting "),
        }
    }

    /// A response with its problem as [`shown_problem`](Self::shown_problem) makes it.
    pub(super) fn shown(&self, response: Response, stop: &Stop) -> Response {
        match response.extensions().get::<Problem>() {
            Some(problem) => self.shown_problem(problem.clone(), stop).into_response(),
            None => response,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
