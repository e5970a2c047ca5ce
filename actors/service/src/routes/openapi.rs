//! The description of the API, made of the routes and the bodies.

use std::sync::{Arc, OnceLock};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde_json::{Value, json};
use teammy_kernel::{Durability, Name, Producer, graph::Graph};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, RefOr, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{all_events, events, meetings, node, packets, producers, publish, ws};
use crate::{
    bodies::{PacketBody, PublishBody},
    problem::Problem,
    shared::Shared,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Teammy", description = "The network API of a node that hosts in-call plugins of online meetings."),
    paths(
        meetings::open, meetings::list, meetings::show, meetings::forget, meetings::end, meetings::token,
        meetings::assign, meetings::unassign, meetings::resume_instance, meetings::dead_letters, meetings::redrive,
        publish::publish, packets::history, producers::show, events::events, ws::open, all_events::get, all_events::post,
        node::plugins, node::usage, node::status, node::metrics, node::live, node::ready,
    ),
    components(schemas(Problem, PacketBody, PublishBody)),
    security(("key" = [])),
    modifiers(&Common)
)]
struct Description;

/// What all routes have in common: a key, and problems.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = &mut api.components {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
                "`tmy_…`, or a token `tmt_…`, which is also taken as the parameter `token`; not asked for while there is no key",
            ));
            components.add_security_scheme("key", SecurityScheme::Http(scheme.build()));
        }
        let problem = ResponseBuilder::new().description("a problem (RFC 9457)").content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(utoipa::openapi::Ref::from_schema_name("Problem"))).build(),
        );
        let problem = problem.build();
        for path in api.paths.paths.values_mut() {
            let operations =
                [&mut path.get, &mut path.post, &mut path.put, &mut path.delete].into_iter().flatten();
            for operation in operations {
                operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.clone()));
            }
        }
    }
}

/// The description as it is sent.
struct Document {
    text: Bytes,
    /// Of this text, so that whoever has it need not get it again (RFC 9110, 8.8.3).
    tag: HeaderValue,
}

impl Document {
    fn of(graph: &Graph) -> Self {
        let mut description = json!(Description::openapi());
        refine(&mut description, graph);
        let text = description.to_string();
        let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32]);
        let tag = HeaderValue::from_str(&tag).expect("invariant: hex digits in quotes");
        Self { text: text.into(), tag }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
        let about = [(header::ETAG, self.tag.clone()), (header::CACHE_CONTROL, REVALIDATED)];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, [(header::CONTENT_TYPE, "application/json")], self.text.clone()).into_response()
    }

    /// Whether `If-None-Match` has the tag.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let mut tags = tags.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == "*" || tag.as_bytes() == self.tag.as_bytes())
    }
}

/// The description, in OpenAPI 3.1. It is made once: all that it holds is fixed when the node starts.
pub(super) fn route() -> MethodRouter<Shared> {
    let document = Arc::new(OnceLock::new());
    get(|State(shared): State<Shared>, headers: HeaderMap| async move {
        document.get_or_init(|| Document::of(shared.node.graph())).answer(&headers)
    })
}

/// A meeting's id: no control characters, and no space at its ends.
const ID: &str = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f])?$";
/// A traceparent as most programs write it. The ids are never all zeros; that their last digits are not either leaves some out.
const TRACEPARENT: &str = "^00-[0-9a-f]{31}[1-9a-f]-[0-9a-f]{15}[1-9a-f]-[0-9a-f]{2}$";
const SEQ: &str = "^[0-9]{1,18}$";

/// Says what the types do not: which parameters have which form, and what this node's configuration has.
fn refine(description: &mut Value, graph: &Graph) {
    let time = || json!({"type": "string", "format": "date-time"});
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let names = |names: &mut dyn Iterator<Item = String>| json!({"type": "string", "enum": names.collect::<Vec<_>>()});
    let instances = names(&mut graph.instances().map(|instance| instance.name.to_string()));
    let is_external = |name: &&Name| graph.source(name.as_str()).is_some_and(|source| source.is_external);
    let is_volatile = |name: &&Name| graph.durability(name.as_str()) == Some(Durability::Volatile);
    let volatile: Vec<String> =
        graph.sources().filter(is_external).filter(is_volatile).map(ToString::to_string).collect();
    let external = names(&mut graph.sources().filter(is_external).map(ToString::to_string));
    let id = json!({"type": "string", "minLength": 1, "maxLength": 190, "pattern": ID});
    let each = |schema: Value| json!({"type": "array", "items": schema});
    let Some(paths) = description["paths"].as_object_mut() else { return };
    for (path, operations) in paths.iter_mut() {
        let of_all = path == "/v1/events";
        let operations =
            operations.as_object_mut().into_iter().flat_map(|operations| operations.values_mut());
        for parameter in
            operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten()
        {
            let schema = match parameter["name"].as_str().unwrap_or_default() {
                "meeting" => id.clone(),
                "instance" => instances.clone(),
                "producer" => json!({"type": "string", "minLength": 1, "maxLength": Producer::MAX_ID_BYTES}),
                "status" => each(json!({"type": "string", "enum": ["running", "ending", "ended"]})),
                "label" => each(text("^[^:]*:")),
                "from" if path.ends_with("{instance}") => json!({"type": "string", "enum": ["now", "start"]}),
                "from" | "to" | "since" => time(),
                "after" if of_all => each(text(r"^[a-z0-9]+:[0-9]{1,18}(\.[0-9]{1,18})?$")),
                "after" if path == "/v1/meetings" => text("^(-|20[0-9]{2}-01-0[1-9]T00:00:00Z)/[a-z0-9]+$"),
                "after" | "Last-Event-ID" => text(SEQ),
                "sources" => text("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(,[A-Za-z0-9][A-Za-z0-9._-]{0,63}){0,9}$"),
                "limit" => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
                _ => continue,
            };
            parameter["schema"] = schema;
        }
    }
    let schemas = &mut description["components"]["schemas"];
    schemas["Opening"]["properties"]["id"] = json!({"anyOf": [{"type": "null"}, id]});
    schemas["Opening"]["properties"]["plugins"] = each(instances);
    schemas["PublishBody"]["properties"]["source"] = external;
    schemas["PublishBody"]["properties"]["traceparent"] =
        json!({"anyOf": [{"type": "null"}, text(TRACEPARENT)]});
    schemas["PublishBody"]["oneOf"] =
        ["payload", "payload_text", "payload_base64"].map(|one| json!({"required": [one]})).into();
    if !volatile.is_empty() {
        // Their packets cannot be numbered.
        schemas["PublishBody"]["not"] = json!({
            "required": ["producer", "source"],
            "properties": {"source": {"enum": volatile}, "producer": {"type": "object"}},
        });
    }
    for body in ["PublishBody", "ProducerBody", "Opening", "Ending", "TokenWish", "AllWanted"] {
        schemas[body]["additionalProperties"] = false.into();
    }
    schemas["PublishBody"]["properties"]["payload_text"] = json!({"type": "string"});
    schemas["PublishBody"]["properties"]["payload_base64"] =
        json!({"type": "string", "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"});
}
