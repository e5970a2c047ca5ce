//! Errors as problem documents (RFC 9457).

use axum::{
    extract::{
        rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
        ws::rejection::WebSocketUpgradeRejection,
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use teammy_kernel::{ErrorClass, ErrorKind, PublishError, chain, name, wire::json};
use teammy_runtime::{admin, keys, meeting, node};
use tokio::time::Duration;
use utoipa::ToSchema;

/// An answer that says what went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status.
    status: u16,
    /// What went wrong, and what to do about it.
    title: String,
    /// Words in lower case with hyphens between them, which do not change.
    code: String,
    /// What can be done about it: `invalid`, `not-found`, `conflict`, `busy`, `unavailable` or `internal`.
    #[schema(value_type = String)]
    kind: ErrorKind,
    /// Whether the same request may succeed later.
    can_retry: bool,
    /// The number that a producer's next packet must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// After how many seconds the client may try again.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(class: ErrorClass, title: impl Into<String>) -> Self {
        Self {
            status: class.kind().http_status(),
            title: title.into(),
            code: class.code().to_owned(),
            kind: class.kind(),
            can_retry: class.can_retry(),
            next: None,
            retry_after: class.can_retry().then_some(1),
        }
    }

    /// The request is not one that the service reads.
    pub(crate) fn malformed(title: impl Into<String>) -> Self {
        Self::new(ErrorClass::new("malformed-request", ErrorKind::Invalid), title)
    }

    /// The node answered something else than was asked; this is a fault of the node.
    pub(crate) fn unexpected(_: &admin::Response) -> Self {
        Self::new(
            ErrorClass::new("unexpected-answer", ErrorKind::Internal),
            "the node answered another question",
        )
    }

    /// Who asks is not known.
    pub(crate) fn unauthorized(code: &'static str, title: &str) -> Self {
        Self::new(ErrorClass::new(code, ErrorKind::Invalid), title).with_status(StatusCode::UNAUTHORIZED)
    }

    /// Who asked was known, and is not any more.
    pub(crate) fn key_ended() -> Self {
        Self::unauthorized("invalid-key", "the key or token has ended")
    }

    /// Who asks may not.
    pub(crate) fn forbidden(code: &'static str, title: &str) -> Self {
        Self::new(ErrorClass::new(code, ErrorKind::Invalid), title).with_status(StatusCode::FORBIDDEN)
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }
}

impl Problem {
    /// With another title, made of the present one.
    pub(crate) fn with_title(mut self, change: impl FnOnce(String) -> String) -> Self {
        self.title = change(self.title);
        self
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == 404
    }

    /// What a node answers while it starts or stops, or has lost its lease, and a meeting is not there for that reason alone: it
    /// will be, here or on another node.
    pub(crate) fn is_of_change(&self, is_starting: bool, is_stopping: bool) -> bool {
        match self.code.as_str() {
            "not-running" => is_starting || is_stopping,
            "gone" | "shut-down" => is_stopping,
            "no-member" => true,
            _ => false,
        }
    }

    /// The same as a problem that passes by itself.
    pub(crate) fn passing(self) -> Self {
        let class = ErrorClass::new("not-ready", ErrorKind::Unavailable);
        Self { status: 503, code: class.code().to_owned(), kind: class.kind(), can_retry: true, ..self }
            .after(Duration::ZERO)
    }

    /// To be tried again after a time.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs().saturating_add(1));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For whoever shows it to a tenant.
        response.extensions_mut().insert(self);
        response
    }
}

macro_rules! problems {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::new(error.class(), chain(&error))
            }
        }
    )*};
}

problems!(node::Error, meeting::Error, admin::Error, keys::Error, name::Error);

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let next = match &error {
            PublishError::Expected { expected, .. } => Some(expected.to_string()),
            _ => None,
        };
        let status = match &error {
            PublishError::TooLarge { .. } => Some(StatusCode::PAYLOAD_TOO_LARGE),
            PublishError::Expected { .. } => Some(StatusCode::CONFLICT),
            // The body names what is not there, and not the path.
            PublishError::UnknownSource { .. } => Some(StatusCode::UNPROCESSABLE_ENTITY),
            _ => None,
        };
        let problem = Self { next, ..Self::new(error.class(), chain(&error)) };
        match status {
            Some(status) => problem.with_status(status),
            None => problem,
        }
    }
}

impl From<json::Error> for Problem {
    fn from(error: json::Error) -> Self {
        Self::new(error.class(), chain(&error)).with_status(StatusCode::UNPROCESSABLE_ENTITY)
    }
}

macro_rules! rejections {
    ($($error:ty),*) => {$(
        impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::malformed(error.body_text()).with_status(error.status())
            }
        }
    )*};
}

rejections!(BytesRejection, JsonRejection, PathRejection, QueryRejection, WebSocketUpgradeRejection);
