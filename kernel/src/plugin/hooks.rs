//! The table of a plugin's hooks.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};

use super::{
    Batch, Cx, DeliveryPolicy, InCallPlugin, Receive, Tick,
    observer::{HookObserver, Pace, ended},
};
use crate::{DataPacket, Error, FromPacket, Name, name};

/// A hook's place in its plugin's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId(pub(super) usize);

/// A hook as the runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hook {
    /// Takes packets of a source.
    Source {
        /// The source, as the plugin declares it; the configuration may map it to another.
        source: Name,
        /// The most packets that one call takes: 1, or a batch's bound.
        max: usize,
    },
    /// Is called once in a while.
    Every(Duration),
}

/// The outcome of a call: the output, and the packets of a batch that did not decode (by their index in it).
pub(super) struct HookOutcome<O> {
    pub(super) output: Option<O>,
    pub(super) rejected: Vec<(usize, Error)>,
}

pub(super) trait ErasedHook<P: InCallPlugin>: Send + Sync {
    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        keep: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>>;

    /// Runs once for each packet, as one future: what a call costs beside the hook is paid once for all of
    /// them.
    fn each<'a>(
        &'a self,
        plugin: &'a P,
        mut cx: Cx<'a, P>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            for packet in cx.packets.chunks(1) {
                observer.begins(&packet[0]);
                let before = cx.state.clone();
                let mut keep = Vec::new();
                let mut one = Cx { packets: packet, gap: cx.gap, state: cx.state, ..cx };
                let mut called = self.call(plugin, &mut one, &mut keep).await?;
                cx.state = one.state;
                cx.gap = 0;
                if let Some((_, error)) = called.rejected.pop() {
                    return Err(error);
                }
                let pace = ended(observer, &packet[0], &before, &cx.state, called.output)?;
                if pace == Pace::Yield {
                    pause(observer).await;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// Lets others have their turn.
async fn pause(observer: &dyn HookObserver) {
    tokio::task::yield_now().await;
    observer.resumes();
}

struct One<T>(PhantomData<fn(T)>);
struct Many<T>(PhantomData<fn(T)>);
struct OnTick;

impl<O> HookOutcome<O> {
    fn all(output: Option<O>) -> Self {
        Self { output, rejected: Vec::new() }
    }
}

impl<P: Receive<T>, T: FromPacket> ErasedHook<P> for One<T> {
    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        _: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>> {
        async move {
            let data = match cx.packets {
                [packet] => T::from_packet(packet)?,
                _ => unreachable!("invariant: a hook for single packets gets one"),
            };
            plugin.receive(data, cx).await.map(HookOutcome::all)
        }
        .boxed()
    }

    fn each<'a>(
        &'a self,
        plugin: &'a P,
        mut cx: Cx<'a, P>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let mut before = cx.state.clone();
            for packet in cx.packets.chunks(1) {
                observer.begins(&packet[0]);
                cx.packets = packet;
                let data = T::from_packet(&packet[0])?;
                let output = plugin.receive(data, &mut cx).await?;
                cx.gap = 0;
                let pace = ended(observer, &packet[0], &before, &cx.state, output)?;
                if pace == Pace::Yield {
                    pause(observer).await;
                }
                if !Arc::ptr_eq(&before, &cx.state) {
                    before = cx.state.clone();
                }
            }
            Ok(())
        }
        .boxed()
    }
}

impl<P: Receive<Batch<T>>, T: FromPacket> ErasedHook<P> for Many<T> {
    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        keep: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>> {
        async move {
            let mut items = Vec::with_capacity(cx.packets.len());
            let mut rejected = Vec::new();
            for (index, packet) in cx.packets.iter().enumerate() {
                match T::from_packet(packet) {
                    Ok(item) => items.push(item),
                    Err(error) if error.is_reject() => rejected.push((index, error)),
                    Err(error) => return Err(error),
                }
            }
            if items.is_empty() {
                return Ok(HookOutcome { output: None, rejected });
            }
            if !rejected.is_empty() {
                let mut bad = rejected.iter().map(|(index, _)| *index).peekable();
                for (index, packet) in cx.packets.iter().enumerate() {
                    if bad.next_if_eq(&index).is_none() {
                        keep.push(packet.clone());
                    }
                }
                cx.packets = keep;
            }
            let output = plugin.receive(Batch(items), cx).await?;
            Ok(HookOutcome { output, rejected })
        }
        .boxed()
    }
}

impl<P: Receive<Tick>> ErasedHook<P> for OnTick {
    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        _: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>> {
        async move { plugin.receive(Tick, cx).await.map(HookOutcome::all) }.boxed()
    }
}

/// Which hook takes what: filled by [`InCallPlugin::hooks`].
pub struct Hooks<P: InCallPlugin> {
    pub(super) table: Vec<(Hook, Box<dyn ErasedHook<P>>)>,
    pub(super) policies: Vec<(Name, DeliveryPolicy)>,
    pub(super) problem: Option<String>,
}

impl<P: InCallPlugin> Hooks<P> {
    pub(super) fn read() -> Self {
        let mut hooks = P::hooks(Self { table: Vec::new(), policies: Vec::new(), problem: None });
        // Every meeting keeps its own.
        hooks.table.shrink_to_fit();
        hooks
    }

    /// Takes packets of a source, one a call.
    #[must_use]
    pub fn on<T: FromPacket>(self, source: &str) -> Self
    where
        P: Receive<T>,
    {
        self.source(source, 1, Box::new(One::<T>(PhantomData)))
    }

    /// Takes packets of a source in batches: all that has queued up since the last call, at most `max` (at
    /// least 1).
    #[must_use]
    pub fn on_batch<T: FromPacket>(self, source: &str, max: usize) -> Self
    where
        P: Receive<Batch<T>>,
    {
        self.source(source, max.max(1), Box::new(Many::<T>(PhantomData)))
    }

    /// Says what becomes of packets of the source that was named last, while the plugin is busy. The
    /// configuration may say otherwise.
    #[must_use]
    pub fn policy(mut self, policy: DeliveryPolicy) -> Self {
        match self.table.last() {
            Some((Hook::Source { source, .. }, _)) => {
                let source = source.clone();
                self.policies.push((source, policy));
            }
            _ => self.complain("it has a policy before a source".to_owned()),
        }
        self
    }

    /// Is called once a `period`, at least a millisecond. A tick that comes while the last one still waits is
    /// left out.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self
    where
        P: Receive<Tick>,
    {
        if self.table.iter().any(|(hook, _)| matches!(hook, Hook::Every(_))) {
            self.complain("it asks for ticks twice".to_owned());
        }
        let period = period.max(Duration::from_millis(1));
        self.table.push((Hook::Every(period), Box::new(OnTick)));
        self
    }

    fn source(mut self, source: &str, max: usize, hook: Box<dyn ErasedHook<P>>) -> Self {
        match Name::new(source) {
            Ok(name) if name == Tick::SOURCE || name == crate::Lifecycle::SOURCE => {
                self.complain(format!("it takes the reserved source {name}"));
            }
            Ok(name) if self.sources().any(|other| *other == name) => {
                self.complain(format!("it takes {name} twice"));
            }
            Ok(source) => self.table.push((Hook::Source { source, max }, hook)),
            Err(error) => self.complain(bad_source(&error)),
        }
        self
    }

    fn complain(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &Name> {
        self.table.iter().filter_map(|(hook, _)| match hook {
            Hook::Source { source, .. } => Some(source),
            Hook::Every(_) => None,
        })
    }
}

fn bad_source(error: &name::Error) -> String {
    format!("a hook's source is malformed: {error}")
}
