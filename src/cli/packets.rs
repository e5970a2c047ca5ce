//! Reads a meeting's stored packets: from the database, or through the node that holds it.

use std::sync::Arc;

use teammy::{
    DataPacket, MeetingId, Store,
    admin::{Request, Response},
    control::Client,
    store::{PacketQuery, Take},
};
use tokio::sync::Mutex;

use super::{client, error::Error};

/// How many packets are read from the database at once.
const PAGE: usize = 256;

/// Where a meeting's stored packets are read from.
pub(super) enum PacketReader<'a> {
    Store(&'a dyn Store),
    Node(Mutex<Client>),
}

/// From which end of the log a page is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Oldest,
    Newest,
}

/// Some of the packets that match a query, oldest first.
pub(super) struct Page {
    pub(super) packets: Vec<Arc<DataPacket>>,
    /// Whether no other packet matches.
    pub(super) is_last: bool,
}

impl PacketReader<'_> {
    /// The first packets that match a query, or the last.
    pub(super) async fn page(&self, id: &MeetingId, query: PacketQuery, from: From) -> Result<Page, Error> {
        let take = if from == From::Newest { Take::Last(PAGE) } else { Take::First(PAGE) };
        match self {
            Self::Store(store) => {
                let packets = store.packets(id.clone(), query.take(take)).await?;
                Ok(Page { is_last: packets.len() < PAGE, packets })
            }
            Self::Node(client) => {
                let take = if from == From::Newest { Take::Last(usize::MAX) } else { Take::All };
                let request = Request::History { meeting: id.clone(), query: query.take(take) };
                let mut client = client.lock().await;
                match client::ask(&mut client, id, request).await? {
                    Response::History(page) => Ok(Page { packets: page.packets, is_last: page.is_last }),
                    _ => Err(client.unexpected().into()),
                }
            }
        }
    }
}
