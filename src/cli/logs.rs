//! The log, on stderr: the program installs what writes it, the library never does.

use std::{
    fmt::{Debug, Write as _},
    io::{self, IsTerminal, Write},
};

use indicatif::MultiProgress;
use tracing::{Event, Subscriber, field::Field};
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
    tracing_subscriber::registry().with(filter).with(FalseAlarms).with(layer).init();
    Ok(())
}

/// Writes to stderr without tearing a progress bar apart.
struct Stderr(MultiProgress);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Keeps warnings out that are none.
struct FalseAlarms;

/// SurrealKV says so when its last handle ends on a thread of its own, which is where it ends: the database has been closed
/// by then, and waited for.
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
