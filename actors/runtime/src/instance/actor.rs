//! The actor that runs an instance's hooks.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{
    EngineControl, MeetingMetadata, Name, PersistenceProvider, Seq, SharedLlm, Store,
    log::{Batch, failure::FailurePolicy},
    plugin::{Hosted, StateRef},
};

use super::{
    activity::HookActivity,
    effects::CurrentSeq,
    history::InstanceStore,
    hook_trace::HookTrace,
    models::{InstanceModels, InstanceModelsRef},
    outbox::Outbox,
    recorder::Recorder,
    routes::Routes,
    run_context::RunContext,
    runner::{LLM_SHARE, Runner},
};

/// What an instance's actor is told.
pub(crate) enum Message {
    /// Run the hooks on these packets.
    Deliver(Batch),
}

impl ractor::Message for Message {}

/// What an instance's actor starts with.
pub(crate) struct Args {
    pub(crate) hosted: Hosted,
    pub(crate) routes: Routes,
    pub(crate) metadata: Arc<MeetingMetadata>,
    pub(crate) instance: Name,
    /// The newest state that was submitted.
    pub(crate) state: StateRef,
    /// The seq up to which it has finished with the log.
    pub(crate) cursor: Seq,
    pub(crate) outbox: Outbox,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) llm: SharedLlm,
    /// Whose meeting it is.
    pub(crate) tenant: Option<Arc<str>>,
    /// Whether its plugin asks models, as it says of itself.
    pub(crate) needs_llm: bool,
    /// Whether it is not the instance's first actor in this process.
    pub(crate) is_restarted: bool,
    pub(crate) policy: FailurePolicy,
    /// How long a hook may take.
    pub(crate) deadline: Duration,
    /// The largest output, in bytes of its payload.
    pub(crate) packet_limit: usize,
    pub(crate) recorder: Recorder,
    pub(crate) current: CurrentSeq,
    pub(crate) activity: Arc<HookActivity>,
}

pub(crate) struct InstanceActor;

impl Actor for InstanceActor {
    type Msg = Message;
    // Both are boxed: ractor keeps several copies of their size in an actor's task.
    type State = Box<Runner>;
    type Arguments = Box<Args>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        args: Box<Args>,
    ) -> Result<Box<Runner>, ActorProcessingErr> {
        let args = *args;
        let outbox = Arc::new(args.outbox);
        let meeting = args.metadata.id.clone();
        let provider: Arc<dyn PersistenceProvider> = Arc::new(InstanceStore {
            meeting: meeting.clone(),
            instance: args.instance.clone(),
            store: args.store,
            outbox: outbox.clone(),
        });
        let trace = HookTrace::new(meeting.clone(), args.instance.clone());
        let models = args.llm.is_configured().then(|| {
            let (provider, outbox, trace) = (provider.clone(), outbox.clone(), trace.clone());
            InstanceModels::new(args.llm, args.tenant, args.is_restarted, trace, provider, outbox)
        });
        if let Some(models) = models.as_ref().filter(|_| args.needs_llm && args.cursor > Seq::ZERO) {
            models.resume().await.map_err(ActorProcessingErr::from)?;
        }
        let llm =
            models.clone().map_or_else(SharedLlm::none, |models| SharedLlm::new(InstanceModelsRef(models)));
        let limit = Some(args.deadline.mul_f64(LLM_SHARE));
        let engine = EngineControl::new(llm, provider, meeting, args.instance.clone(), limit);
        let timers = if args.routes.have_timers() {
            Some(engine.timers(args.hosted.every()).await.map_err(ActorProcessingErr::from)?)
        } else {
            None
        };
        let context = RunContext::new(
            args.hosted,
            args.metadata,
            args.instance,
            engine,
            models,
            trace,
            outbox,
            args.packet_limit,
            args.current,
            args.state,
            args.cursor,
            timers,
        );
        let mut runner = Runner::new(
            Arc::new(context),
            args.routes,
            args.policy,
            args.deadline,
            args.recorder,
            args.activity,
        );
        runner.tell_timer();
        Ok(Box::new(runner))
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        runner: &mut Box<Runner>,
    ) -> Result<(), ActorProcessingErr> {
        let Message::Deliver(batch) = message;
        // Boxed, so that an idle instance allocates nothing for it.
        Box::pin(runner.run(batch)).await;
        Ok(())
    }
}
