//! The parameters of a request's URL, and what a path names.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};
use teammy_kernel::{MeetingId, Name, Seq};
use teammy_runtime::{MeetingRef, Node, node};

use crate::{access::Caller, problem::Problem, shared::Shared};

/// The parameters of a URL. One that is not asked for is a mistake of the client, which is told so.
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(mut pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        // It says who asks, which was read before.
        pairs.retain(|(name, _)| name != "token");
        Ok(Self(pairs))
    }
}

impl Params {
    /// All values of a parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter that is given once at most.
    pub(crate) fn one<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let mut values = self.all(name);
        let Some(value) = values.pop() else { return Ok(None) };
        if !values.is_empty() {
            return Err(Problem::malformed(format!("the parameter {name} is given more than once")));
        }
        let wrong = |_| Problem::malformed(format!("the parameter {name} is {value:?}; give {expected}"));
        value.parse().map(Some).map_err(wrong)
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        Ok(self.one(name, "true or false")?.unwrap_or(false))
    }

    /// The sources of a comma-separated list.
    pub(crate) fn sources(&mut self) -> Result<Option<Vec<Name>>, Problem> {
        let Some(list) = self.one::<String>("sources", "sources with commas between them")? else {
            return Ok(None);
        };
        let names = list.split(',').map(|name| Name::new(name.trim()));
        Ok(Some(names.collect::<Result<_, _>>()?))
    }

    /// How many items a page holds at most.
    pub(crate) fn limit(&mut self) -> Result<Option<usize>, Problem> {
        let limit: Option<u32> = self.one("limit", "a number")?;
        Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// The labels that are asked for, each as `KEY:VALUE`.
    pub(crate) fn labels(&mut self) -> Result<BTreeMap<String, String>, Problem> {
        let read = |label: String| match label.split_once(':') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Problem::malformed(format!("the parameter label is {label:?}; give KEY:VALUE"))),
        };
        self.all("label").into_iter().map(read).collect()
    }

    pub(crate) fn seq(&mut self, name: &str) -> Result<Option<Seq>, Problem> {
        Ok(self.one(name, "a seq, such as 65541")?.map(Seq))
    }

    /// Nothing else may be given.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::malformed(format!("there is no parameter {name:?} here"))),
        }
    }
}

/// What a body is, in lower case and without parameters such as a charset; empty if the request does not say.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads the JSON object of a body. Without the check serde would take a list for the fields in their order.
pub(crate) fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let is_object = body.trim_ascii_start().first().is_none_or(|first| *first == b'{');
    if !is_object && serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        let problem = Problem::malformed("the body is to be a JSON object");
        return Err(problem.with_status(StatusCode::UNPROCESSABLE_ENTITY));
    }
    parse(body)
}

/// Reads the JSON of a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Problem::malformed(format!("the body cannot be read: {error}")).with_status(status)
    })
}

/// The largest body that is read as a whole, in bytes.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// How long a body that is read as a whole may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A whole body, up to the limits on its size and its time.
pub(crate) struct Whole(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > MAX_BODY as u64) {
            let title = format!("the body is larger than {} MiB", MAX_BODY >> 20);
            return Err(Problem::malformed(title).with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let late = |_| {
            let title = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Problem::malformed(title).with_status(StatusCode::REQUEST_TIMEOUT)
        };
        let body = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await;
        Ok(Self(body.map_err(late)??))
    }
}

/// The meeting that a path names, whether it is there or not.
pub(crate) struct Id(pub(crate) MeetingId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = of_path(parts, state, "meeting").await?;
        let Ok(caller) = Caller::from_request_parts(parts, state).await;
        Ok(Self(caller.inner(&id)?))
    }
}

/// One of the names in a path.
async fn of_path<S: Send + Sync>(parts: &mut Parts, state: &S, what: &str) -> Result<String, Problem> {
    let Path(pairs) = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
    Ok(pairs.into_iter().find(|(key, _)| key == what).map(|(_, value)| value).unwrap_or_default())
}

/// The instance that a path names.
pub(crate) struct Instance(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Instance {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        of_path(parts, state, "instance").await.map(Self)
    }
}

/// The producer that a path names.
pub(crate) struct ProducerId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for ProducerId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        of_path(parts, state, "producer").await.map(Self)
    }
}

/// The meeting that a path names, if it runs here or has ended.
pub(crate) struct Meeting(pub(crate) MeetingRef);

impl FromRequestParts<Shared> for Meeting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let Id(id) = Id::from_request_parts(parts, shared).await?;
        match Node::find_meeting(&shared.node, &id).await {
            // While the node resumes all meetings, one that is asked for is not left to wait for its turn.
            Err(node::Error::NotRunning(_)) if shared.stop.is_starting() => {
                match shared.node.resume_meeting(&id).await {
                    Ok(meeting) => Ok(Self(meeting)),
                    // Others resume it just now, or it has ended.
                    Err(_) => Ok(Self(Node::find_meeting(&shared.node, &id).await?)),
                }
            }
            found => Ok(Self(found?)),
        }
    }
}
