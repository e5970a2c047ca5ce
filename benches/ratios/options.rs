//! The options of a run.

/// How much to measure.
pub struct RunOptions {
    /// Measure less of everything.
    pub quick: bool,
    /// Leave the peers out, for a profiler.
    pub alone: bool,
    /// How many rounds are measured, after a first one that warms up.
    pub rounds: usize,
}
