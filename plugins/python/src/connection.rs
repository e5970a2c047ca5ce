//! The connection to a host: calls that are under way, and what is written and read.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::{
    net::UnixStream,
    sync::{Notify, mpsc, oneshot},
    time::{Duration, Instant},
};

use crate::{
    frame::{self, Blobs, Decoder},
    logs::HostLog,
    protocol::{Asked, CallId, EndedHook, FromHost, HookError, ToHost},
};

/// What a call is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// These hooks have ended well; their values are in the blobs.
    Ended(Vec<EndedHook>, Blobs),
    /// The next hook has failed.
    Failed(HookError),
    /// A hook asks for something.
    Ask { ask: u64, what: Asked, blobs: Blobs },
    /// The process has ended.
    Gone(Gone),
}

/// The process has ended.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    /// Why.
    pub(crate) why: Arc<str>,
    /// Whether this call's hook had the thread at that moment.
    pub(crate) is_culprit: bool,
}

/// A call that is not over.
struct Slot {
    /// Whom to tell; none once it is cancelled.
    events: Option<mpsc::UnboundedSender<Event>>,
    /// How many of its hooks have not ended.
    left: usize,
    cancelled_at: Option<Instant>,
}

#[derive(Default)]
struct Calls {
    last: CallId,
    slots: HashMap<CallId, Slot>,
    gone: Option<Arc<str>>,
}

/// The connection to a host.
pub(crate) struct Connection {
    stream: UnixStream,
    /// What could not be written at once.
    pending: Mutex<BytesMut>,
    has_pending: Notify,
    calls: Mutex<Calls>,
    /// Where the answer to a request about the plugin goes.
    request: Mutex<Option<oneshot::Sender<FromHost>>>,
    /// Whether the host has sent anything since this was last looked at.
    was_heard: AtomicBool,
    /// Whether the plugin has shut down, which its process' end follows.
    has_stopped: AtomicBool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("it closed the connection")]
    Closed,
    #[error("it sent what is not of the protocol: {0}")]
    Protocol(&'static str),
    #[error("it sent {0}")]
    Frame(#[from] frame::Error),
    #[error("reading from it failed: {0}")]
    Io(#[from] io::Error),
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Arc<Self> {
        Arc::new(Self {
            stream,
            pending: Mutex::default(),
            has_pending: Notify::new(),
            calls: Mutex::default(),
            request: Mutex::default(),
            was_heard: AtomicBool::new(true),
            has_stopped: AtomicBool::new(false),
        })
    }

    /// Sends a message. It is written at once if there is room, and else by [`write`](Self::write). What is sent to
    /// a host that has ended is dropped.
    pub(crate) fn send(&self, message: &ToHost<'_>, blobs: &[&[u8]]) -> Result<(), frame::Error> {
        let frame = frame::encode(message, blobs)?;
        let mut pending = self.pending.lock();
        let written = if pending.is_empty() { self.stream.try_write(&frame).unwrap_or(0) } else { 0 };
        if written < frame.len() {
            pending.extend_from_slice(&frame[written..]);
            self.has_pending.notify_one();
        }
        Ok(())
    }

    /// Writes what could not be written at once, for as long as the connection lasts.
    pub(crate) async fn write(&self) -> io::Error {
        loop {
            self.has_pending.notified().await;
            while !self.pending.lock().is_empty() {
                if let Err(error) = self.stream.writable().await {
                    return error;
                }
                let mut pending = self.pending.lock();
                match self.stream.try_write(&pending) {
                    Ok(written) => pending.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return error,
                }
            }
        }
    }

    /// Reads what the host says and hands it on, until the connection ends.
    pub(crate) async fn read(&self, log: &HostLog) -> Broken {
        let mut decoder = Decoder::default();
        loop {
            match decoder.next::<FromHost>() {
                Ok(Some((message, blobs))) => {
                    if let Err(broken) = self.take(message, blobs, log) {
                        return broken;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => return error.into(),
            }
            if let Err(error) = self.stream.readable().await {
                return error.into();
            }
            decoder.buffer.reserve(16 << 10);
            match self.stream.try_read_buf(&mut decoder.buffer) {
                Ok(0) => return Broken::Closed,
                Ok(_) => self.was_heard.store(true, Ordering::Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Whether the host has sent anything since the last time that this was asked.
    pub(crate) fn was_heard(&self) -> bool {
        self.was_heard.swap(false, Ordering::Relaxed)
    }

    /// Whether the plugin has shut down.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }

    fn take(&self, message: FromHost, mut blobs: Blobs, log: &HostLog) -> Result<(), Broken> {
        match message {
            FromHost::Ended { call, hooks } => {
                let mut calls = self.calls.lock();
                let Some(slot) = calls.slots.get_mut(&call) else { return Ok(()) };
                let Some(left) = slot.left.checked_sub(hooks.len()).filter(|_| !hooks.is_empty()) else {
                    return Err(Broken::Protocol("the end of a hook that did not run"));
                };
                slot.left = left;
                tell(slot, Event::Ended(hooks, blobs));
                if left == 0 {
                    calls.slots.remove(&call);
                }
            }
            FromHost::Failed { call, error } => {
                if let Some(slot) = self.calls.lock().slots.remove(&call) {
                    tell(&slot, Event::Failed(error));
                }
            }
            FromHost::Cancelled { call } => {
                if let Some(slot) = self.calls.lock().slots.remove(&call)
                    && slot.events.is_some()
                {
                    return Err(Broken::Protocol("the end of a call that was not cancelled"));
                }
            }
            FromHost::Ask { call, ask, what } => {
                if let Some(slot) = self.calls.lock().slots.get(&call) {
                    tell(slot, Event::Ask { ask, what, blobs });
                }
            }
            FromHost::Log { level, meeting, logger } => {
                log.record(level, meeting.as_deref(), &logger, &blobs.next_text()?);
            }
            FromHost::Pong {} => {}
            answer @ (FromHost::Loaded { .. }
            | FromHost::Refused(_)
            | FromHost::Installed {}
            | FromHost::Started { .. }
            | FromHost::Stopped {}) => match self.request.lock().take() {
                // Whoever asked may have given up.
                Some(waiting) => drop(waiting.send(answer)),
                None => return Err(Broken::Protocol("an answer that nobody asked for")),
            },
        }
        Ok(())
    }

    /// Runs `on_shutdown`, after which the process ends.
    pub(crate) async fn shut_down(&self, call: CallId) -> Option<FromHost> {
        self.has_stopped.store(true, Ordering::Relaxed);
        self.request(&ToHost::Shutdown { call }).await
    }

    /// Sends a request about the plugin and waits for its answer; none if the host ends before. There is one such
    /// request at a time.
    pub(crate) async fn request(&self, message: &ToHost<'_>) -> Option<FromHost> {
        let (waiting, answer) = oneshot::channel();
        *self.request.lock() = Some(waiting);
        self.send(message, &[]).ok()?;
        answer.await.ok()
    }

    /// Begins a call of so many hooks.
    pub(crate) fn begin(self: &Arc<Self>, hooks: usize) -> Result<OpenCall, Gone> {
        let mut calls = self.calls.lock();
        if let Some(why) = &calls.gone {
            return Err(Gone { why: why.clone(), is_culprit: false });
        }
        calls.last += 1;
        let id = calls.last;
        let (sender, events) = mpsc::unbounded_channel();
        calls.slots.insert(id, Slot { events: Some(sender), left: hooks, cancelled_at: None });
        Ok(OpenCall { id, events, connection: self.clone() })
    }

    /// Whether a call has not ended within `stall` of being cancelled.
    pub(crate) fn is_overdue(&self, stall: Duration) -> bool {
        let is_late = |slot: &Slot| slot.cancelled_at.is_some_and(|at| at.elapsed() > stall);
        self.calls.lock().slots.values().any(is_late)
    }

    /// The process has ended: all calls are told, the culprit's that it was that one.
    pub(crate) fn ended(&self, why: &Arc<str>, culprit: CallId) {
        let mut calls = self.calls.lock();
        calls.gone = Some(why.clone());
        for (id, slot) in calls.slots.drain() {
            tell(&slot, Event::Gone(Gone { why: why.clone(), is_culprit: id == culprit }));
        }
        drop(calls);
        self.request.lock().take();
    }

    fn cancel(&self, id: CallId) {
        if let Some(slot) = self.calls.lock().slots.get_mut(&id) {
            slot.events = None;
            slot.cancelled_at = Some(Instant::now());
        } else {
            return;
        }
        // A host that has ended needs no word.
        let _ = self.send(&ToHost::Cancel { call: id }, &[]);
    }
}

/// Tells a call. One that is dropped has cancelled itself.
fn tell(slot: &Slot, event: Event) {
    if let Some(events) = &slot.events {
        let _ = events.send(event);
    }
}

/// A call. One that is dropped before it is over is cancelled.
pub(crate) struct OpenCall {
    pub(crate) id: CallId,
    events: mpsc::UnboundedReceiver<Event>,
    pub(crate) connection: Arc<Connection>,
}

impl OpenCall {
    /// What happens next. After a call's end nothing does, which is [`Gone`].
    pub(crate) async fn next(&mut self) -> Event {
        self.events
            .recv()
            .await
            .unwrap_or_else(|| Event::Gone(Gone { why: "the call is over".into(), is_culprit: false }))
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.connection.cancel(self.id);
    }
}
