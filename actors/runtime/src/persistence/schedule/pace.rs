//! How many bytes a batch may have, so that the store needs about [`TARGET`] for it.
//!
//! The bound follows what the store needed lately. A store may need some time for any batch, be it the network's
//! or the disk's; then smaller batches would be no faster, and the target is a multiple of that time.

use std::time::Duration;

/// The time that the store should need for a batch.
const TARGET: Duration = Duration::from_millis(25);
/// Or so many times what it needed for the fastest batch lately.
const TIMES_FASTEST: u32 = 4;
/// The bounds of the bound.
pub(super) const LEAST_BYTES: usize = 64 << 10;
pub(super) const MOST_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Pace {
    most_bytes: usize,
    /// What the store needed for the fastest batch lately: a slower one raises it by a sixteenth.
    fastest: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { most_bytes: MOST_BYTES, fastest: None }
    }
}

impl Pace {
    /// The most bytes of the next batch. A single commit may have more.
    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// The store needed this time for a batch of so many bytes.
    pub(super) fn stored(&mut self, bytes: usize, took: Duration) {
        let fastest = self.fastest.map_or(took, |fastest| took.min(fastest + fastest / 16));
        self.fastest = Some(fastest);
        let target = TARGET.max(fastest.saturating_mul(TIMES_FASTEST));
        if took > target {
            let fit = bytes as u128 * target.as_nanos() / took.as_nanos();
            let fit = usize::try_from(fit).unwrap_or(usize::MAX);
            self.most_bytes = self.most_bytes.min(fit).max(LEAST_BYTES);
        } else if took < target / 2 && bytes >= self.most_bytes / 2 {
            self.most_bytes = MOST_BYTES.min(self.most_bytes * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores batches as large as they may be in a store that needs a time for each batch and each byte. Returns the
    /// bytes of the last batches, sorted.
    fn settled(pace: &mut Pace, of_batch: Duration, bytes_per_ms: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        for _ in 0..100 {
            let bytes = pace.most_bytes();
            sizes.push(bytes);
            let of_bytes = Duration::from_micros(1_000 * bytes as u64 / bytes_per_ms as u64);
            pace.stored(bytes, of_batch + of_bytes);
        }
        let mut last = sizes.split_off(50);
        last.sort_unstable();
        last
    }

    #[test]
    fn a_slow_store_gets_smaller_batches_and_a_fast_one_the_largest() {
        let mut pace = Pace::default();
        let of_batch = Duration::from_millis(1);
        assert_eq!(settled(&mut pace, of_batch, 50_000)[0], MOST_BYTES);
        // 10 bytes a microsecond: 25 ms are 250,000 bytes.
        let sizes = settled(&mut pace, of_batch, 10_000);
        assert!(sizes[0] >= 100_000 && sizes[49] <= 260_000, "{sizes:?}");
        assert_eq!(settled(&mut pace, of_batch, 100), [LEAST_BYTES; 50]);
        assert_eq!(settled(&mut pace, of_batch, 50_000)[0], MOST_BYTES, "it is fast again");
    }

    #[test]
    fn a_store_that_is_far_away_gets_no_smaller_batches() {
        let mut pace = Pace::default();
        assert_eq!(settled(&mut pace, Duration::from_millis(80), 50_000)[0], MOST_BYTES);
    }

    #[test]
    fn one_slow_batch_is_soon_forgotten() {
        let mut pace = Pace::default();
        settled(&mut pace, Duration::from_millis(1), 100_000);
        pace.stored(1_000, Duration::from_secs(10));
        assert_eq!(pace.most_bytes(), LEAST_BYTES);
        // Small batches say nothing of how long large ones take.
        pace.stored(1_000, Duration::from_millis(1));
        assert_eq!(pace.most_bytes(), LEAST_BYTES);
        let mut batches = 0;
        while pace.most_bytes() < MOST_BYTES {
            pace.stored(pace.most_bytes(), Duration::from_millis(3));
            batches += 1;
        }
        assert_eq!(batches, 4);
    }
}
