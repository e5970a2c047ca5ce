//! What is stored of a meeting, page by page.

use axum::{Json, extract::State};
use teammy_kernel::{
    Seq,
    store::{PacketQuery, Take},
};
use teammy_runtime::Node;

use crate::{
    access::Caller,
    bodies::PacketsBody,
    params::{Id, Params},
    problem::Problem,
    shared::Shared,
};

/// Packets after a seq, the oldest first. `next` is the `after` of the next page; without it there is none yet.
#[utoipa::path(get, path = "/v1/meetings/{meeting}/packets", tag = "packets", operation_id = "history",
    params(("meeting" = String, Path),
        ("after" = Option<String>, Query, description = "only packets after this seq"),
        ("sources" = Option<String>, Query, description = "only these sources, with commas between them"),
        ("limit" = Option<u32>, Query, description = "the most packets of the page")),
    responses((status = 200, description = "a page", body = PacketsBody)))]
pub(crate) async fn history(
    State(shared): State<Shared>,
    caller: Caller,
    Id(id): Id,
    mut params: Params,
) -> Result<Json<PacketsBody>, Problem> {
    let after = params.seq("after")?.unwrap_or(Seq::ZERO);
    let sources = params.sources()?;
    let limit = params.limit()?.unwrap_or(usize::MAX);
    params.end()?;
    let mut query = PacketQuery::range(after.next(), Seq::MAX).take(Take::First(limit.max(1)));
    query.sources = sources;
    let page = Node::history(&shared.node, &id, query).await?;
    let is_cut = !page.is_last || page.packets.len() >= limit;
    let next = page.packets.last().filter(|_| is_cut).map(|last| last.seq.to_string());
    let packets = page.packets.iter().map(|packet| caller.packet(packet)).collect();
    Ok(Json(PacketsBody { packets, next }))
}
