//! What a reader of a meeting gets, whatever carries it: packets from a place on, gaps, and why it is over.

use std::sync::Arc;

use axum::http::StatusCode;
use futures::{Stream, StreamExt, future, stream::BoxStream};
use teammy_kernel::{DataPacket, Durability, Name, Seq, chain, graph::Graph};
use teammy_runtime::{
    MeetingRef, Node,
    meeting::{self, Delivered, ReadBudget, StartAt, Subscribe},
};

use crate::{access::Caller, problem::Problem};

/// What a reader wants of a meeting.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Only these sources; without it all that are stored.
    pub(crate) sources: Option<Vec<Name>>,
    /// Only what plugins put out.
    pub(crate) outputs_only: bool,
    /// How many bytes of packets of sources that are not stored may wait for the reader.
    pub(crate) buffer_bytes: usize,
    /// What it may hold together with the reader's other meetings.
    pub(crate) budget: Option<ReadBudget>,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Item {
    /// A packet.
    Packet {
        packet: Arc<DataPacket>,
        /// Whether the reader can come back to this place: the packet is stored.
        is_stored: bool,
    },
    /// So many packets of sources that are not stored were dropped, because the reader was too slow.
    Gap(u64),
    /// The meeting has ended, and this was all.
    End,
    /// It cannot be read further now.
    Broken(String),
}

/// Whether there are these sources.
pub(crate) fn check_sources(graph: &Graph, sources: &[Name]) -> Result<(), Problem> {
    let Some(unknown) = sources.iter().find(|name| graph.source(name.as_str()).is_none()) else {
        return Ok(());
    };
    let suggestion = graph.closest_source(unknown.as_str()).cloned();
    let error = meeting::Error::UnknownSource { source_name: unknown.to_string(), suggestion };
    // A parameter names what is not there, and not the path.
    Err(Problem::from(error).with_status(StatusCode::UNPROCESSABLE_ENTITY))
}

/// A meeting's packets after a seq. The last item is [`Item::End`] or [`Item::Broken`].
pub(crate) async fn follow(
    node: &Node,
    meeting: &MeetingRef,
    after: Seq,
    wanted: Wanted,
    caller: Caller,
) -> Result<BoxStream<'static, Item>, Problem> {
    let Wanted { sources, outputs_only, buffer_bytes, budget } = wanted;
    if let Some(sources) = &sources {
        check_sources(node.graph(), sources)?;
    }
    let items: BoxStream<'static, Result<Delivered, meeting::Error>> = match sources {
        Some(sources) if !outputs_only => {
            let names = sources.iter().map(Name::as_str);
            let mut subscribe = Subscribe::to(names).from(StartAt::After(after)).buffer_bytes(buffer_bytes);
            subscribe.budget = budget;
            let subscribed = meeting.subscribe(subscribe).await?;
            subscribed.boxed()
        }
        sources => {
            let packets =
                if outputs_only { meeting.outputs_after(after) } else { meeting.packets_after(after) };
            let packets = match &budget {
                Some(budget) => packets.within(budget),
                None => packets,
            };
            let is_wanted = move |packet: &Arc<DataPacket>| {
                sources.as_ref().is_none_or(|sources| sources.contains(&packet.source))
            };
            packets
                .filter(move |item| future::ready(item.as_ref().map_or(true, &is_wanted)))
                .map(|item| item.map(|packet| Delivered::new(packet, 0)))
                .boxed()
        }
    };
    let graph = node.graph();
    let is_volatile = |name: &&Name| {
        graph.source(name.as_str()).is_some_and(|view| view.durability == Durability::Volatile)
    };
    let volatile: Vec<Name> = graph.sources().filter(is_volatile).cloned().collect();
    Ok(as_items(items, volatile, caller).boxed())
}

fn as_items(
    delivered: impl Stream<Item = Result<Delivered, meeting::Error>> + Send + 'static,
    volatile: Vec<Name>,
    caller: Caller,
) -> impl Stream<Item = Item> + Send + 'static {
    let ended = futures::stream::once(future::ready(None));
    delivered
        .map(Some)
        .chain(ended)
        .flat_map(move |delivered| {
            let items = match delivered {
                Some(Ok(Delivered { packet, gap, .. })) => {
                    let gap = (gap > 0).then_some(Item::Gap(gap));
                    let is_stored = !volatile.contains(&packet.source);
                    let packet = Item::Packet { packet: caller.packet(&packet), is_stored };
                    gap.into_iter().chain([packet]).collect::<Vec<_>>()
                }
                Some(Err(error)) => vec![Item::Broken(caller.text(chain(&error)))],
                None => vec![Item::End],
            };
            futures::stream::iter(items)
        })
        .scan(false, |is_over, item| {
            if *is_over {
                return future::ready(None);
            }
            *is_over = matches!(item, Item::End | Item::Broken(_));
            future::ready(Some(item))
        })
}
