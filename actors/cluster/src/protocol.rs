//! What nodes ask of each other, and what they answer: the bodies of calls.
//!
//! Variants are added at the end and never changed, so that adjacent versions understand each other; a node that gets one that it
//! does not know refuses the call.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    DataPacket, Name, Publish, Seq, Timestamp,
    log::JoinAt,
    store::Incarnation,
    wire::{self, Wire},
};
use teammy_runtime::meeting::{Delivered, Instruction, RemoteReceipt, Slow, StartAt, Subscribe};

use crate::failure::{MeetingFailure, NodeFailure, PublishFailure};

/// What is asked of a node. All but [`Drain`](Self::Drain) are about the call's meeting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Publish a packet, in its wire form; wait for room if `waits`.
    Publish { packet: Bytes, waits: bool },
    /// Publish packets in order, waiting for room.
    PublishAll { packets: Vec<Bytes> },
    /// Wait until everything up to a seq is stored.
    Stored { seq: Seq },
    /// Which number a producer is to publish next.
    Expects { producer: Arc<str> },
    /// The seq of a numbered packet.
    Numbered { producer: Arc<str>, number: u64 },
    /// Do something, and wait until it is done.
    Instruct(InstructionForm),
    /// The packets that instances gave up.
    DeadLetters,
    /// What the meeting has done.
    Stats,
    /// Packets of some sources, as a stream.
    Subscribe(SubscribeForm),
    /// Stored packets after a seq, then new ones, as a stream.
    Packets { is_outputs: bool, after: Seq },
    /// Resume it, or start it if it is new and `opening` is there.
    Run { opening: Option<Opening> },
    /// Whether it may be handed over to this node.
    Offer,
    /// Take it over: it has been passed on to this node.
    TakeOver,
    /// Hand it over to a node.
    HandOver { to: Incarnation },
    /// An operator's request about it, as JSON.
    Admin { request: String },
    /// Hand all meetings over, and take none.
    Drain,
    /// Take it over, as [`TakeOver`](Self::TakeOver), from a snapshot as JSON.
    TakeOverFrom { snapshot: String },
}

/// What a new meeting is started with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opening {
    /// Its metadata as JSON.
    pub(crate) metadata: String,
    pub(crate) instances: Vec<Name>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Receipts(Vec<ReceiptForm>),
    Number(u64),
    Seq(Option<Seq>),
    Json(String),
    /// The meeting runs here now.
    Runs(Ran),
    /// A stream is open; how far the meeting was stored then.
    Streams {
        stored: Seq,
    },
    /// The meeting does not run here. Nothing was done.
    NotHere,
    /// Another node owns the meeting. Nothing was done.
    OwnedBy(Incarnation),
    /// This node takes no meeting now. Nothing was done.
    Full(String),
    NotPublished(PublishFailure),
    Failed(MeetingFailure),
    NodeFailed(NodeFailure),
    /// The call could not be read. Nothing was done.
    Unread(String),
}

/// How a meeting came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ran {
    Started,
    Resumed,
    Already,
    HasEnded,
}

/// An item of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// A packet in its wire form, and how many were lost before it.
    Packet { packet: Bytes, gap: u64 },
    /// The stream ends with an error.
    Failed(MeetingFailure),
    /// The meeting has ended, and the stream with it.
    End,
}

impl Wire for Ask {
    const VERSION: u8 = 1;

    fn size_hint(&self) -> usize {
        match self {
            Self::Publish { packet, .. } => 4 + 8 + packet.len() + 1,
            Self::PublishAll { packets } => {
                4 + 8 + packets.iter().map(|packet| 8 + packet.len()).sum::<usize>()
            }
            _ => 64,
        }
    }
}

impl Wire for Answer {
    const VERSION: u8 = 1;
}

impl Wire for Item {
    const VERSION: u8 = 1;

    fn size_hint(&self) -> usize {
        match self {
            Self::Packet { packet, .. } => 4 + 8 + packet.len() + 8,
            _ => 64,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReceiptForm {
    seq: Seq,
    volatile: Option<Name>,
    is_repeat: bool,
}

impl From<RemoteReceipt> for ReceiptForm {
    fn from(receipt: RemoteReceipt) -> Self {
        Self { seq: receipt.seq, volatile: receipt.volatile, is_repeat: receipt.is_repeat }
    }
}

impl From<ReceiptForm> for RemoteReceipt {
    fn from(receipt: ReceiptForm) -> Self {
        Self { seq: receipt.seq, volatile: receipt.volatile, is_repeat: receipt.is_repeat }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InstructionForm {
    Assign { instance: String, from_start: bool },
    Unassign { instance: String },
    ResumeInstance { instance: String },
    End,
    CatchUp,
    HoldClock { micros: i64 },
}

impl From<Instruction> for InstructionForm {
    fn from(instruction: Instruction) -> Self {
        match instruction {
            Instruction::Assign { instance, at } => {
                Self::Assign { instance, from_start: at == JoinAt::Start }
            }
            Instruction::Unassign { instance } => Self::Unassign { instance },
            Instruction::ResumeInstance { instance } => Self::ResumeInstance { instance },
            Instruction::End => Self::End,
            Instruction::CatchUp => Self::CatchUp,
            Instruction::HoldClock { at } => Self::HoldClock { micros: at.as_microsecond() },
        }
    }
}

impl From<InstructionForm> for Instruction {
    fn from(form: InstructionForm) -> Self {
        match form {
            InstructionForm::Assign { instance, from_start } => {
                Self::Assign { instance, at: if from_start { JoinAt::Start } else { JoinAt::Now } }
            }
            InstructionForm::Unassign { instance } => Self::Unassign { instance },
            InstructionForm::ResumeInstance { instance } => Self::ResumeInstance { instance },
            InstructionForm::End => Self::End,
            InstructionForm::CatchUp => Self::CatchUp,
            InstructionForm::HoldClock { micros } => {
                Self::HoldClock { at: Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX) }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscribeForm {
    sources: Vec<String>,
    from: FromForm,
    buffer_bytes: u64,
    slow: SlowForm,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum FromForm {
    Now,
    Start,
    After(Seq),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum SlowForm {
    DropOldest,
    Latest(String),
    End,
}

impl From<&Subscribe> for SubscribeForm {
    fn from(subscribe: &Subscribe) -> Self {
        Self {
            sources: subscribe.sources.clone(),
            from: match subscribe.from {
                StartAt::Start => FromForm::Start,
                StartAt::After(seq) => FromForm::After(seq),
                _ => FromForm::Now,
            },
            buffer_bytes: subscribe.buffer_bytes as u64,
            slow: match &subscribe.slow {
                Slow::Latest(key) => SlowForm::Latest(key.to_string()),
                Slow::End => SlowForm::End,
                _ => SlowForm::DropOldest,
            },
        }
    }
}

impl SubscribeForm {
    pub(crate) fn into_subscribe(self) -> Subscribe {
        let from = match self.from {
            FromForm::Now => StartAt::Now,
            FromForm::Start => StartAt::Start,
            FromForm::After(seq) => StartAt::After(seq),
        };
        let slow = match self.slow {
            // A key that this version cannot read: losing the oldest is what is left.
            SlowForm::Latest(key) => key.parse().map_or(Slow::DropOldest, Slow::Latest),
            SlowForm::End => Slow::End,
            SlowForm::DropOldest => Slow::DropOldest,
        };
        let bytes = usize::try_from(self.buffer_bytes).unwrap_or(usize::MAX);
        Subscribe::to(self.sources).from(from).buffer_bytes(bytes).slow(slow)
    }
}

/// The body of a call or an answer.
pub(crate) fn encode<T: Wire>(value: &T) -> Result<Bytes, wire::Error> {
    wire::encode(value).map(Bytes::from)
}

pub(crate) fn packet(publish: &Publish) -> Result<Bytes, wire::Error> {
    encode(publish)
}

impl Item {
    pub(crate) fn of(delivered: &Delivered) -> Result<Self, wire::Error> {
        Ok(Self::Packet { packet: encode(&*delivered.packet)?, gap: delivered.gap })
    }

    pub(crate) fn delivered(packet: &Bytes, gap: u64) -> Result<Delivered, wire::Error> {
        Ok(Delivered::new(Arc::new(wire::decode::<DataPacket>(packet)?), gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
        assert_eq!(&wire::decode::<T>(&encode(value).unwrap()).unwrap(), value);
    }

    #[test]
    fn what_is_asked_and_answered_comes_out_as_it_went_in() {
        let subscribe = Subscribe::to(["chat", "audio"]).from(StartAt::After(Seq(7))).buffer_bytes(9);
        let subscribe = subscribe.slow(Slow::Latest("participant".parse().unwrap()));
        assert_eq!(SubscribeForm::from(&subscribe).into_subscribe(), subscribe);
        for instruction in [
            Instruction::Assign { instance: "i".into(), at: JoinAt::Start },
            Instruction::Unassign { instance: "i".into() },
            Instruction::End,
            Instruction::HoldClock { at: "2026-01-02T03:04:05.678901Z".parse().unwrap() },
        ] {
            assert_eq!(Instruction::from(InstructionForm::from(instruction.clone())), instruction);
        }
        is_same(&Ask::Subscribe(SubscribeForm::from(&subscribe)));
        is_same(&Ask::Publish { packet: Bytes::from_static(b"packet"), waits: true });
        is_same(&Answer::Receipts(vec![ReceiptForm { seq: Seq(3), volatile: None, is_repeat: true }]));
        is_same(&Item::Packet { packet: Bytes::from_static(b"packet"), gap: 2 });
    }

    #[test]
    fn what_carries_packets_is_written_without_a_second_allocation() {
        let packet = Bytes::from_static(b"packet");
        for ask in [
            Ask::Publish { packet: packet.clone(), waits: true },
            Ask::PublishAll { packets: vec![packet.clone(), packet.clone()] },
        ] {
            assert_eq!(ask.size_hint(), encode(&ask).unwrap().len() - 1);
        }
        let item = Item::Packet { packet, gap: 2 };
        assert_eq!(item.size_hint(), encode(&item).unwrap().len() - 1);
    }

    #[test]
    fn the_layout_is_the_one_that_other_versions_read() {
        let publish = Ask::Publish { packet: Bytes::from_static(b"ab"), waits: true };
        assert_eq!(encode(&publish).unwrap()[..], *b"\x01\0\0\0\0\x02\0\0\0\0\0\0\0ab\x01");
        assert_eq!(encode(&Ask::Drain).unwrap()[..], *b"\x01\x0f\0\0\0");
        let take_over = Ask::TakeOverFrom { snapshot: "{}".to_owned() };
        assert_eq!(encode(&take_over).unwrap()[..], *b"\x01\x10\0\0\0\x02\0\0\0\0\0\0\0{}");
        assert_eq!(encode(&Answer::NotHere).unwrap()[..], *b"\x01\x07\0\0\0");
        assert_eq!(encode(&Item::End).unwrap()[..], *b"\x01\x02\0\0\0");
    }
}
