//! How a plugin's author fills [`Hooks`], and what runs each kind of hook.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};

use super::{
    contract::{Cx, Handler, HookOutcome, Hooks, InCallPlugin, Receive},
    delivery_policy::DeliveryPolicy,
    hook_table::HookTable,
    input::{Batch, Tick, Timer, Wake},
    observer::{HookObserver, Pace, one_by_one, pause, report},
};
use crate::{DataPacket, DataType, Error, FromPacket, Name, data_type::short_name};

impl<P: InCallPlugin> Hooks<P> {
    pub(super) fn read() -> Self {
        let mut hooks = P::hooks(Self { table: HookTable::default() });
        // Each meeting keeps a table.
        hooks.table.hooks.shrink_to_fit();
        hooks
    }

    /// Takes packets of a source, one in each call.
    #[must_use]
    pub fn on<T: FromPacket>(mut self, source: &str) -> Self
    where
        P: Receive<T>,
    {
        self.table.source(source, 1, Box::new(One::<T>(PhantomData)));
        self
    }

    /// Takes packets of a source in batches: all that have queued up since the last call, at most `max` (at
    /// least 1).
    #[must_use]
    pub fn on_batch<T: FromPacket>(mut self, source: &str, max: usize) -> Self
    where
        P: Receive<Batch<T>>,
    {
        self.table.source(source, max, Box::new(Many::<T>(PhantomData)));
        self
    }

    /// Sets what happens to packets of the source that was named last while the plugin is busy. The
    /// configuration can override this.
    #[must_use]
    pub fn policy(mut self, policy: DeliveryPolicy) -> Self {
        self.table.policy(policy);
        self
    }

    /// Calls the hook for [`Tick`] once each `period`, at least a millisecond, by the meeting's clock. Each comes
    /// before the packet that carries the clock past it, also in a recording that is played faster; of more than
    /// 1,000 between two packets the oldest are left out.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self
    where
        P: Receive<Tick>,
    {
        self.table.every(period, Box::new(OnTimer::<Tick>(PhantomData)));
        self
    }

    /// Calls the hook for [`Wake`] at the times that hooks ask for with [`Cx::wake_at`].
    #[must_use]
    pub fn on_wake(mut self) -> Self
    where
        P: Receive<Wake>,
    {
        self.table.wake(Box::new(OnTimer::<Wake>(PhantomData)));
        self
    }
}

/// Calls a handler once for each packet.
fn each_by_call<'a, P: InCallPlugin>(
    handler: &'a dyn Handler<P>,
    plugin: &'a P,
    mut cx: Cx<'a, P>,
    observer: &'a dyn HookObserver,
) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        for packet in one_by_one(cx.packets, observer) {
            observer.begins(&packet[0]);
            let before = cx.state.clone();
            let mut keep = Vec::new();
            let (state, emitted, scratch) = (cx.state, Vec::new(), cx.scratch);
            let mut one = Cx { packets: packet, state, emitted, scratch, ..cx };
            let mut outcome = handler.call(plugin, &mut one, &mut keep).await?;
            (cx.state, cx.scratch) = (one.state, one.scratch);
            (cx.gap, cx.tries) = (0, cx.tries.first());
            if let Some((_, error)) = outcome.rejected.pop() {
                return Err(error);
            }
            if report(observer, &packet[0], &before, &cx.state, &mut one.emitted, outcome.output)?
                == Pace::Yield
            {
                pause(observer).await;
            }
        }
        Ok(())
    }
    .boxed()
}

/// A packet that a hook cannot read.
#[derive(Debug, thiserror::Error)]
#[error("instance {instance} takes {source_name} as {takes}, and cannot read this packet")]
struct Unreadable {
    instance: Name,
    source_name: Name,
    takes: String,
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Reads a packet for an instance's hook.
#[inline]
fn read<T: FromPacket>(packet: &Arc<DataPacket>, instance: &Name) -> Result<T, Error> {
    T::from_packet(packet).map_err(|error| unreadable::<T>(packet, instance, error))
}

/// Says in a rejection which hook could not read the packet.
#[cold]
fn unreadable<T>(packet: &DataPacket, instance: &Name, error: Error) -> Error {
    if !error.is_reject() {
        return error;
    }
    let (instance, source_name) = (instance.clone(), packet.source.clone());
    Error::reject(Unreadable { instance, source_name, takes: short_name::<T>(), cause: error.into() })
}

struct One<T>(PhantomData<fn(T)>);
struct Many<T>(PhantomData<fn(T)>);
struct OnTimer<T>(PhantomData<fn(T)>);

impl<O> HookOutcome<O> {
    fn all(output: Option<O>) -> Self {
        Self { output, rejected: Vec::new() }
    }
}

impl<P: Receive<T>, T: FromPacket> Handler<P> for One<T> {
    fn takes(&self) -> DataType {
        T::reads()
    }

    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        _: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>> {
        async move {
            let data = match cx.packets {
                [packet] => read::<T>(packet, cx.instance)?,
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
            for packet in one_by_one(cx.packets, observer) {
                observer.begins(&packet[0]);
                cx.packets = packet;
                let data = read::<T>(&packet[0], cx.instance)?;
                let output = plugin.receive(data, &mut cx).await?;
                (cx.gap, cx.tries) = (0, cx.tries.first());
                if report(observer, &packet[0], &before, &cx.state, &mut cx.emitted, output)? == Pace::Yield {
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

impl<P: Receive<Batch<T>>, T: FromPacket> Handler<P> for Many<T> {
    fn takes(&self) -> DataType {
        T::reads()
    }

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
                match read::<T>(packet, cx.instance) {
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

    fn each<'a>(
        &'a self,
        plugin: &'a P,
        cx: Cx<'a, P>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>> {
        each_by_call(self, plugin, cx, observer)
    }
}

impl<P: Receive<T>, T: Timer> Handler<P> for OnTimer<T> {
    fn takes(&self) -> DataType {
        DataType::Any
    }

    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        _: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>> {
        let timer = T::of(cx.packet());
        async move { plugin.receive(timer, cx).await.map(HookOutcome::all) }.boxed()
    }

    fn each<'a>(
        &'a self,
        plugin: &'a P,
        cx: Cx<'a, P>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>> {
        each_by_call(self, plugin, cx, observer)
    }
}
