//! One connection: the [rules](State), who waits for what, and the half that sends.
//!
//! All of it is behind one lock that nobody holds while waiting. Sending does not wait, so callers send their calls themselves,
//! and the connection's task only reads frames and keeps time.

mod asking;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use teammy_kernel::store::Incarnation;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    handler::Call,
    link::{
        fault::CallError,
        outbox::Asked,
        settings::LinkSettings,
        state::{Broken, Event, State, Traffic},
        stream::{Delivery, Reader, Source},
    },
    transport::FrameSender,
};

/// Frames that arrive.
pub(crate) type Frames = mpsc::UnboundedReceiver<Bytes>;

/// What a caller gets: a body, and items if it opened a stream.
pub(crate) type Reply = (Bytes, Option<Reader>);

/// Wakes what sends a stream to the peer.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The reader may have room.
    pub(crate) room: Notify,
    /// The reader wants no more, or cannot be reached.
    pub(crate) cancelled: Notify,
}

/// Who waits on a connection.
#[derive(Default)]
struct Waiting {
    callers: HashMap<u64, oneshot::Sender<Result<Reply, CallError>>>,
    readers: HashMap<u64, mpsc::UnboundedSender<Delivery>>,
    writers: HashMap<u64, Arc<Signals>>,
}

struct Inner {
    state: State,
    /// None once the connection has ended.
    sender: Option<Box<dyn FrameSender>>,
    broken: Option<Broken>,
    waiting: Waiting,
}

/// A call of the peer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) call: Call,
    pub(crate) asked: Asked,
    /// What is given back once it is in its handler's hands.
    pub(crate) cost: usize,
    pub(crate) signals: Arc<Signals>,
}

/// See the module.
pub(crate) struct Session {
    peer: Incarnation,
    /// Whether this node made the connection.
    pub(crate) is_dialled: bool,
    inner: Mutex<Inner>,
    /// Wakes the task when the connection has ended here.
    ended: Notify,
    /// Wakes whoever waits until no call is under way.
    moved: Notify,
    /// Wakes calls of the peer that wait until fewer replies wait.
    room: Notify,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Session {
    /// A connection that was just made, by this node or the other.
    pub(crate) fn new(
        me: &Incarnation,
        peer: Incarnation,
        sender: Box<dyn FrameSender>,
        settings: &LinkSettings,
        is_dialled: bool,
    ) -> Arc<Self> {
        let state = State::new(me.clone(), settings.clone(), Instant::now());
        let inner = Inner { state, sender: Some(sender), broken: None, waiting: Waiting::default() };
        Arc::new(Self {
            peer,
            is_dialled,
            inner: Mutex::new(inner),
            ended: Notify::new(),
            moved: Notify::new(),
            room: Notify::new(),
        })
    }

    /// Introduces this node to the peer.
    pub(crate) fn greet(&self) {
        self.change(State::greet);
    }

    /// Waits for the peer to introduce itself.
    pub(crate) async fn greeted(&self, frames: &mut Frames) -> Result<Incarnation, Broken> {
        let mut events = Vec::new();
        loop {
            self.next(frames, &mut events).await?;
            if let Some(Event::Greeted(peer)) = events.pop() {
                return Ok(peer);
            }
        }
    }

    /// Takes frames until the connection ends, and says why it did.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut frames: Frames,
        mut serve: impl FnMut(Request) + Send,
    ) -> Broken {
        let mut events = Vec::new();
        loop {
            if let Err(reason) = self.next(&mut frames, &mut events).await {
                // The peer should know what it did wrong.
                self.close(&reason);
                return self.broken().unwrap_or(reason);
            }
            for event in events.drain(..) {
                if let Some(request) = self.happened(event) {
                    serve(request);
                }
            }
        }
    }

    /// Takes a frame, or does what is due.
    async fn next(&self, frames: &mut Frames, events: &mut Vec<Event>) -> Result<(), Broken> {
        let deadline = self.inner.lock().state.deadline();
        // Frames come first: after a pause of this process those that wait show that the peer lives.
        let frame = tokio::select! {
            biased;
            () = self.ended.notified() => return Err(self.broken().unwrap_or_else(|| "it was closed".into())),
            frame = frames.recv() => Some(frame.ok_or_else(|| Broken::from("the connection ended"))?),
            () = sleep_until(deadline) => None,
        };
        let now = Instant::now();
        let mut inner = self.inner.lock();
        if let Some(frame) = frame {
            inner.state.receive(&frame, now, events)?;
        }
        if now >= deadline {
            inner.state.tick(now)?;
        }
        let flushed = inner.flush();
        self.moved(&mut inner);
        flushed
    }

    /// Tells who waits for it what came, or hands it on.
    fn happened(self: &Arc<Self>, event: Event) -> Option<Request> {
        match event {
            Event::Greeted(_) => {}
            Event::Asked { id, call, asked, cost } => {
                let signals = Arc::new(Signals::default());
                if asked == Asked::Open {
                    self.inner.lock().waiting.writers.insert(id, Arc::clone(&signals));
                }
                return Some(Request { id, call, asked, cost, signals });
            }
            Event::Answered { call, body } => {
                let caller = self.inner.lock().waiting.callers.remove(&call);
                let reply = body.map(|body| (body, None)).ok_or_else(|| self.unknown("it has no answer"));
                // A caller may have gone.
                let _ = caller.map(|caller| caller.send(reply));
            }
            Event::Opened { call, body, has_items } => {
                let mut inner = self.inner.lock();
                let caller = inner.waiting.callers.remove(&call);
                let reader = has_items.then(|| {
                    let (sender, items) = mpsc::unbounded_channel();
                    inner.waiting.readers.insert(call, sender);
                    Reader::new(Arc::clone(self) as _, call, items)
                });
                drop(inner);
                // Without a caller the reader is dropped, which cancels the stream.
                let _ = caller.map(|caller| caller.send(Ok((body, reader))));
            }
            Event::Item { stream, body } => {
                if let Some(reader) = self.inner.lock().waiting.readers.get(&stream) {
                    let _ = reader.send(Ok(body));
                }
            }
            Event::Ended { stream, has_failed } => {
                let reader = self.inner.lock().waiting.readers.remove(&stream);
                if let Some(reader) = reader
                    && has_failed
                {
                    let _ = reader.send(Err(self.unknown("the stream failed there")));
                }
            }
            Event::HasRoom { stream } => {
                if let Some(signals) = self.inner.lock().waiting.writers.get(&stream) {
                    signals.room.notify_one();
                }
            }
            Event::Cancelled { stream } => {
                if let Some(signals) = self.inner.lock().waiting.writers.get(&stream) {
                    signals.cancelled.notify_one();
                }
            }
        }
        None
    }

    /// Changes the state, and sends what is to be sent then; nothing once the connection has ended.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> Option<R> {
        let mut inner = self.inner.lock();
        inner.sender.as_ref()?;
        let done = change(&mut inner.state);
        if inner.flush().is_err() {
            // The task sees the connection's end when it has taken the frames that came before it.
            inner.sender = None;
        }
        self.moved(&mut inner);
        Some(done)
    }

    /// Wakes whoever waits for what may have changed.
    fn moved(&self, inner: &mut Inner) {
        self.moved.notify_waiters();
        if inner.state.room_again() {
            self.room.notify_waiters();
            inner.waiting.writers.values().for_each(|signals| signals.room.notify_one());
        }
    }

    /// Waits while too many replies wait for the peer; false if the connection has ended.
    pub(crate) async fn has_room(&self) -> bool {
        loop {
            let room = self.room.notified();
            {
                let mut inner = self.inner.lock();
                if inner.broken.is_some() {
                    return false;
                }
                if inner.state.has_room() {
                    return true;
                }
            }
            room.await;
        }
    }

    /// A call of the peer is in its handler's hands.
    pub(crate) fn taken(&self, cost: usize) {
        self.change(|state| state.taken(cost));
    }

    /// Answers a call of the peer; no body if there is no answer.
    pub(crate) fn answer(&self, call: u64, body: Option<Bytes>) {
        self.change(|state| state.answer(call, body));
        self.inner.lock().waiting.writers.remove(&call);
    }

    /// Answers a call of the peer that opens a stream; false if there is nobody to send items to.
    pub(crate) fn opened(&self, call: u64, body: Bytes, has_items: bool) -> bool {
        let is_open = self.change(|state| state.opened(call, body, has_items)).unwrap_or(false);
        if !is_open {
            self.inner.lock().waiting.writers.remove(&call);
        }
        is_open
    }

    /// Sends an item; gives it back while the reader has no room, or too much waits for the peer.
    pub(crate) fn item(&self, stream: u64, body: Bytes) -> Option<Bytes> {
        self.change(|state| state.item(stream, body)).flatten()
    }

    /// Ends a stream.
    pub(crate) fn end(&self, stream: u64, has_failed: bool) {
        self.change(|state| state.end(stream, has_failed));
        self.inner.lock().waiting.writers.remove(&stream);
    }

    /// The largest body of a message.
    pub(crate) fn largest_body(&self) -> usize {
        self.inner.lock().state.largest_body()
    }

    /// Whether calls can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.lock().sender.is_some()
    }

    /// Why the connection ended, if it did.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.inner.lock().broken.clone()
    }

    /// Waits until no call is under way in either direction, or the connection has ended.
    pub(crate) async fn idle(&self) {
        loop {
            let moved = self.moved.notified();
            {
                let inner = self.inner.lock();
                if inner.broken.is_some() || inner.state.is_idle() {
                    return;
                }
            }
            moved.await;
        }
    }

    /// Ends the connection, with a word to the peer, and tells everybody who waits for it.
    pub(crate) fn close(&self, reason: &str) {
        let mut inner = self.inner.lock();
        if inner.broken.is_some() {
            return;
        }
        let reason = Broken::from(reason);
        inner.broken = Some(Arc::clone(&reason));
        if let Some(sender) = inner.sender.take() {
            let _ = sender.send(inner.state.last_frame(&reason));
        }
        let Waiting { callers, readers, writers } = std::mem::take(&mut inner.waiting);
        let callers: Vec<_> =
            callers.into_iter().map(|(id, caller)| (inner.state.is_waiting(id), caller)).collect();
        drop(inner);
        for (is_waiting, caller) in callers {
            let error = if is_waiting { self.not_sent(&reason) } else { self.unknown(&reason) };
            let _ = caller.send(Err(error));
        }
        for reader in readers.into_values() {
            let _ = reader.send(Err(self.unknown(&reason)));
        }
        for signals in writers.into_values() {
            signals.cancelled.notify_one();
        }
        self.moved.notify_waiters();
        self.room.notify_waiters();
        self.ended.notify_one();
    }

    fn unknown(&self, reason: &str) -> CallError {
        CallError::Unknown { peer: self.peer.clone(), reason: reason.into() }
    }

    fn not_sent(&self, reason: &str) -> CallError {
        CallError::NotSent { peer: self.peer.clone(), reason: reason.into() }
    }

    /// What people and metrics want to know.
    pub(crate) fn figures(&self, now: Instant) -> Figures {
        let inner = self.inner.lock();
        Figures {
            silence: inner.state.silence(now),
            round_trip: inner.state.round_trip(),
            under_way: inner.state.under_way(),
            waiting: inner.state.waiting(),
            traffic: inner.state.traffic(),
        }
    }
}

impl Source for Session {
    fn read(&self, stream: u64, bytes: usize) {
        self.change(|state| state.read(stream, bytes));
    }

    fn cancel(&self, stream: u64) {
        self.inner.lock().waiting.readers.remove(&stream);
        self.change(|state| state.cancel(stream));
    }
}

/// See [`Session::figures`].
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) silence: Duration,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) under_way: usize,
    pub(crate) waiting: usize,
    pub(crate) traffic: Traffic,
}

impl Inner {
    /// Sends all that may be sent.
    fn flush(&mut self) -> Result<(), Broken> {
        let Some(sender) = &self.sender else { return Ok(()) };
        while let Some(frame) = self.state.next_frame() {
            sender.send(frame).map_err(|closed| Broken::from(closed.to_string()))?;
        }
        Ok(())
    }
}
