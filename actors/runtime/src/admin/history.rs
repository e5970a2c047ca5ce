//! A meeting's stored packets, page by page.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use teammy_kernel::{
    DataPacket, MeetingId,
    store::{PacketQuery, Take},
};

use super::error::Error;
use crate::node::{self, Node};

/// Stored packets that match a query, or some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The packets, oldest first.
    pub packets: Vec<Arc<DataPacket>>,
    /// Whether no other packet matches, except those that the query's [`Take`] leaves out.
    pub is_last: bool,
}

impl HistoryPage {
    /// The most packets of a page.
    pub const MAX_PACKETS: usize = 64;
    /// A page ends with the packet that takes it over this many bytes.
    pub const MAX_BYTES: usize = 8 << 20;
}

impl Node {
    /// Stored packets of a meeting, whether this node runs it or not. Returns a page: the oldest ones that
    /// match, or with [`Take::Last`] the newest ones. To go on, ask for what is after the last packet of the
    /// page, or with [`Take::Last`] before its first.
    ///
    /// # Errors
    /// [`Error::NoMeeting`]; [`Error::Node`] if the store failed.
    pub async fn history(&self, id: &MeetingId, query: PacketQuery) -> Result<HistoryPage, Error> {
        if self.store().meeting(id.clone()).await.map_err(node::Error::Store)?.is_none() {
            return Err(Error::NoMeeting(id.clone()));
        }
        let is_newest = matches!(query.take, Take::Last(_));
        let asked = match query.take {
            Take::All => usize::MAX,
            Take::First(count) | Take::Last(count) => count,
        };
        // One more than a page holds tells whether there is another.
        let count = asked.min(HistoryPage::MAX_PACKETS + 1);
        let query = query.take(if is_newest { Take::Last(count) } else { Take::First(count) });
        let found = self.store().packets(id.clone(), query).await.map_err(node::Error::Store)?;
        Ok(page(found, is_newest))
    }
}

/// The first packets that fit on a page, or the last.
fn page(mut packets: Vec<Arc<DataPacket>>, is_newest: bool) -> HistoryPage {
    let found = packets.len();
    if is_newest {
        packets.reverse();
    }
    let mut bytes = 0;
    let fitting = packets.iter().take(HistoryPage::MAX_PACKETS).take_while(|packet| {
        let fits = bytes < HistoryPage::MAX_BYTES;
        bytes += packet.payload.len();
        fits
    });
    let fitting = fitting.count();
    packets.truncate(fitting);
    if is_newest {
        packets.reverse();
    }
    HistoryPage { packets, is_last: fitting == found }
}

#[cfg(test)]
mod tests {
    use teammy_kernel::{Payload, Publish, Seq, Timestamp};

    use super::*;

    fn packets(count: u64, bytes: usize) -> Vec<Arc<DataPacket>> {
        let packet = |seq| {
            let publish = Publish::new("audio", Payload::Bytes(vec![0; bytes].into())).unwrap();
            let meeting = MeetingId::new("m").unwrap();
            Arc::new(publish.into_packet(meeting, Seq(seq), Timestamp::UNIX_EPOCH))
        };
        (1..=count).map(packet).collect()
    }

    fn seqs(page: &HistoryPage) -> (u64, u64, bool) {
        (page.packets[0].seq.0, page.packets[page.packets.len() - 1].seq.0, page.is_last)
    }

    #[test]
    fn a_page_is_bounded_in_packets_and_in_bytes_from_either_end() {
        assert_eq!(seqs(&page(packets(64, 1), false)), (1, 64, true));
        assert_eq!(seqs(&page(packets(65, 1), false)), (1, 64, false));
        assert_eq!(seqs(&page(packets(65, 1), true)), (2, 65, false));
        let mib = 1 << 20;
        assert_eq!(seqs(&page(packets(20, mib), false)), (1, 8, false));
        assert_eq!(seqs(&page(packets(20, mib), true)), (13, 20, false));
        assert_eq!(seqs(&page(packets(1, 20 * mib), true)), (1, 1, true), "a packet always fits");
        assert_eq!(page(Vec::new(), false), HistoryPage { packets: Vec::new(), is_last: true });
    }
}
