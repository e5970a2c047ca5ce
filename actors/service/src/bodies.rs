//! The bodies of answers. The description of the API is made of these types, so what it says is what is sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use teammy_kernel::{
    Charges, MeetingId, Timestamp,
    store::{DeadLetter, MeetingCursor, MeetingRecord, MeetingStatus},
};
use teammy_runtime::admin::{MeetingReport, UsageRow};
use utoipa::ToSchema;

use crate::{access::Caller, problem::Problem};

/// A meeting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeetingBody {
    /// The id.
    #[schema(example = "standup")]
    pub(crate) id: String,
    /// The title that people see.
    pub(crate) title: Option<String>,
    /// `running`: packets are published; `ending`: instances finish; `ended`: the log is complete.
    #[schema(value_type = String, example = "running")]
    pub(crate) status: MeetingStatus,
    /// When it was created here; null if that is not known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) created: Option<Timestamp>,
    /// When it began, if that was not when it was created.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// The seq of its last stored packet; 0 if there is none.
    #[schema(example = "65541")]
    pub(crate) last_seq: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The instances that it was started with.
    pub(crate) plugins: Vec<String>,
    /// What opening it did: `started`, `resumed`, `running` or `ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opened: Option<&'static str>,
    /// How it runs on this node: what waits to be stored, and of each instance its status and its lag by source. Left out if
    /// it does not run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) running: Option<Value>,
    /// What its requests to language models have cost, all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) spend: Option<Charges>,
}

impl MeetingBody {
    /// A stored meeting as the caller knows it; none if it is not the caller's.
    pub(crate) fn of(record: MeetingRecord, caller: &Caller, tenant_label: &str) -> Option<Self> {
        let MeetingRecord { mut metadata, instances, status, created, last, .. } = record;
        let id = caller.outer(&metadata.id)?.to_owned();
        if caller.tenant().is_some() {
            metadata.labels.remove(tenant_label);
        }
        Some(Self {
            id,
            title: metadata.title.map(|title| title.as_ref().to_owned()),
            status,
            created,
            started_at: metadata.started_at,
            last_seq: last.to_string(),
            labels: metadata.labels,
            plugins: instances.into_iter().map(Into::into).collect(),
            opened: None,
            running: None,
            spend: None,
        })
    }

    pub(crate) fn runs_as(&mut self, report: &MeetingReport) {
        let mut report = serde_json::json!(report);
        if let Some(report) = report.as_object_mut() {
            report.remove("id");
        }
        self.running = Some(report);
    }
}

/// A page of meetings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeetingsBody {
    /// The one that was created last comes first.
    pub(crate) meetings: Vec<MeetingBody>,
    /// The `after` of the next page; null on the last one.
    pub(crate) next: Option<String>,
}

/// A place in the order of meetings, as text: the time of creation, and the id.
pub(crate) fn cursor_text(cursor: &MeetingCursor, caller: &Caller) -> Option<String> {
    let id = caller.outer(&cursor.id)?;
    Some(format!("{}/{id}", cursor.created.map_or_else(|| "-".to_owned(), |at| at.to_string())))
}

/// Reads what [`cursor_text`] wrote.
pub(crate) fn read_cursor(text: &str, caller: &Caller) -> Result<MeetingCursor, Problem> {
    let problem =
        || Problem::malformed("the parameter after is no cursor; give the `next` of the page before");
    let (created, id) = text.split_once('/').ok_or_else(problem)?;
    let created = match created {
        "-" => None,
        created => Some(created.parse::<Timestamp>().map_err(|_| problem())?),
    };
    let id = caller.inner(id).map_err(|_| problem())?;
    let cursor = serde_json::json!({"created": created, "id": id});
    serde_json::from_value(cursor).map_err(|_| problem())
}

/// A page of packets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PacketsBody {
    /// The oldest first.
    #[schema(value_type = Vec<PacketBody>)]
    pub(crate) packets: Vec<std::sync::Arc<teammy_kernel::DataPacket>>,
    /// The `after` of the next page; null at the end of what is stored.
    #[schema(example = "65541")]
    pub(crate) next: Option<String>,
}

/// A packet of a meeting's log. It has one of the payloads.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what `teammy_kernel::wire::json` writes")]
pub(crate) struct PacketBody {
    /// Always `packet`.
    r#type: String,
    /// The meeting.
    meeting: String,
    /// The place in the meeting's log.
    seq: u64,
    /// The kind of data.
    #[schema(example = "transcription")]
    source: String,
    /// When it happened.
    #[schema(format = DateTime)]
    timestamp: String,
    /// When the meeting took it.
    #[schema(format = DateTime)]
    received_at: String,
    /// Who it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    /// Any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    /// Bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// The publisher's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<ProducerBody>,
    /// Where it is in a trace, as in W3C Trace Context.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    traceparent: Option<String>,
    /// The packets that led to an output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<u64>,
}

/// A packet to publish. It has one of the payloads.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what `teammy_kernel::wire::json` reads")]
pub(crate) struct PublishBody {
    /// The kind of data: `transcription`, `chat`, `participant`, `audio` or one that is configured.
    #[schema(example = "chat")]
    source: String,
    /// When it happened; now without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    timestamp: Option<String>,
    /// Who it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    /// Any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    /// Bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// With it the packet can be sent again, and is published once.
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<ProducerBody>,
    /// Where it is in a trace, as in W3C Trace Context.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    traceparent: Option<String>,
}

/// A publisher's own number of a packet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what `teammy_kernel::wire::json` reads and writes")]
pub(crate) struct ProducerBody {
    /// The publisher.
    #[schema(example = "backend-7")]
    id: String,
    /// From 1, without skipping one.
    #[schema(minimum = 1)]
    number: u64,
}

/// How far a producer is in a meeting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProducerPlaceBody {
    /// The producer.
    #[schema(example = "backend-7")]
    pub(crate) producer: String,
    /// The number that its next packet must have; 1 if the meeting has none of it.
    #[schema(example = "7")]
    pub(crate) next: String,
    /// The seq of its last packet; null if there is none.
    #[schema(example = "65541")]
    pub(crate) last_seq: Option<String>,
}

/// What instances gave up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLettersBody {
    /// By seq, then instance: `instance`, `seq`, `source`, `tries`, `error`, `at`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) letters: Vec<DeadLetter>,
}

/// How many packets were delivered again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedrivenBody {
    /// So many.
    pub(crate) count: usize,
}

/// A configured instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceBody {
    /// Its name, which is also the source of its outputs.
    pub(crate) name: String,
    /// The kind of its plugin.
    pub(crate) kind: String,
    /// The version of its plugin.
    pub(crate) version: String,
    /// The sources that it takes.
    pub(crate) sources: Vec<String>,
    /// Whether it needs a language model and this node has none: a meeting with it cannot be opened.
    pub(crate) lacks_llm: bool,
}

/// The configured instances.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginsBody {
    /// What a meeting can be opened with.
    pub(crate) plugins: Vec<InstanceBody>,
}

/// What requests to language models have cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageBody {
    /// By hour, instance and model.
    #[schema(value_type = Vec<Object>)]
    pub(crate) rows: Vec<UsageRow>,
}

impl UsageBody {
    pub(crate) fn of(mut rows: Vec<UsageRow>, caller: &Caller) -> Self {
        for row in &mut rows {
            let outer = row.meeting.as_ref().and_then(|id| MeetingId::new(caller.outer(id)?).ok());
            row.meeting = outer;
        }
        Self { rows }
    }
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenBody {
    /// To send as `Authorization: Bearer`, or as the parameter `token`.
    pub(crate) token: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires: Timestamp,
}
