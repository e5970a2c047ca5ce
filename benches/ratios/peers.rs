//! The peers' actors. Each delivery is one message.

use std::{sync::Arc, thread};

use actix::Actor as _;
use kameo::actor::Spawn as _;

use crate::{
    datum::{Datum, received},
    lateness::LatenessRecorder,
    tally::{DeliveryCounter, DeliveryTally},
};

pub struct RactorMessage(pub Datum);
impl ractor::Message for RactorMessage {}

pub struct RactorActor;

impl ractor::Actor for RactorActor {
    type Msg = RactorMessage;
    type State = DeliveryCounter;
    type Arguments = DeliveryCounter;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        counter: DeliveryCounter,
    ) -> Result<DeliveryCounter, ractor::ActorProcessingErr> {
        Ok(counter)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        RactorMessage(datum): RactorMessage,
        counter: &mut DeliveryCounter,
    ) -> Result<(), ractor::ActorProcessingErr> {
        received(counter, &datum);
        Ok(())
    }
}

/// Starts an actor for each receiver.
pub async fn ractors(tally: &Arc<DeliveryTally>) -> Vec<ractor::ActorRef<RactorMessage>> {
    let mut actors = Vec::new();
    for counter in tally.counters() {
        let (actor, _) = ractor::Actor::spawn(None, RactorActor, counter).await.expect("the actor starts");
        actors.push(actor);
    }
    actors
}

/// Passes each message on to the next actor.
struct RactorRelay;

impl ractor::Actor for RactorRelay {
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

/// Starts a chain of actors, the last of which counts. Returns the first.
pub async fn ractor_chain(stages: usize, last: DeliveryCounter) -> ractor::ActorRef<RactorMessage> {
    let (mut first, _) = ractor::Actor::spawn(None, RactorActor, last).await.expect("the actor starts");
    for _ in 1..stages {
        first = ractor::Actor::spawn(None, RactorRelay, first).await.expect("the actor starts").0;
    }
    first
}

/// Records how late its messages are.
struct RactorLatenessProbe;

impl ractor::Actor for RactorLatenessProbe {
    type Msg = RactorMessage;
    type State = LatenessRecorder;
    type Arguments = LatenessRecorder;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        recorder: LatenessRecorder,
    ) -> Result<LatenessRecorder, ractor::ActorProcessingErr> {
        Ok(recorder)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        RactorMessage(datum): RactorMessage,
        recorder: &mut LatenessRecorder,
    ) -> Result<(), ractor::ActorProcessingErr> {
        recorder.arrived(&datum);
        Ok(())
    }
}

/// Starts an actor that records how late its messages are.
pub async fn ractor_lateness_probe(recorder: LatenessRecorder) -> ractor::ActorRef<RactorMessage> {
    ractor::Actor::spawn(None, RactorLatenessProbe, recorder).await.expect("the actor starts").0
}

#[derive(kameo::Actor)]
pub struct KameoActor(DeliveryCounter);

pub struct KameoMessage(pub Datum);

impl kameo::message::Message<KameoMessage> for KameoActor {
    type Reply = ();

    async fn handle(&mut self, KameoMessage(datum): KameoMessage, _: &mut kameo::message::Context<Self, ()>) {
        received(&self.0, &datum);
    }
}

/// Starts an actor for each receiver, with an unbounded mailbox, as the other peers have.
pub fn kameos(tally: &Arc<DeliveryTally>) -> Vec<kameo::actor::ActorRef<KameoActor>> {
    tally
        .counters()
        .map(|counter| KameoActor::spawn_with_mailbox(KameoActor(counter), kameo::mailbox::unbounded()))
        .collect()
}

pub struct ActixActor(DeliveryCounter);

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

/// Actors on two arbiters. An actor of actix stays on its arbiter's thread.
pub struct ActixThreads(Vec<actix::Addr<ActixActor>>);

impl ActixThreads {
    pub fn addresses(&self) -> &[actix::Addr<ActixActor>] {
        &self.0
    }
}

/// Starts an actor for each receiver.
pub fn actixes(tally: &Arc<DeliveryTally>) -> ActixThreads {
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
