//! What a subscriber should not write down: events that hold words of a meeting, and a false alarm.
//!
//! The runtime itself logs names, numbers, and errors that hold no values. Its dependencies log the data that
//! passes through them: at TRACE frames, statements and values, and one of them answers of language models at
//! ERROR. A subscriber that lets these events through writes passwords and what was said in meetings;
//! [`at_most`] is the most verbose level that does not.

use std::fmt::{self, Write as _};

use tracing::{
    Event,
    field::{Field, Visit},
    level_filters::LevelFilter,
};

/// SurrealKV logs this warning when an embedded database is closed: one of its threads, which runs no tokio,
/// gives up its handle. By then the database was closed, and the close was awaited.
const CLOSED_ALREADY: &str = "No runtime available for closing the store correctly";

/// Whether an event is a warning that reports no problem: one that the storage engine logs each time that an
/// embedded database is closed (`surrealkv://`). The engine cannot be kept from it.
///
/// The engine logs with the `log` crate. Such events reach a subscriber of `tracing` through the bridge that
/// `tracing_subscriber` installs by default. A logger of the `log` crate itself leaves the warning out with the
/// directive `surrealkv::lsm=error`; it leaves out warnings of failed clean-ups, too.
///
/// # Examples
/// A layer of `tracing_subscriber` that drops it, here and for the layers after it:
/// ```
/// # #[cfg(feature = "cli")] {
/// use tracing::{Event, Subscriber};
/// use tracing_subscriber::layer::{Context, Layer};
///
/// struct NoFalseAlarm;
///
/// impl<S: Subscriber> Layer<S> for NoFalseAlarm {
///     fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
///         !teammy::logs::is_false_alarm(event)
///     }
/// }
/// # }
/// ```
pub fn is_false_alarm(event: &Event<'_>) -> bool {
    // The bridge gives its events this target, and the engine's own in a field.
    if event.metadata().target() != "log" {
        return false;
    }
    let mut message = Message::default();
    event.record(&mut message);
    message.0 == CLOSED_ALREADY
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// The most verbose level at which a target's events hold no words of a meeting. The program `teammy` logs
/// nothing beyond it, whatever its filter lets through; an embedder's subscriber should do the same.
///
/// # Examples
/// ```
/// use teammy::logs;
/// use tracing::level_filters::LevelFilter;
/// assert_eq!(logs::at_most("teammy_runtime::node"), LevelFilter::TRACE);
/// assert_eq!(logs::at_most("hyper_util::client"), LevelFilter::DEBUG);
/// ```
pub fn at_most(target: &str) -> LevelFilter {
    #[cfg(feature = "openai")]
    if is_within(target, teammy_llm::LOG_TARGET) {
        return LevelFilter::OFF;
    }
    #[cfg(feature = "surrealdb")]
    if teammy_surreal::LOG_TARGETS.iter().any(|start| target.starts_with(start)) {
        return LevelFilter::INFO;
    }
    // What one node tells another.
    if target.starts_with("ractor_cluster") {
        return LevelFilter::INFO;
    }
    if target.starts_with("teammy") { LevelFilter::TRACE } else { LevelFilter::DEBUG }
}

#[cfg(feature = "openai")]
fn is_within(target: &str, root: &str) -> bool {
    target.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_log_nothing_that_passes_through_them() {
        assert_eq!(at_most("teammy_kernel::log"), LevelFilter::TRACE);
        assert_eq!(at_most("rustls::client"), LevelFilter::DEBUG);
        assert_eq!(at_most("ractor_cluster::net::session"), LevelFilter::INFO);
        #[cfg(feature = "surrealdb")]
        for target in teammy_surreal::LOG_TARGETS {
            for target in [target.to_owned(), format!("{target}::kvs"), format!("{target}_core")] {
                assert_eq!(at_most(&target), LevelFilter::INFO, "{target}");
            }
        }
        #[cfg(feature = "openai")]
        assert_eq!(at_most(&format!("{}::client", teammy_llm::LOG_TARGET)), LevelFilter::OFF);
    }
}
