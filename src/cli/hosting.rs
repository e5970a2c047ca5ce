//! A node for as long as a command works on it.

use teammy::{Builder, MeetingId, Node};
use tokio::time::Duration;

use super::{error::Error, output::Output, signal::Signals};

/// Starts a node, lets `work` do something with a meeting there, and shuts the node down, whatever came of the work. A signal
/// stops the work, and what is published by then is stored; another one stops that, too.
pub(crate) async fn on_a_node<T>(
    builder: Builder,
    deadline: Duration,
    meeting: &MeetingId,
    output: &Output,
    work: impl AsyncFnOnce(&Node) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut signals = Signals::take().map_err(Error::Runtime)?;
    let interrupted = |signal| Error::Interrupted { signal, meeting: meeting.clone() };
    let node = tokio::select! {
        node = builder.start() => node?,
        signal = signals.next() => return Err(interrupted(signal)),
    };
    let done = tokio::select! {
        done = work(&node) => done,
        signal = signals.next() => {
            output.note("stopping; once more stops at once");
            Err(interrupted(signal))
        }
    };
    let stopped = tokio::select! {
        stopped = node.shutdown(deadline) => stopped.map_err(Error::Node),
        signal = signals.next() => Err(interrupted(signal)),
    };
    let done = done?;
    stopped?;
    Ok(done)
}
