//! The description of the API, made of the routes and the bodies.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, RefOr, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{all_events, events, meetings, node, packets, publish, ws};
use crate::{bodies::PacketBody, problem::Problem};

#[derive(OpenApi)]
#[openapi(
    info(title = "Teammy", description = "The network API of a node that hosts in-call plugins of online meetings."),
    paths(
        meetings::open, meetings::list, meetings::show, meetings::forget, meetings::end, meetings::token,
        meetings::assign, meetings::unassign, meetings::resume_instance, meetings::dead_letters, meetings::redrive,
        publish::publish, packets::history, events::events, ws::open, all_events::get, all_events::post,
        node::plugins, node::usage, node::status, node::metrics, node::live, node::ready,
    ),
    components(schemas(Problem, PacketBody)),
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

static TEXT: LazyLock<String> = LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());

/// The description, in OpenAPI 3.1.
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
