//! Brings sound to the form that the voice detector and the models take: 16 kHz, one channel.

use std::ops::RangeInclusive;

use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};
use teammy_kernel::data::AudioFrame;

/// Samples a second.
pub(crate) const RATE: u32 = 16_000;

/// The sample rates that are understood.
pub(crate) const RATES: RangeInclusive<u32> = 4_000..=192_000;

/// One channel, at the rate at which it came. Samples are as large as 16-bit integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mono {
    pub(crate) rate: u32,
    pub(crate) samples: Vec<f32>,
}

impl Mono {
    /// The mean of a frame's channels; `None` if it has none, or a rate that no sound has. An incomplete
    /// sample at its end is left out.
    pub(crate) fn of(frame: &AudioFrame) -> Option<Self> {
        if frame.channels == 0 || !RATES.contains(&frame.sample_rate) {
            return None;
        }
        let one_of_each = frame.samples.chunks_exact(2 * usize::from(frame.channels));
        let mean = |samples: &[u8]| {
            let sum: f32 =
                samples.chunks_exact(2).map(|two| f32::from(i16::from_le_bytes([two[0], two[1]]))).sum();
            sum / f32::from(frame.channels)
        };
        Some(Self { rate: frame.sample_rate, samples: one_of_each.map(mean).collect() })
    }
}

/// Brings one channel to [`RATE`]. What it gives begins with the first sample that it took, and lags a few
/// milliseconds behind until [`finish`](Self::finish).
pub(crate) struct Resampler {
    rate: u32,
    /// None if the rate is right already.
    sinc: Option<Box<Sinc>>,
    taken: u64,
}

/// A resampler with a filter that is made for its rate.
struct Sinc {
    resampler: Async<f32>,
    /// What is not a whole chunk yet.
    input: Vec<f32>,
    output: Vec<f32>,
    /// How many samples of output are still the filter's beginning, before the first sample of input.
    skip: u64,
    given: u64,
}

impl Resampler {
    pub(crate) fn new(rate: u32) -> Self {
        let sinc = (rate != RATE).then(|| Box::new(Sinc::new(rate)));
        Self { rate, sinc, taken: 0 }
    }

    /// The rate of what it takes.
    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    /// How many samples it took.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many samples it gives for those that it took, once it is finished.
    pub(crate) fn due(&self) -> u64 {
        let (rate, due) = (u64::from(self.rate), self.taken.saturating_mul(u64::from(RATE)));
        due.saturating_add(rate / 2) / rate
    }

    /// Takes samples, and appends what it has of the result to `out`.
    pub(crate) fn push(&mut self, samples: &[f32], out: &mut Vec<i16>) {
        self.taken += samples.len() as u64;
        let Some(sinc) = &mut self.sinc else {
            out.extend(samples.iter().map(|sample| to_i16(*sample)));
            return;
        };
        sinc.input.extend_from_slice(samples);
        while sinc.input.len() >= sinc.resampler.input_frames_next() {
            sinc.next_chunk(None, u64::MAX, out);
        }
    }

    /// Appends the rest of the result to `out`.
    pub(crate) fn finish(mut self, out: &mut Vec<i16>) {
        let due = self.due();
        let Some(sinc) = &mut self.sinc else { return };
        while sinc.given < due {
            let rest = sinc.input.len();
            sinc.next_chunk(Some(rest), due, out);
        }
    }
}

impl Sinc {
    fn new(rate: u32) -> Self {
        // 64 taps keep aliases inaudible up to the highest frequencies of speech, and cost little.
        let parameters = SincInterpolationParameters::new(64, WindowFunction::Blackman2)
            .oversampling_factor(64)
            .interpolation(SincInterpolationType::Linear);
        let ratio = f64::from(RATE) / f64::from(rate);
        // A hundredth of a second.
        let chunk = usize::try_from(rate / 100).expect("invariant: a rate is in range");
        let resampler = Async::new_sinc(ratio, 1.0, &parameters, chunk, 1, FixedAsync::Input)
            .expect("invariant: a rate in range can be resampled");
        let output = vec![0.0; resampler.output_frames_max()];
        let skip = resampler.output_delay() as u64;
        Self { resampler, input: Vec::new(), output, skip, given: 0 }
    }

    /// Resamples a chunk. If it is the rest of the sound, silence follows it, and no more than `due` samples
    /// are given.
    fn next_chunk(&mut self, rest: Option<usize>, due: u64, out: &mut Vec<i16>) {
        let indexing = rest.map(|rest| Indexing::new().partial_len(rest));
        let frames = self.output.len();
        let input = InterleavedSlice::new(&self.input, 1, self.input.len());
        let output = InterleavedSlice::new_mut(&mut self.output, 1, frames);
        let (input, mut output) =
            input.and_then(|input| Ok((input, output?))).expect("invariant: slices of one channel");
        let done = self.resampler.process_into_buffer(&input, &mut output, indexing.as_ref());
        let (read, written) = done.expect("invariant: the buffers hold a chunk");
        self.input.drain(..read.min(self.input.len()));
        let fresh = self.output[..written].iter().skip(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let most = usize::try_from(due - self.given).unwrap_or(usize::MAX);
        let before = out.len();
        out.extend(fresh.take(most).map(|sample| to_i16(*sample)));
        self.given += (out.len() - before) as u64;
        self.skip = self.skip.saturating_sub(written as u64);
    }
}

fn to_i16(sample: f32) -> i16 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast of a float takes the nearest integer in range"
    )]
    let sample = sample.round() as i16;
    sample
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(sample_rate: u32, channels: u16, samples: &[i16]) -> AudioFrame {
        let samples: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        AudioFrame { sample_rate, channels, samples: samples.into() }
    }

    /// A tone of 440 Hz.
    fn tone(rate: u32, samples: u32) -> Vec<f32> {
        let at = |n: u32| f64::from(n) / f64::from(rate) * 440.0 * std::f64::consts::TAU;
        #[expect(clippy::cast_possible_truncation, reason = "it is a sample")]
        (0..samples).map(|n| (at(n).sin() * 10_000.0) as f32).collect()
    }

    fn resampled(rate: u32, samples: &[f32], pieces: usize) -> Vec<i16> {
        let (mut resampler, mut out) = (Resampler::new(rate), Vec::new());
        for piece in samples.chunks(pieces) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn channels_become_their_mean() {
        let samples = |frame| Mono::of(&frame).map(|mono| mono.samples);
        assert_eq!(samples(frame(8_000, 2, &[100, 200, -5, 5])), Some(vec![150.0, 0.0]));
        assert_eq!(samples(frame(8_000, 1, &[i16::MIN, i16::MAX])), Some(vec![-32_768.0, 32_767.0]));
        assert_eq!(samples(frame(8_000, 2, &[1, 3, 7])), Some(vec![2.0]), "an incomplete sample at the end");
        assert_eq!(samples(frame(8_000, 0, &[1])), None);
        for rate in [0, 1, 3_999, 192_001, u32::MAX] {
            assert_eq!(samples(frame(rate, 1, &[1])), None, "{rate}");
        }
    }

    #[test]
    fn a_tone_stays_where_it_is() {
        for rate in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000] {
            let out = resampled(rate, &tone(rate, rate), 441);
            assert_eq!(out.len(), 16_000, "{rate}");
            let wanted = tone(RATE, RATE);
            // At both ends the filter meets silence. It is centered on a sample, so it may be off by one.
            let off_by = |shift: usize| {
                let differences = (200..15_800).map(|n| (f32::from(out[n]) - wanted[n + shift - 1]).abs());
                differences.fold(0.0, f32::max)
            };
            let best = (0..=2).map(off_by).fold(f32::MAX, f32::min);
            assert!(best < 900.0, "{rate}: {best}");
        }
    }

    proptest! {
        #[test]
        fn the_length_is_right_however_the_sound_comes(
            rate in prop::sample::select(vec![4_000u32, 8_000, 16_000, 22_050, 44_100, 48_000, 192_000]),
            samples in 0u32..10_000,
            pieces in 1usize..3_000,
        ) {
            let samples = tone(rate, samples);
            let out = resampled(rate, &samples, pieces);
            let rate_of = |samples: usize, rate: u32| i64::try_from(samples).unwrap() * i64::from(rate);
            let off = (rate_of(out.len(), rate) - rate_of(samples.len(), RATE)).abs();
            prop_assert!(2 * off <= i64::from(rate), "{} of {}", out.len(), samples.len());
            prop_assert_eq!(out, resampled(rate, &samples, 10_000));
        }
    }
}
