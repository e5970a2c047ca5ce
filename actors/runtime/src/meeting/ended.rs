//! A meeting that has ended, as its handle reads it from the store.

use std::sync::Arc;

use teammy_kernel::{
    MeetingId, MeetingMetadata, Publish, PublishError, Seq, Store, Timestamp,
    graph::Graph,
    store::{self, DeadLetter, MeetingRecord},
};

use super::{
    committed_log::{CommittedLog, Packets},
    error::{Closed, Error},
    subscription::{Subscribe, Subscription},
    taps::Taps,
};

/// A meeting that has ended. It needs no actor: what is stored of it is all there is.
#[derive(Debug)]
pub(crate) struct EndedMeeting {
    metadata: MeetingMetadata,
    created: Option<Timestamp>,
    graph: Arc<Graph>,
    /// The largest payload, in bytes.
    packet_bytes: usize,
    committed_log: Arc<CommittedLog>,
}

impl EndedMeeting {
    pub(crate) fn new(
        row: MeetingRecord,
        graph: Arc<Graph>,
        store: Arc<dyn Store>,
        packet_bytes: usize,
    ) -> Self {
        // No packet is kept in memory.
        let committed_log = CommittedLog::new(row.metadata.id.clone(), store, row.last, 0);
        committed_log.close(Closed::Ended(row.metadata.id.clone()));
        let MeetingRecord { metadata, created, .. } = row;
        Self { metadata, created, graph, packet_bytes, committed_log: Arc::new(committed_log) }
    }

    pub(crate) fn metadata(&self) -> &MeetingMetadata {
        &self.metadata
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// The last seq.
    pub(crate) fn stored_up_to(&self) -> Seq {
        self.committed_log.stored_up_to()
    }

    fn id(&self) -> &MeetingId {
        &self.metadata.id
    }

    /// The error of everything that only a meeting can do that has not ended.
    pub(crate) fn ended(&self) -> Error {
        Error::Ended(self.id().clone())
    }

    /// The seq of a packet that the meeting has already. It accepts no other.
    pub(crate) async fn publish(&self, publish: &Publish) -> Result<Seq, PublishError> {
        self.graph.check_publish(publish, self.packet_bytes)?;
        let ended = || PublishError::Ended(self.id().clone());
        let producer = publish.producer.as_ref().ok_or_else(ended)?;
        match self.committed_log.numbered(producer.id.clone(), producer.number).await {
            Ok(original) => original.ok_or_else(ended),
            Err(cause) => Err(PublishError::Read { meeting: self.id().clone(), cause: Arc::new(cause) }),
        }
    }

    /// The seqs of packets that the meeting has already.
    pub(crate) async fn publish_all(&self, packets: &[Publish]) -> Result<Vec<Seq>, PublishError> {
        for packet in packets {
            self.graph.check_publish(packet, self.packet_bytes)?;
        }
        let mut seqs = Vec::with_capacity(packets.len());
        for packet in packets {
            seqs.push(self.publish(packet).await?);
        }
        Ok(seqs)
    }

    pub(crate) fn stored(&self, seq: Seq) -> Result<(), PublishError> {
        if seq <= self.committed_log.stored_up_to() {
            Ok(())
        } else {
            Err(PublishError::Ended(self.id().clone()))
        }
    }

    /// The number after the producer's last one.
    pub(crate) async fn expects(&self, producer: &str) -> Result<u64, Error> {
        let marks = self.committed_log.marks().await?;
        Ok(marks.iter().find(|mark| *mark.producer == *producer).map_or(1, |mark| mark.number + 1))
    }

    pub(crate) async fn numbered(
        &self,
        producer: Arc<str>,
        number: u64,
    ) -> Result<Option<Seq>, store::Error> {
        self.committed_log.numbered(producer, number).await
    }

    pub(crate) fn outputs_after(&self, seq: Seq) -> Packets {
        Packets::outputs(self.committed_log.clone(), self.graph.clone(), seq)
    }

    pub(crate) fn packets_after(&self, seq: Seq) -> Packets {
        Packets::new(self.committed_log.clone(), seq, |_| true)
    }

    pub(crate) fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, Error> {
        let taps = Arc::new(Taps::default());
        Subscription::new(self.id().clone(), &self.graph, &self.committed_log, taps, subscribe)
    }

    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        self.committed_log.dead_letters().await
    }
}
