//! The peers: actors that get one message for each delivery.

use std::{sync::Arc, thread};

use actix::Actor as _;
use kameo::actor::Spawn as _;

use crate::{
    fanout::{Datum, received},
    latency::Clocked,
    tally::{Counter, Tally},
};

pub struct RactorMessage(pub Datum);
impl ractor::Message for RactorMessage {}

pub struct RactorActor;

impl ractor::Actor for RactorActor {
    type Msg = RactorMessage;
    type State = Counter;
    type Arguments = Counter;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        counter: Counter,
    ) -> Result<Counter, ractor::ActorProcessingErr> {
        Ok(counter)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        RactorMessage(datum): RactorMessage,
        counter: &mut Counter,
    ) -> Result<(), ractor::ActorProcessingErr> {
        received(counter, &datum);
        Ok(())
    }
}

/// An actor for each receiver.
pub async fn ractors(tally: &Arc<Tally>) -> Vec<ractor::ActorRef<RactorMessage>> {
    let mut actors = Vec::new();
    for counter in tally.counters() {
        let (actor, _) = ractor::Actor::spawn(None, RactorActor, counter).await.expect("the actor starts");
        actors.push(actor);
    }
    actors
}

/// Passes on what it gets.
struct RactorLink;

impl ractor::Actor for RactorLink {
    type Msg = RactorMessage;
    type State = ractor::ActorRef<RactorMessage>;
    type Arguments = ractor::ActorRef<RactorMessage>;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        next: Self::State,
    ) -> Result<Self::State, ractor::ActorProcessingErr> {
        Ok(next)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        RactorMessage(datum): RactorMessage,
        next: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        let _ = next.cast(RactorMessage(Arc::new((*datum).clone())));
        Ok(())
    }
}

/// A chain of actors, the last of which counts; the first one is returned.
pub async fn ractor_chain(links: usize, last: Counter) -> ractor::ActorRef<RactorMessage> {
    let (mut first, _) = ractor::Actor::spawn(None, RactorActor, last).await.expect("the actor starts");
    for _ in 1..links {
        first = ractor::Actor::spawn(None, RactorLink, first).await.expect("the actor starts").0;
    }
    first
}

/// Sees how late its messages come.
struct RactorClock;

impl ractor::Actor for RactorClock {
    type Msg = RactorMessage;
    type State = Clocked;
    type Arguments = Clocked;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        clocked: Clocked,
    ) -> Result<Clocked, ractor::ActorProcessingErr> {
        Ok(clocked)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        RactorMessage(datum): RactorMessage,
        clocked: &mut Clocked,
    ) -> Result<(), ractor::ActorProcessingErr> {
        clocked.arrived(&datum);
        Ok(())
    }
}

/// An actor that sees how late its messages come.
pub async fn ractor_clock(clocked: Clocked) -> ractor::ActorRef<RactorMessage> {
    ractor::Actor::spawn(None, RactorClock, clocked).await.expect("the actor starts").0
}

#[derive(kameo::Actor)]
pub struct KameoActor(Counter);

pub struct KameoMessage(pub Datum);

impl kameo::message::Message<KameoMessage> for KameoActor {
    type Reply = ();

    async fn handle(&mut self, KameoMessage(datum): KameoMessage, _: &mut kameo::message::Context<Self, ()>) {
        received(&self.0, &datum);
    }
}

/// An actor for each receiver, with a mailbox without a bound, as the others have.
pub fn kameos(tally: &Arc<Tally>) -> Vec<kameo::actor::ActorRef<KameoActor>> {
    tally
        .counters()
        .map(|counter| KameoActor::spawn_with_mailbox(KameoActor(counter), kameo::mailbox::unbounded()))
        .collect()
}

pub struct ActixActor(Counter);

impl actix::Actor for ActixActor {
    type Context = actix::Context<Self>;
}

pub struct ActixMessage(pub Datum);

impl actix::Message for ActixMessage {
    type Result = ();
}

impl actix::Handler<ActixMessage> for ActixActor {
    type Result = ();

    fn handle(&mut self, ActixMessage(datum): ActixMessage, _: &mut actix::Context<Self>) {
        received(&self.0, &datum);
    }
}

/// Actors on arbiters of their own: actix's actors stay on one thread each, so they are spread over two.
pub struct ActixThreads(Vec<actix::Addr<ActixActor>>);

impl ActixThreads {
    pub fn addresses(&self) -> &[actix::Addr<ActixActor>] {
        &self.0
    }
}

pub fn actixes(tally: &Arc<Tally>) -> ActixThreads {
    let (sender, receiver) = std::sync::mpsc::channel();
    let counters: Vec<_> = tally.counters().collect();
    thread::spawn(move || {
        actix::System::new().block_on(async move {
            let arbiters = [actix::Arbiter::new(), actix::Arbiter::new()];
            let actors: Vec<_> = counters
                .into_iter()
                .enumerate()
                .map(|(index, counter)| {
                    ActixActor::start_in_arbiter(&arbiters[index % 2].handle(), |_| ActixActor(counter))
                })
                .collect();
            sender.send(actors).expect("the bench waits for them");
            std::future::pending::<()>().await;
        });
    });
    ActixThreads(receiver.recv().expect("actix starts"))
}
