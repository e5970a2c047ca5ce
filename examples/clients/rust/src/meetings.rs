//! What a meeting is opened with, and what is known of one.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
};

use futures::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teammy_kernel::{MeetingId, Name, Seq, Timestamp};

use crate::{
    digits,
    error::Error,
    http::{Http, Request},
    retry::Policy,
};

/// What a meeting is opened with. All may be left out. A meeting that exists keeps what it was started with.
///
/// # Examples
/// ```
/// use teammy_client::Opening;
/// let opening = Opening::new().id("standup".parse()?).title("Daily stand-up").label("team", "maps").plugin("minutes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Opening {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<MeetingId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    plugins: Vec<String>,
}

impl Opening {
    /// A meeting with a new id.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: MeetingId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the title that people see.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets when the meeting began, if that was earlier.
    #[must_use]
    pub fn started_at(mut self, at: Timestamp) -> Self {
        self.started_at = Some(at);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds a plugin's instance, by its configured name.
    #[must_use]
    pub fn plugin(mut self, instance: impl Into<String>) -> Self {
        self.plugins.push(instance.into());
        self
    }
}

/// Whether a meeting runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Packets are published.
    Running,
    /// No more packets are published; the instances finish.
    Ending,
    /// The log is complete.
    Ended,
    /// One of a later version.
    #[serde(other)]
    Other,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Other => "other",
        }
    }
}

/// What opening a meeting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Opened {
    /// It is new.
    Started,
    /// It was cut off, and goes on.
    Resumed,
    /// It ran already.
    Running,
    /// It has ended, and stays so.
    Ended,
    /// Something of a later version.
    #[serde(other)]
    Other,
}

/// What is known of a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MeetingInfo {
    /// Its id.
    pub id: MeetingId,
    /// Its title.
    pub title: Option<String>,
    /// Whether it runs.
    pub status: Status,
    /// When it was created, if that is known.
    pub created: Option<Timestamp>,
    /// When it began, if that was not when it was created.
    pub started_at: Option<Timestamp>,
    /// The seq of its last stored packet; 0 if it has none.
    #[serde(deserialize_with = "digits::seq")]
    pub last_seq: Seq,
    /// The labels that it was started with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The instances that it was started with.
    #[serde(default)]
    pub plugins: Vec<Name>,
    /// What opening it did, if it was just opened. One that was started by a request whose answer was lost is `Running`.
    #[serde(default)]
    pub opened: Option<Opened>,
    /// What its instances do, if it runs at the node that was asked.
    #[serde(default)]
    pub running: Option<Value>,
    /// What its requests to language models have cost, if one meeting was asked for.
    #[serde(default)]
    pub spend: Option<Value>,
}

/// An instance that a node has, so that meetings can be opened with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Its name, which is also the source of its outputs.
    pub name: Name,
    /// The kind of its plugin.
    pub kind: String,
    /// The version of its plugin.
    pub version: String,
    /// The sources that it takes.
    pub sources: Vec<Name>,
    /// Whether it needs a language model and the node has none: a meeting with it cannot be opened.
    #[serde(default)]
    pub lacks_llm: bool,
}

/// Which meetings to list.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `list`"]
pub struct Meetings {
    http: Http,
    policy: Policy,
    filters: Vec<(&'static str, String)>,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    meetings: VecDeque<MeetingInfo>,
    next: Option<Value>,
}

impl Meetings {
    pub(crate) fn new(http: Http, policy: Policy) -> Self {
        Self { http, policy, filters: Vec::new() }
    }

    fn filter(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.filters.push((name, value.into()));
        self
    }

    /// Only meetings of this status, or of those that are given.
    pub fn status(self, status: Status) -> Self {
        self.filter("status", status.as_str())
    }

    /// Only meetings with this label.
    pub fn label(self, key: &str, value: &str) -> Self {
        self.filter("label", format!("{key}:{value}"))
    }

    /// Only meetings that were created at this time or later.
    pub fn from(self, at: Timestamp) -> Self {
        self.filter("from", at.to_string())
    }

    /// Only meetings that were created before this time.
    pub fn to(self, at: Timestamp) -> Self {
        self.filter("to", at.to_string())
    }

    /// The meetings, fetched page by page as the stream is read. It ends with the first error, of those of
    /// [`Meeting::show`](crate::Meeting::show).
    pub fn list(self) -> Pin<Box<dyn Stream<Item = Result<MeetingInfo, Error>> + Send>> {
        let first = Page { meetings: VecDeque::new(), next: Some(Value::Null) };
        Box::pin(stream::try_unfold((self, first), |(query, mut page)| async move {
            loop {
                if let Some(meeting) = page.meetings.pop_front() {
                    return Ok(Some((meeting, (query, page))));
                }
                let Some(after) = page.next else { return Ok(None) };
                page = query.page(&after).await?;
            }
        }))
    }

    async fn page(&self, after: &Value) -> Result<Page, Error> {
        let mut request = Request::get(["meetings"]);
        for (name, value) in &self.filters {
            request = request.query(name, value);
        }
        if !after.is_null() {
            request = request.query("after", after.to_string());
        }
        self.http.json_again(request, "a list of meetings", self.policy).await
    }
}
