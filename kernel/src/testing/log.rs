//! What code under test has logged.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// The fields of one event by their names.
pub type Fields = BTreeMap<&'static str, String>;

/// Collects events. Clones share what was collected.
///
/// # Examples
/// ```
/// use teammy_kernel::testing::Logged;
/// let logged = Logged::warnings();
/// let guard = logged.listen();
/// tracing::warn!(packets = 2, "some were lost");
/// drop(guard);
/// assert_eq!(logged.take()[0]["packets"], "2");
/// ```
#[derive(Debug, Clone)]
pub struct Logged {
    target: Option<&'static str>,
    events: Arc<Mutex<Vec<Fields>>>,
}

impl Logged {
    /// Collects warnings.
    pub fn warnings() -> Self {
        Self { target: None, events: Arc::default() }
    }

    /// Collects all events of a target.
    pub fn of_target(target: &'static str) -> Self {
        Self { target: Some(target), events: Arc::default() }
    }

    /// Collects what this thread logs until the guard is dropped.
    pub fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // While there is one subscriber alone, tracing asks the thread that comes to a line of code first whether anybody wants
        // its events, and remembers the answer for all threads. That may be the thread of another test, where nobody does.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Self::warnings()));
        tracing::subscriber::set_default(self.clone())
    }

    /// Takes what was collected.
    pub fn take(&self) -> Vec<Fields> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Collect(Fields);

impl Visit for Collect {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Logged {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match self.target {
            Some(target) => metadata.target() == target,
            None => *metadata.level() == Level::WARN,
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Collect(Fields::new());
        event.record(&mut fields);
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(fields.0);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
