//! How a cue's text is marked up.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    WebVtt,
    SubRip,
}
