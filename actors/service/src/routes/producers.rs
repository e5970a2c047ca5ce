//! How far a producer is in a meeting: a program that comes back without its numbers asks for the next one.

use axum::Json;
use teammy_kernel::{Producer, PublishError};

use crate::{
    bodies::ProducerPlaceBody,
    params::{Meeting, Params, ProducerId},
    problem::Problem,
};

/// Shows which number the meeting accepts next of a producer, and the seq of the packet before.
#[utoipa::path(get, path = "/v1/meetings/{meeting}/producers/{producer}", tag = "packets", operation_id = "showProducer",
    params(("meeting" = String, Path), ("producer" = String, Path, description = "the `id` of its packets' `producer`"),
        ("durable" = Option<bool>, Query, description = "answers once the packet before is stored")),
    responses((status = 200, description = "how far it is", body = ProducerPlaceBody)))]
pub(crate) async fn show(
    Meeting(meeting): Meeting,
    ProducerId(producer): ProducerId,
    mut params: Params,
) -> Result<Json<ProducerPlaceBody>, Problem> {
    let durable = params.flag("durable")?;
    params.end()?;
    if producer.is_empty() || producer.len() > Producer::MAX_ID_BYTES {
        return Err(PublishError::BadNumber.into());
    }
    let next = meeting.expects(&producer).await?;
    let last_seq = match next.checked_sub(1).filter(|last| *last > 0) {
        Some(last) => meeting.numbered(&producer, last).await?,
        None => None,
    };
    if durable && let Some(seq) = last_seq {
        meeting.stored(seq).await?;
    }
    let last_seq = last_seq.map(|seq| seq.to_string());
    Ok(Json(ProducerPlaceBody { producer, next: next.to_string(), last_seq }))
}
