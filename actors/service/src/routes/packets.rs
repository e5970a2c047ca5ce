//! What is stored of a meeting, page by page.

use axum::{Json, extract::State};
use serde_json::{Value, json};
use teammy_kernel::{
    Seq,
    store::{PacketQuery, Take},
};
use teammy_runtime::Node;

use crate::{
    params::{Id, Params},
    problem::Problem,
    shared::Shared,
};

/// Packets after a seq, the oldest first. `next` is the `after` of the next page; without it there is none yet.
pub(super) async fn history(
    State(shared): State<Shared>,
    Id(id): Id,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let after = params.seq("after")?.unwrap_or(Seq::ZERO);
    let sources = params.sources()?;
    let limit: usize = params.one("limit", "a number")?.unwrap_or(usize::MAX);
    params.end()?;
    let mut query = PacketQuery::range(after.next(), Seq::MAX).take(Take::First(limit.max(1)));
    query.sources = sources;
    let page = Node::history(&shared.node, &id, query).await?;
    let is_cut = !page.is_last || page.packets.len() >= limit;
    let next = page.packets.last().filter(|_| is_cut).map(|last| last.seq.to_string());
    Ok(Json(json!({"packets": page.packets, "next": next})))
}
