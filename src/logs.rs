//! The log levels at which events hold no words of a meeting.
//!
//! The runtime itself logs names, numbers, and errors that hold no values. Its dependencies log the data that
//! passes through them: at TRACE frames, statements and values, and one of them answers of language models at
//! ERROR. A subscriber that lets these events through writes passwords and what was said in meetings;
//! [`at_most`] is the most verbose level that does not.

use tracing::level_filters::LevelFilter;

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
