//! How many bytes a batch may have, so that the store needs about [`TARGET`] for it.
//!
//! A store needs some time for any batch, be it the network's or the disk's, and more for each byte. Both are
//! estimated from the last batches by least squares, of which each counts less than the next one. Smaller batches
//! would save only the time of the bytes, so the target is no less than a multiple of the time of any batch.

use std::time::Duration;

/// The time that the store should need for a batch.
const TARGET: Duration = Duration::from_millis(25);
/// Or so many times what it needs for any batch.
const TIMES_FIXED: f64 = 4.0;
/// The sizes to choose from, in bytes.
const SIZES: [u32; 5] = [1 << 20, 512 << 10, 256 << 10, 128 << 10, 64 << 10];
/// What a batch counts beside the next one.
const WEIGHT: f64 = 0.875;
/// No batch counts as slower than this: one that waited for a disk says little of the next ones.
const SLOWEST: Duration = Duration::from_secs(1);

/// Weighted sums over the last batches: of their number, bytes (`x`), seconds (`y`), and products.
#[derive(Debug, Default)]
pub(super) struct Pace {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Pace {
    /// The most bytes of the next batch. A single commit may have more.
    pub(super) fn most_bytes(&self) -> usize {
        let (fixed, each) = self.costs();
        let target = TARGET.as_secs_f64().max(fixed * TIMES_FIXED);
        let fits = |bytes: &u32| fixed + each * f64::from(*bytes) <= target;
        let [.., least] = SIZES;
        SIZES.into_iter().find(fits).unwrap_or(least) as usize
    }

    /// The seconds that the store needs for any batch, and for each byte.
    fn costs(&self) -> (f64, f64) {
        if self.n == 0.0 {
            return (0.0, 0.0);
        }
        let [.., least] = SIZES;
        let (bytes, seconds) = (self.x / self.n, self.y / self.n);
        let (variance, covariance) = (self.xx / self.n - bytes * bytes, self.xy / self.n - bytes * seconds);
        let each = if variance > bytes * bytes / 100.0 {
            (covariance / variance).max(0.0)
        } else if bytes >= f64::from(least) {
            // All of one size: that it is the bytes that cost shows when the next ones are smaller.
            seconds / bytes
        } else {
            0.0
        };
        ((seconds - each * bytes).max(0.0), each)
    }

    /// The store needed this time for a batch of so many bytes.
    pub(super) fn stored(&mut self, bytes: usize, took: Duration) {
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        let seconds = took.min(SLOWEST).as_secs_f64();
        let add = |sum: &mut f64, value: f64| *sum = *sum * WEIGHT + value;
        add(&mut self.n, 1.0);
        add(&mut self.x, bytes);
        add(&mut self.y, seconds);
        add(&mut self.xx, bytes * bytes);
        add(&mut self.xy, bytes * seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = SIZES[0] as usize;
    const LEAST: usize = SIZES[4] as usize;

    /// Stores 100 batches, as large as they may be and every third one small, in a store that needs a time for each
    /// batch and each byte. Returns the most bytes of the later half.
    fn settled(pace: &mut Pace, of_batch: Duration, bytes_per_ms: usize) -> Vec<usize> {
        let mut most = Vec::new();
        for n in 0..100 {
            most.push(pace.most_bytes());
            let bytes = if n % 3 == 0 { 2_000 } else { pace.most_bytes() };
            let of_bytes = Duration::from_micros(1_000 * bytes as u64 / bytes_per_ms as u64);
            pace.stored(bytes, of_batch + of_bytes);
        }
        most.split_off(50)
    }

    #[test]
    fn a_slow_store_gets_smaller_batches_and_a_fast_one_the_largest() {
        let mut pace = Pace::default();
        assert_eq!(pace.most_bytes(), MOST);
        let of_batch = Duration::from_millis(1);
        assert_eq!(settled(&mut pace, of_batch, 50_000), [MOST; 50]);
        // A MiB would take 105 ms, and 128 KiB take 13.
        assert_eq!(settled(&mut pace, of_batch, 10_000), [128 << 10; 50]);
        assert_eq!(settled(&mut pace, of_batch, 100), [LEAST; 50]);
        assert_eq!(settled(&mut pace, of_batch, 50_000), [MOST; 50], "it is fast again");
    }

    #[test]
    fn a_store_that_is_far_away_gets_no_smaller_batches() {
        assert_eq!(settled(&mut Pace::default(), Duration::from_millis(80), 50_000), [MOST; 50]);
    }

    #[test]
    fn batches_of_one_size_are_bounded_too() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            let took = Duration::from_micros(1_000 + pace.most_bytes() as u64 / 10);
            pace.stored(pace.most_bytes(), took);
        }
        assert!([128 << 10, 256 << 10].contains(&pace.most_bytes()), "{}", pace.most_bytes());
    }

    #[test]
    fn a_batch_that_was_slow_once_is_soon_forgotten() {
        for bytes in [1_000, MOST] {
            let mut pace = Pace::default();
            settled(&mut pace, Duration::from_millis(1), 50_000);
            pace.stored(bytes, Duration::from_mins(1));
            assert_eq!(settled(&mut pace, Duration::from_millis(1), 50_000), [MOST; 50]);
        }
    }
}
