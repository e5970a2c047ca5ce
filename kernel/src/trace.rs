//! Traces across programs: which request of a client led to a packet, a hook, a model's answer and an output.
//!
//! A [`TraceContext`] is what the W3C recommendation *Trace Context* calls `traceparent`
//! (<https://www.w3.org/TR/trace-context/>). A packet carries that of its publisher, and an output that of the packet that it
//! came from. What this node does for a sampled trace is told as [spans](Span), which an exporter may take.

#[cfg(any(test, feature = "runtime"))]
mod span;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "runtime"))]
pub use span::{Outcome, Span};

/// A position in a trace, and whether the trace is recorded.
///
/// # Examples
/// ```
/// use teammy_kernel::TraceContext;
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = text.parse()?;
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), text);
/// # Ok::<(), teammy_kernel::InvalidTraceparent>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "takes a text as in W3C Trace Context, such as \"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\""
)]
pub struct InvalidTraceparent;

impl TraceContext {
    /// The length of its text in bytes.
    pub const TEXT_BYTES: usize = 55;
    /// The trace is recorded.
    const SAMPLED: u8 = 1;
    /// The trace's id was chosen at random.
    const RANDOM: u8 = 2;

    /// The trace's id: not zero.
    pub fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.trace_id)
    }

    /// The trace's id as logs and collectors show it: 32 digits.
    pub fn shown_id(&self) -> String {
        format!("{:032x}", self.trace_id())
    }

    /// The id of the span in which something happened: not zero.
    pub fn span_id(&self) -> u64 {
        u64::from_be_bytes(self.span_id)
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// Another span of the same trace; none if the id is zero.
    #[must_use]
    pub fn with_span(self, id: u64) -> Option<Self> {
        (id != 0).then_some(Self { span_id: id.to_be_bytes(), ..self })
    }

    /// The first span of a new trace that is recorded, by ids that were chosen at random; none if one is zero.
    pub fn sampled(trace_id: u128, span_id: u64) -> Option<Self> {
        let flags = Self::SAMPLED | Self::RANDOM;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id: trace_id.to_be_bytes(),
            span_id: span_id.to_be_bytes(),
            flags,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id(), self.span_id(), self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case digits, as the recommendation asks.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    /// Reads version 0, and of later versions what they have in common with it.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let read = |text: &[u8]| {
            let [v0, v1, b'-', rest @ ..] = text else { return None };
            let version = hex(&[*v0, *v1]).filter(|version| *version != 0xff)?;
            let (trace_id, rest) = rest.split_at_checked(32)?;
            let [b'-', rest @ ..] = rest else { return None };
            let (span_id, rest) = rest.split_at_checked(16)?;
            let [b'-', f0, f1, more @ ..] = rest else { return None };
            if !(more.is_empty() || version > 0 && more[0] == b'-') {
                return None;
            }
            let flags = u8::try_from(hex(&[*f0, *f1])?).ok()? & (Self::SAMPLED | Self::RANDOM);
            let trace_id = hex(trace_id).filter(|id| *id != 0)?.to_be_bytes();
            let span_id = u64::try_from(hex(span_id)?).ok().filter(|id| *id != 0)?.to_be_bytes();
            Some(Self { trace_id, span_id, flags })
        };
        read(text.as_bytes()).ok_or(InvalidTraceparent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(text: &str) -> Option<String> {
        text.parse::<TraceContext>().ok().map(|context| context.to_string())
    }

    #[test]
    fn a_traceparent_is_read_and_written() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!((context.to_string(), text.len()), (text, TraceContext::TEXT_BYTES));
        let child = context.with_span(5).unwrap();
        assert_eq!(child.to_string(), format!("00-{TRACE}-0000000000000005-01"));
        assert_eq!(context.with_span(0), None);
    }

    #[test]
    fn flags_that_are_not_known_are_left_out() {
        for (flags, kept) in
            [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")]
        {
            let read = read(&format!("00-{TRACE}-{SPAN}-{flags}"));
            assert_eq!(read, Some(format!("00-{TRACE}-{SPAN}-{kept}")));
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let known = Some(format!("00-{TRACE}-{SPAN}-01"));
        assert_eq!(read(&format!("01-{TRACE}-{SPAN}-01")), known);
        assert_eq!(read(&format!("fe-{TRACE}-{SPAN}-01-what-comes-then")), known);
        assert_eq!(read(&format!("01-{TRACE}-{SPAN}-01x")), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[..30]),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = read(&text);
        }

        #[test]
        fn what_was_written_is_read(trace_id: u128, span_id: u64) {
            if let Some(context) = TraceContext::sampled(trace_id, span_id) {
                prop_assert_eq!(context.to_string().parse(), Ok(context));
            }
        }
    }
}
