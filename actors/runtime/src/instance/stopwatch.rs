//! Measures how long hooks take without reading the clock for each.

use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::HookTiming;

/// Times hooks that follow each other: long ones singly, short ones in runs.
///
/// Reading the clock costs as much as a short hook. So hooks that take less than a microsecond are timed in
/// runs of up to [`LONGEST`](Self::LONGEST), and each counts with the run's mean. As soon as they take longer,
/// each is timed singly.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    began: Option<Instant>,
    /// When the turn began. Since then hooks have followed each other without a rest, across batches too.
    turn: Option<Instant>,
    /// How many hooks are timed together.
    run: u32,
    timings: Vec<HookTiming>,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self { began: None, turn: None, run: 1, timings: Vec::new() }
    }
}

impl Stopwatch {
    const SHORT: Duration = Duration::from_micros(1);
    const LONG: Duration = Duration::from_micros(10);
    const LONGEST: u32 = 16;
    /// After so long without a hook a new turn begins: other instances had the thread.
    const REST: Duration = Duration::from_micros(100);

    /// After how many hooks the next reading is due; at least 1.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// Starts timing: a hook is about to run, and the time since the last lap counts for no hook. `ended` hooks
    /// ended before that and are not timed yet.
    pub(crate) fn start(&mut self, ended: u32) {
        self.lap(ended);
        let now = Instant::now();
        if self.began.is_none_or(|ended| now - ended >= Self::REST) {
            self.turn = Some(now);
        }
        self.began = Some(now);
    }

    /// As [`start`](Self::start), after other instances had the thread.
    pub(crate) fn start_turn(&mut self, ended: u32) {
        self.start(ended);
        self.turn = self.began;
    }

    /// `ended` hooks ended since the last lap. Returns how long the turn has lasted.
    pub(crate) fn lap(&mut self, ended: u32) -> Duration {
        let Some(began) = self.began.filter(|_| ended > 0) else { return Duration::ZERO };
        let now = Instant::now();
        let mean = (now - began) / ended;
        self.timings.push(HookTiming { mean, hooks: ended });
        self.began = Some(now);
        self.run = match mean {
            mean if mean < Self::SHORT => (self.run * 2).min(Self::LONGEST),
            mean if mean < Self::LONG => self.run,
            _ => 1,
        };
        self.turn.map_or(Duration::ZERO, |began| now - began)
    }

    /// Appends the timings to `timings`, with a last lap of `ended` hooks.
    pub(crate) fn read(&mut self, ended: u32, timings: &mut Vec<HookTiming>) {
        self.lap(ended);
        timings.append(&mut self.timings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laps(stopwatch: &mut Stopwatch, ended: u32) -> Vec<(Duration, u32)> {
        let mut laps = Vec::new();
        stopwatch.read(ended, &mut laps);
        laps.into_iter().map(|lap| (lap.mean, lap.hooks)).collect()
    }

    /// Runs so many hooks that take so long each, and tells the stopwatch as often as it wants; what it was
    /// not told is returned.
    async fn hooks(stopwatch: &mut Stopwatch, hooks: u32, took: Duration) -> u32 {
        let mut untold = 0;
        for _ in 0..hooks {
            tokio::time::advance(took).await;
            untold += 1;
            if untold == stopwatch.run() {
                stopwatch.lap(std::mem::take(&mut untold));
            }
        }
        untold
    }

    #[tokio::test(start_paused = true)]
    async fn short_hooks_share_a_reading_and_long_ones_have_their_own() {
        let mut stopwatch = Stopwatch::default();
        stopwatch.start(0);
        let untold = hooks(&mut stopwatch, 40, Duration::ZERO).await;
        let short = laps(&mut stopwatch, untold);
        assert_eq!(short.iter().map(|(_, hooks)| hooks).collect::<Vec<_>>(), [&1, &2, &4, &8, &16, &9]);
        assert!(short.iter().all(|(mean, _)| mean.is_zero()));

        let untold = hooks(&mut stopwatch, 17, Duration::from_millis(1)).await;
        let long = laps(&mut stopwatch, untold);
        let alone = (Duration::from_millis(1), 1);
        assert_eq!(long, [(Duration::from_millis(1), 16), alone]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_between_hooks_is_nobodys_time() {
        let mut stopwatch = Stopwatch::default();
        stopwatch.start(0);
        stopwatch.lap(1);
        tokio::time::advance(Duration::from_secs(1)).await;
        stopwatch.start(0);
        assert_eq!(laps(&mut stopwatch, 1), [(Duration::ZERO, 1), (Duration::ZERO, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_goes_on_over_short_rests_and_ends_with_longer_ones() {
        let mut stopwatch = Stopwatch::default();
        stopwatch.start(0);
        let batch = Duration::from_micros(600);
        tokio::time::advance(batch).await;
        assert_eq!(stopwatch.lap(1), batch);
        tokio::time::advance(Stopwatch::REST / 2).await;
        stopwatch.start(0);
        tokio::time::advance(batch).await;
        assert_eq!(stopwatch.lap(1), batch + Stopwatch::REST / 2 + batch);
        stopwatch.start_turn(0);
        tokio::time::advance(batch).await;
        assert_eq!(stopwatch.lap(1), batch, "others had their turn");
        tokio::time::advance(Stopwatch::REST).await;
        stopwatch.start(0);
        tokio::time::advance(batch).await;
        assert_eq!(stopwatch.lap(1), batch, "it rested");
    }
}
