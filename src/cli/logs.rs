//! The log on stderr. The program installs the subscriber; the library never does.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
};

use indicatif::MultiProgress;
use teammy::config::LogFormat;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::Context, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::{error::Error, traces::Spans};

/// Installs a subscriber that writes to stderr the events that a filter lets through, for people or as a JSON object a line. If
/// traces are exported, it takes their spans too.
pub(super) fn to_stderr(
    filter: &str,
    format: LogFormat,
    bars: &MultiProgress,
    spans: Option<Spans>,
) -> Result<(), Error> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| Error::LogFilter { filter: filter.to_owned(), error })?;
    let registry = tracing_subscriber::registry();
    match spans {
        None => {
            registry.with(filter).with(PrivacyFilter).with(FalseAlarmFilter).with(lines(format, bars)).init();
        }
        #[cfg(feature = "otel")]
        Some(spans) => {
            let spans = spans.with_filter(Spans::only());
            registry
                .with(PrivacyFilter)
                .with(FalseAlarmFilter)
                .with(lines(format, bars).with_filter(filter))
                .with(spans)
                .init();
        }
        #[cfg(not(feature = "otel"))]
        Some(spans) => match spans {},
    }
    Ok(())
}

/// Writes the lines.
fn lines<S>(format: LogFormat, bars: &MultiProgress) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let bars = bars.clone();
    let layer = fmt::layer().with_writer(move || Stderr(bars.clone()));
    match format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Installs a panic hook that prints where a panic occurred, and its message if that is a literal of the
/// program. A formatted message may quote what was said in a meeting, and is left out.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let location = panic.location().map_or_else(|| "an unknown location".to_owned(), ToString::to_string);
        let message = panic.payload().downcast_ref::<&'static str>();
        let message = message.copied().unwrap_or("(its message may quote a meeting, and is left out)");
        let trace = Backtrace::capture();
        let trace =
            if trace.status() == BacktraceStatus::Captured { format!("{trace}\n") } else { String::new() };
        let _ = writeln!(io::stderr(), "thread '{name}' panicked at {location}: {message}\n{trace}");
    }));
}

/// Drops events that hold words of a meeting, whatever the filter lets through.
struct PrivacyFilter;

impl<S: Subscriber> Layer<S> for PrivacyFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= teammy::logs::at_most(metadata.target())
    }
}

/// The longest line of the log, in bytes.
const LONGEST_LINE: usize = 16 << 10;

/// Writes to stderr above the progress bars. A line that is too long is cut, also a JSON object: nothing that the program logs
/// comes near the limit.
struct Stderr(MultiProgress);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The subscriber writes each line with one call.
        let (line, end): (_, &[u8]) = match bytes.get(..LONGEST_LINE) {
            Some(start) if bytes.len() > LONGEST_LINE => (start, "…\n".as_bytes()),
            _ => (bytes, b""),
        };
        self.0.suspend(|| {
            let mut stderr = io::stderr().lock();
            stderr.write_all(line)?;
            stderr.write_all(end)
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Drops a warning of the storage engine that reports no problem.
struct FalseAlarmFilter;

impl<S: Subscriber> Layer<S> for FalseAlarmFilter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        !teammy::logs::is_false_alarm(event)
    }
}
