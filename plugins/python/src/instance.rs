//! A started plugin: runs hooks in its process, and makes what they did their effects.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::value::RawValue;
use teammy_kernel::{
    DataPacket, Error, Payload, ShutdownCx,
    plugin::{DynamicCx, DynamicInstance, DynamicRun, Hook},
};
use tokio::sync::Semaphore;

use crate::{
    asks::Source,
    connection::{Event, Gone, OpenCall},
    frame::{self, Blobs},
    host::{Host, Running},
    protocol::{EndedHook, Kind, Meeting, MeetingEvent, Packet, ToHost, packet},
};

/// The most packets of a call.
const PACKETS: usize = 64;
/// The payloads of a call, in bytes; more only if its first packet is larger.
const BYTES: usize = 1 << 20;
/// What all calls may hold that are under way, in MiB; a call counts one, and its payloads.
const ROOM: usize = 64;
/// How often hooks are sent to a new process because another hook ended theirs. One more time, and they are taken for the cause.
const INTERRUPTIONS: u32 = 5;

/// What goes wrong between a node and a plugin's process while a hook runs.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the plugin's process {0} while this hook ran")]
    Ended(Arc<str>),
    #[error("the plugin's process {0}, as those before it")]
    EndedAgain(Arc<str>),
    #[error("the plugin's process sent what is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("the plugin's process sent less than it said")]
    Blobs(#[from] frame::Error),
    #[error("the plugin has no hook for ticks")]
    Ticks,
}

/// A plugin that a node has started.
pub(crate) struct Instance {
    host: Host,
    room: Semaphore,
}

/// Hooks that run one after the other, each on one packet.
trait Steps: Send {
    /// Begins the next hook; false if there is none.
    fn begin(&mut self) -> bool;
    /// The packets whose hooks have not ended.
    fn left(&self) -> &[Arc<DataPacket>];
    /// The context of the hook that has begun.
    fn with_cx<T>(&mut self, act: impl FnOnce(&mut DynamicCx<'_>) -> T) -> T;
    /// The hook that has begun ended well.
    fn end(&mut self, output: Option<Payload>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// One hook, on the newest packet of its context.
struct Once<'a, 'b> {
    cx: &'a mut DynamicCx<'b>,
    output: Option<Payload>,
    is_done: bool,
}

impl<'a, 'b> Once<'a, 'b> {
    fn new(cx: &'a mut DynamicCx<'b>) -> Self {
        Self { cx, output: None, is_done: false }
    }
}

impl Steps for Once<'_, '_> {
    fn begin(&mut self) -> bool {
        !self.is_done
    }

    fn left(&self) -> &[Arc<DataPacket>] {
        let packets = self.cx.packets();
        &packets[packets.len() - 1..]
    }

    fn with_cx<T>(&mut self, act: impl FnOnce(&mut DynamicCx<'_>) -> T) -> T {
        act(self.cx)
    }

    async fn end(&mut self, output: Option<Payload>) -> Result<(), Error> {
        self.output = output;
        self.is_done = true;
        Ok(())
    }
}

/// Hooks on packets that have queued up.
struct Each<'a, 'b>(&'a mut DynamicRun<'b>);

impl Steps for Each<'_, '_> {
    fn begin(&mut self) -> bool {
        self.0.begin().is_some()
    }

    fn left(&self) -> &[Arc<DataPacket>] {
        self.0.left()
    }

    fn with_cx<T>(&mut self, act: impl FnOnce(&mut DynamicCx<'_>) -> T) -> T {
        act(self.0.cx())
    }

    async fn end(&mut self, output: Option<Payload>) -> Result<(), Error> {
        self.0.end(output).await
    }
}

/// What a call runs.
#[derive(Clone, Copy)]
enum What<'a> {
    /// The hook of a source.
    Hook(&'a str),
    Meeting(MeetingEvent),
}

/// How a call ended.
enum CallEnd {
    /// Its hooks have ended well.
    Done,
    /// The run is over before its packets are.
    Stopped,
    /// Its process has ended, and not because of it.
    Interrupted(Arc<str>),
    /// Its process has ended because of one of its hooks, and which one is not known: the ends of those before it may be
    /// lost with the process.
    Crashed,
}

impl Instance {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, room: Semaphore::new(ROOM) }
    }

    /// Runs hooks until none is left or one fails.
    async fn run(&self, what: What<'_>, steps: &mut impl Steps) -> Result<(), Error> {
        let mut interruptions = 0;
        let mut ended = 0;
        let mut most = PACKETS;
        if !steps.begin() {
            return Ok(());
        }
        loop {
            let running = self.host.running().await.map_err(Error::crash)?;
            let before = ended;
            match self.call(&running, what, steps, most, &mut ended).await? {
                CallEnd::Done if !steps.left().is_empty() => {
                    if !steps.begin() {
                        return Ok(());
                    }
                }
                CallEnd::Done | CallEnd::Stopped => return Ok(()),
                // One by one, only the bad one fails.
                CallEnd::Crashed => most = 1,
                CallEnd::Interrupted(why) => {
                    interruptions = if ended > before { 1 } else { interruptions + 1 };
                    if interruptions > INTERRUPTIONS {
                        return Err(Error::crash(Unfit::EndedAgain(why)));
                    }
                }
            }
        }
    }

    /// Runs as many hooks as a call takes, the first of which has begun. Counts those that ended.
    async fn call(
        &self,
        running: &Running,
        what: What<'_>,
        steps: &mut impl Steps,
        most: usize,
        ended: &mut usize,
    ) -> Result<CallEnd, Error> {
        let (hooks, bytes) = match what {
            What::Hook(_) => size(steps.left(), most),
            What::Meeting(_) => (1, 0),
        };
        let permits = u32::try_from((1 + (bytes >> 20)).min(ROOM)).unwrap_or(1);
        let _room = self.room.acquire_many(permits).await;
        let mut call = match running.connection.begin(hooks) {
            Ok(call) => call,
            Err(Gone { why, .. }) => return Ok(CallEnd::Interrupted(why)),
        };
        // What is too large for a frame is so at each try.
        send(&call, running, what, steps, hooks).map_err(Error::reject)?;
        let mut asks = FuturesUnordered::new();
        let mut left = hooks;
        loop {
            let event = tokio::select! {
                event = call.next() => event,
                Some(()) = asks.next() => continue,
            };
            match event {
                Event::Ended(ended_hooks, mut blobs) => {
                    for hook in ended_hooks {
                        let output = steps.with_cx(|cx| effects(cx, &hook, &mut blobs))?;
                        steps.end(output).await?;
                        *ended += 1;
                        left -= 1;
                        if left > 0 && !steps.begin() {
                            return Ok(CallEnd::Stopped);
                        }
                    }
                    if left == 0 {
                        return Ok(CallEnd::Done);
                    }
                }
                Event::Failed(error) if error.reject => return Err(Error::reject(error)),
                Event::Failed(error) => return Err(Error::retry(error)),
                Event::Ask { ask, what, blobs } => {
                    let source =
                        steps.with_cx(|cx| Source::Engine(cx.engine().clone(), cx.instance().clone()));
                    asks.push(source.answer(call.connection.clone(), ask, what, blobs));
                }
                Event::Gone(Gone { is_culprit: true, .. }) if left > 1 => return Ok(CallEnd::Crashed),
                Event::Gone(Gone { why, is_culprit: true }) => return Err(Error::crash(Unfit::Ended(why))),
                Event::Gone(Gone { why, is_culprit: false }) => return Ok(CallEnd::Interrupted(why)),
            }
        }
    }
}

/// How many packets a call takes, which are `most` at most, and the bytes of their payloads.
fn size(packets: &[Arc<DataPacket>], most: usize) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for packet in packets.iter().take(most) {
        let with = bytes + packet.payload.len();
        if count > 0 && with > BYTES {
            break;
        }
        (count, bytes) = (count + 1, with);
    }
    (count, bytes)
}

/// Sends a call.
fn send(
    call: &OpenCall,
    running: &Running,
    what: What<'_>,
    steps: &mut impl Steps,
    hooks: usize,
) -> Result<(), frame::Error> {
    let source = match what {
        What::Hook(source) => source,
        What::Meeting(event) => {
            return steps.with_cx(|cx| {
                let meeting = Meeting { id: cx.meeting().id.as_str() };
                call.connection.send(&ToHost::Meeting { call: call.id, meeting, event }, &[])
            });
        }
    };
    let takes_state = running.takes_state(source);
    // The context borrows the steps, so what is sent of it is copied.
    let (meeting, attempt, state) = steps.with_cx(|cx| {
        let state = takes_state.then(|| cx.state().to_owned());
        (cx.meeting().id.clone(), cx.attempt(), state)
    });
    let mut blobs: Vec<&[u8]> = Vec::with_capacity(hooks + 1);
    blobs.extend(state.as_ref().map(String::as_bytes));
    let (packets, payloads): (Vec<Packet<'_>>, Vec<&[u8]>) =
        steps.left()[..hooks].iter().map(|it| packet(it)).unzip();
    blobs.extend(payloads);
    let meeting = Meeting { id: meeting.as_str() };
    let run = ToHost::Run { call: call.id, meeting, hook: source, attempt, state: takes_state, packets };
    call.connection.send(&run, &blobs)
}

/// Makes what a hook did its effects; returns its output.
fn effects(cx: &mut DynamicCx<'_>, hook: &EndedHook, blobs: &mut Blobs) -> Result<Option<Payload>, Error> {
    let unfit = |error: frame::Error| Error::retry(Unfit::from(error));
    let json = |blobs: &mut Blobs| {
        let text = blobs.next_text().map_err(unfit)?;
        RawValue::from_string(text).map_err(|error| Error::retry(Unfit::Json(error)))
    };
    for key in &hook.keys {
        let value = json(blobs)?;
        // A limit that it passes it passes at each try.
        cx.engine().datastore().set(key, &value).map_err(Error::reject)?;
    }
    let output = match hook.output {
        None => None,
        Some(Kind::Json) => {
            let text = blobs.next_text().map_err(unfit)?;
            Some(Payload::json_text(text).map_err(Error::reject)?)
        }
        Some(Kind::Text) => Some(Payload::Text(blobs.next_text().map_err(unfit)?.into())),
        // Copied, so that it does not keep the whole frame.
        Some(Kind::Bytes) => Some(Payload::Bytes(Bytes::copy_from_slice(&blobs.next().map_err(unfit)?))),
    };
    if hook.state {
        cx.set_state(json(blobs)?);
    }
    Ok(output)
}

/// The source of a hook.
fn source(hook: &Hook) -> Result<&str, Error> {
    match hook {
        Hook::Source { source, .. } => Ok(source.as_str()),
        _ => Err(Error::reject(Unfit::Ticks)),
    }
}

impl DynamicInstance for Instance {
    async fn receive(&self, hook: &Hook, cx: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
        let mut once = Once::new(cx);
        self.run(What::Hook(source(hook)?), &mut once).await?;
        Ok(once.output)
    }

    async fn receive_each(&self, hook: &Hook, run: &mut DynamicRun<'_>) -> Result<(), Error> {
        self.run(What::Hook(source(hook)?), &mut Each(run)).await
    }

    async fn on_meeting_start(&self, cx: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
        self.run(What::Meeting(MeetingEvent::Start), &mut Once::new(cx)).await?;
        Ok(None)
    }

    async fn on_meeting_end(&self, cx: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
        self.run(What::Meeting(MeetingEvent::End), &mut Once::new(cx)).await?;
        Ok(None)
    }

    async fn on_shutdown(&self, cx: &ShutdownCx) -> Result<(), Error> {
        let llm = cx.llm().clone();
        let serve = async move |mut call: OpenCall| {
            let mut asks = FuturesUnordered::new();
            loop {
                tokio::select! {
                    event = call.next() => match event {
                        Event::Ask { ask, what, blobs } => {
                            asks.push(Source::Models(llm.clone()).answer(call.connection.clone(), ask, what, blobs));
                        }
                        Event::Ended(..) => {}
                        Event::Failed(_) | Event::Gone(_) => return,
                    },
                    Some(()) = asks.next() => {}
                }
            }
        };
        self.host.shutdown(serve).await.map_err(Error::retry)
    }
}

#[cfg(test)]
mod tests {
    use teammy_kernel::{MeetingId, Publish, Timestamp};

    use super::*;

    fn packets(sizes: &[usize]) -> Vec<Arc<DataPacket>> {
        let packet = |size: &usize| {
            let publish = Publish::text("chat", "x".repeat(*size)).unwrap();
            let id = MeetingId::new("m").unwrap();
            Arc::new(publish.into_packet(id, teammy_kernel::Seq(1), Timestamp::UNIX_EPOCH))
        };
        sizes.iter().map(packet).collect()
    }

    #[test]
    fn a_call_is_bounded_and_takes_at_least_one_packet() {
        assert_eq!(size(&packets(&[1; 100]), PACKETS), (PACKETS, PACKETS));
        assert_eq!(size(&packets(&[1; 100]), 1), (1, 1));
        assert_eq!(size(&packets(&[BYTES - 1, 1, 1]), PACKETS), (2, BYTES));
        assert_eq!(size(&packets(&[3 * BYTES, 1]), PACKETS), (1, 3 * BYTES));
    }
}
