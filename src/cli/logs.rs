//! The log, on stderr: the program installs what writes it, the library never does.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::{Debug, Write as _},
    io::{self, IsTerminal, Write},
};

use indicatif::MultiProgress;
use tracing::{Event, Metadata, Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer, field::Visit, fmt, layer::Context, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::error::Error;

/// Writes the log to stderr, as far as a filter says.
pub(crate) fn to_stderr(filter: &str, bars: &MultiProgress) -> Result<(), Error> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| Error::LogFilter { filter: filter.to_owned(), error })?;
    let bars = bars.clone();
    let layer = fmt::layer().with_writer(move || Stderr(bars.clone())).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(filter).with(Discreet).with(FalseAlarms).with(layer).init();
    Ok(())
}

/// Tells of a panic where it was, and what it said if that stands in the program. A message that was put
/// together may quote what was said in a meeting.
pub(crate) fn without_words_in_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = panic.location().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
        let said = panic.payload().downcast_ref::<&'static str>();
        let said = said.copied().unwrap_or("(its message may quote a meeting, and is left out)");
        let trace = Backtrace::capture();
        let trace =
            if trace.status() == BacktraceStatus::Captured { format!("{trace}\n") } else { String::new() };
        let _ = writeln!(io::stderr(), "thread '{name}' panicked at {place}: {said}\n{trace}");
    }));
}

/// Keeps out what holds words of a meeting, whatever the filter says.
struct Discreet;

impl<S: Subscriber> Layer<S> for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= teammy::logs::at_most(metadata.target())
    }
}

/// The longest line of the log, in bytes.
const LONGEST_LINE: usize = 16 << 10;

/// Writes to stderr without tearing a progress bar apart.
struct Stderr(MultiProgress);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One call is one line.
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

/// Keeps warnings out that are none.
struct FalseAlarms;

/// SurrealKV says so when its last handle ends on a thread of its own, which is where it ends: the database
/// has been closed by then, and waited for.
const CLOSED_TWICE: &str = "No runtime available for closing the store correctly";

impl<S: Subscriber> Layer<S> for FalseAlarms {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // What comes from the `log` crate has that for its target.
        if event.metadata().target() != "log" {
            return true;
        }
        let mut message = Message::default();
        event.record(&mut message);
        message.0 != CLOSED_TWICE
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
