//! The gateway: the one actor of a node that other nodes can send to.
//!
//! A cast does not say on which session it came, and each gateway of a process can be reached on each session. So a frame carries
//! the token that its receiver chose for the connection and told nobody else.

use std::{
    collections::HashMap,
    fmt,
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use ractor::{
    Actor, ActorProcessingErr, ActorRef, Message,
    message::{BoxedDowncastErr, SerializedMessage},
};
use socket2::Socket;
use tokio::sync::mpsc;

use crate::transport::{Closed, FrameSender, MAX_FRAME};

/// How many bytes a token has.
pub(super) const TOKEN: usize = 16;

/// The name of frames on the wire.
const FRAME: &str = "frame";

/// What frames of one connection carry in one direction, so that nobody else can send such.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Token([u8; TOKEN]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A token that nobody can guess.
    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(super) fn of(bytes: [u8; TOKEN]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(self) -> [u8; TOKEN] {
        self.0
    }
}

/// A frame for the gateway's node.
#[derive(Debug)]
pub(super) struct Frame {
    token: Token,
    body: Bytes,
}

impl Message for Frame {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        Ok(SerializedMessage::Cast {
            variant: FRAME.to_owned(),
            args: self.body.into(),
            metadata: Some(self.token.0.to_vec()),
        })
    }

    /// Anything else is an error, and the actor's runtime drops it.
    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        match message {
            SerializedMessage::Cast { variant, args, metadata: Some(token) } if variant == FRAME => {
                let token = Token(token.try_into().map_err(|_| BoxedDowncastErr)?);
                Ok(Self { token, body: args.into() })
            }
            _ => Err(BoxedDowncastErr),
        }
    }
}

#[derive(Debug)]
struct Entry {
    frames: mpsc::UnboundedSender<Bytes>,
    wire: Arc<Wire>,
}

/// The connections of a node, by the tokens that its peers send with.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// None once the transport is closed.
    entries: Mutex<Option<HashMap<Token, Entry>>>,
}

impl Table {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { entries: Mutex::new(Some(HashMap::new())) })
    }

    /// Adds a connection over this socket. Dropping the first half of the answer closes it; the frames that arrive come from the
    /// second.
    pub(super) fn add(
        self: &Arc<Self>,
        token: Token,
        socket: Socket,
    ) -> Result<(WireGuard, mpsc::UnboundedReceiver<Bytes>), Closed> {
        let (frames, receiver) = mpsc::unbounded_channel();
        let wire = Arc::new(Wire { token, table: self.clone(), socket, is_closed: AtomicBool::new(false) });
        let mut entries = self.entries.lock();
        entries.as_mut().ok_or(Closed)?.insert(token, Entry { frames, wire: wire.clone() });
        Ok((WireGuard(wire), receiver))
    }

    /// Closes all connections, and those to come.
    pub(super) fn close(&self) {
        let entries = self.entries.lock().take();
        for entry in entries.into_iter().flat_map(HashMap::into_values) {
            entry.wire.close();
        }
    }

    fn deliver(&self, frame: Frame) {
        let entries = self.entries.lock();
        if let Some(entry) = entries.as_ref().and_then(|entries| entries.get(&frame.token)) {
            // A receiver that is gone is about to close its connection.
            let _ = entry.frames.send(frame.body);
        }
    }

    fn remove(&self, token: Token) {
        let removed = self.entries.lock().as_mut().and_then(|entries| entries.remove(&token));
        drop(removed);
    }
}

/// What a connection is over. Once its socket is shut down, all actors over it end on their own, which cleans up after them;
/// actors that are stopped from outside would not.
#[derive(Debug)]
pub(super) struct Wire {
    token: Token,
    table: Arc<Table>,
    socket: Socket,
    is_closed: AtomicBool,
}

impl Wire {
    /// Ends the connection: no frame comes or goes any more.
    pub(super) fn close(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            self.table.remove(self.token);
            // It fails if the other side has closed it, too.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

/// Closes a connection when it is dropped.
#[derive(Debug)]
pub(super) struct WireGuard(Arc<Wire>);

impl WireGuard {
    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.0
    }
}

impl Drop for WireGuard {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Sends frames to the gateway of a peer, on one session.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) gateway: ActorRef<Frame>,
    pub(super) token: Token,
    pub(super) guard: WireGuard,
}

impl FrameSender for Frames {
    fn send(&self, frame: Bytes) -> Result<(), Closed> {
        // The peer would end the whole session for a frame that is much larger.
        debug_assert!(frame.len() <= MAX_FRAME, "the link cuts messages");
        if frame.len() > MAX_FRAME {
            self.guard.0.close();
        }
        if self.guard.0.is_closed.load(Ordering::Acquire) {
            return Err(Closed);
        }
        self.gateway.send_message(Frame { token: self.token, body: frame }).map_err(|_| Closed)
    }
}

/// The actor.
pub(super) struct Gateway;

impl Actor for Gateway {
    type Msg = Frame;
    type State = Arc<Table>;
    type Arguments = Arc<Table>;

    async fn pre_start(
        &self,
        _: ActorRef<Frame>,
        table: Arc<Table>,
    ) -> Result<Arc<Table>, ActorProcessingErr> {
        Ok(table)
    }

    async fn handle(
        &self,
        _: ActorRef<Frame>,
        frame: Frame,
        table: &mut Arc<Table>,
    ) -> Result<(), ActorProcessingErr> {
        table.deliver(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_frame_is_an_error_and_not_a_panic() {
        let cast = |variant: &str, metadata: Option<Vec<u8>>| {
            Frame::deserialize(SerializedMessage::Cast {
                variant: variant.to_owned(),
                args: vec![1],
                metadata,
            })
        };
        assert_eq!(&cast("frame", Some(vec![7; TOKEN])).unwrap().body[..], [1]);
        assert!(cast("frame", None).is_err());
        assert!(cast("frame", Some(vec![7; TOKEN + 1])).is_err());
        assert!(cast("other", Some(vec![7; TOKEN])).is_err());
        assert!(Frame::deserialize(SerializedMessage::CallReply(1, vec![])).is_err());
    }

    #[tokio::test]
    async fn frames_go_where_their_token_says_and_nowhere_else() {
        let socket = || Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let table = Table::new();
        let (first, second) = (Token([1; TOKEN]), Token([2; TOKEN]));
        let (guard, mut frames) = table.add(first, socket()).unwrap();
        let (_other_guard, mut other) = table.add(second, socket()).unwrap();
        for (token, body) in [(Token([3; TOKEN]), "nobody"), (second, "second"), (first, "first")] {
            table.deliver(Frame { token, body: body.into() });
        }
        assert_eq!(frames.recv().await.unwrap(), "first");
        assert_eq!(other.recv().await.unwrap(), "second");
        drop(guard);
        assert_eq!(frames.recv().await, None);
        table.close();
        assert_eq!(other.recv().await, None);
        assert_eq!(table.add(first, socket()).unwrap_err(), Closed);
    }

    #[test]
    fn frames_on_the_wire_stay_as_they_are() {
        let frame = Frame { token: Token([7; TOKEN]), body: Bytes::from_static(b"body") };
        let Ok(SerializedMessage::Cast { variant, args, metadata }) = frame.serialize() else {
            panic!("no cast")
        };
        assert_eq!((variant.as_str(), &args[..], metadata), ("frame", &b"body"[..], Some(vec![7; 16])));
    }
}
