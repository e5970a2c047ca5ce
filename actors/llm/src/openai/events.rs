//! The bytes of a stream of events, with limits on their size.

use bytes::Bytes;
use futures::{Stream, stream};
use memchr::memchr2_iter;
use reqwest::Response;
use teammy_kernel::chain;

use super::fold::MAX_ANSWER_BYTES;
use crate::policy::{Class, Problem};

/// The most bytes of a whole stream: an answer in pieces of one token has hundreds of bytes around each.
const MAX_STREAM_BYTES: usize = 64 * MAX_ANSWER_BYTES;

/// The most bytes of one event of a stream.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Why the bytes of a stream end early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("its stream broke off: {0}")]
    Network(String),
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// The bytes of a response, up to a limit on all of them and on those of an event.
pub(super) fn limited(response: Response) -> impl Stream<Item = Result<Bytes, Cut>> {
    stream::unfold(Some((response, 0, EventSize::default())), |state| async move {
        let (mut response, total, mut event) = state?;
        let chunk = match response.chunk().await {
            Ok(chunk) => chunk?,
            Err(error) => return Some((Err(Cut::Network(chain(&error.without_url()))), None)),
        };
        let total = total + chunk.len();
        if total > MAX_STREAM_BYTES {
            return Some((Err(Cut::TooLarge(MAX_STREAM_BYTES)), None));
        }
        if event.largest_with(&chunk) > MAX_EVENT_BYTES {
            return Some((Err(Cut::TooLarge(MAX_EVENT_BYTES)), None));
        }
        Some((Ok(chunk), Some((response, total, event))))
    })
}

/// Counts the bytes of an event, which ends with a blank line. Lines end as the standard allows: LF, CR, or both.
#[derive(Debug, Default)]
struct EventSize {
    bytes: usize,
    /// The bytes of its last line so far.
    line: usize,
    ends_with_cr: bool,
}

impl EventSize {
    /// Counts a chunk, and returns the size of the largest event that it belongs to.
    fn largest_with(&mut self, chunk: &[u8]) -> usize {
        let mut largest = 0;
        let mut from = 0;
        for at in memchr2_iter(b'\n', b'\r', chunk) {
            self.count(at - from);
            largest = largest.max(self.bytes);
            // CR and LF together end one line.
            let is_second = chunk[at] == b'\n' && self.ends_with_cr;
            if !is_second {
                if self.line == 0 {
                    self.bytes = 0;
                }
                self.line = 0;
            }
            self.ends_with_cr = chunk[at] == b'\r';
            from = at + 1;
        }
        self.count(chunk.len() - from);
        largest.max(self.bytes)
    }

    fn count(&mut self, bytes: usize) {
        self.line += bytes;
        self.bytes += bytes;
        self.ends_with_cr &= bytes == 0;
    }
}

/// Why reading a stream failed.
pub(super) fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Cut>() {
            Some(Cut::TooLarge(limit)) => return too_large(*limit),
            Some(cut) => return Problem::new(Class::Unavailable, cut.to_string()),
            None => next = error.source(),
        }
    }
    Problem::new(Class::Unavailable, "its stream broke off")
}

pub(super) fn too_large(limit: usize) -> Problem {
    let text = format!("its answer is larger than {limit} bytes; set `max_tokens`");
    Problem { answered: Some(u64::MAX), ..Problem::new(Class::Refused, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_a_blank_line() {
        for (text, largest) in [
            ("data: 4\n\ndata: 45\n\n", 8),
            ("data: 4\ndata: 45\n\n", 15),
            ("data: 4\r\ndata: 45\r\n\r\nd", 15),
            ("data: 4\r\rdata: 45\r\r", 8),
            ("data: 4\r\n\r\ndata: 45", 8),
            ("\n\n", 0),
        ] {
            // However the bytes are cut.
            for cut in 0..=text.len() {
                let mut size = EventSize::default();
                let halves = [&text[..cut], &text[cut..]];
                let found = halves.map(|half| size.largest_with(half.as_bytes())).into_iter().max();
                assert_eq!(found, Some(largest), "{text:?} at {cut}");
            }
        }
    }
}
