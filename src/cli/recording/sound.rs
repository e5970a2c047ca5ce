//! Reads a WAV file as frames of 20 ms.
//!
//! `hound` reads the description of the samples and the samples; the chunks before them are read here, because of
//! files as programs write them: a chunk of odd length is followed by a byte that does not count, and a program
//! that writes to a pipe cannot know the length of the sound, and gives one that no file has.
//!
//! Nothing seeks, and one frame is in memory at a time.

use std::{
    io::{self, Chain, Cursor, Read},
    sync::Arc,
};

use hound::{SampleFormat, WavIntoSamples, WavReader, WavSpec};
use teammy::{Publish, Timestamp, data::AudioFrame};
use tokio::time::Duration;

/// The length of a frame in milliseconds.
const FRAME_MS: u64 = 20;

/// How many frames a second has.
const FRAMES_A_SECOND: u64 = 1000 / FRAME_MS;

/// The longest description of samples that is read. Known ones have up to 40 bytes.
const LONGEST_FORMAT: u32 = 1 << 10;

/// The length of the sound from which on it is the one that a program writes which does not know it.
const UNKNOWN_LENGTH: u32 = 0x7fff_f000;

/// Why a WAV file cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it is damaged ({0}); get the file again")]
    Damaged(&'static str),
    #[error("its samples are coded in a way that is not read; convert them to 16-bit PCM")]
    Coding,
    #[error("it is cut off after {} ms of sound; get the file again", .0 * FRAME_MS)]
    CutOff(u64),
    #[error("it has no sound")]
    NoSound,
    #[error("it has {0} samples a second, which is no sound")]
    Rate(u32),
    #[error("it is longer than a WAV file can be; play it in parts")]
    TooLong,
    #[error("{}", participants(*.channels))]
    Participants { channels: u16 },
    #[error("its times are beyond any date, counted from {from}")]
    BeyondDates { from: Timestamp },
}

fn participants(channels: u16) -> String {
    match channels {
        1 => "it has one channel; give --participant once".to_owned(),
        _ => format!(
            "it has {channels} channels; give --participant once, for a sound with all of them, or {channels} times, \
             for the sound of each in their order"
        ),
    }
}

/// Why the next frame cannot be read.
#[derive(Debug)]
pub(super) enum FrameError {
    Read(io::Error),
    Problem(Problem),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Problem> for FrameError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Whether a file with these first bytes is a WAV file.
pub(super) fn is_wave(head: &[u8]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE")
}

/// A header that `hound` reads, and the samples behind it.
type Source<R> = Chain<Cursor<Vec<u8>>, R>;

enum Samples<R> {
    Integers { samples: WavIntoSamples<Source<R>, i32>, bits: u16 },
    Floats(WavIntoSamples<Source<R>, f32>),
}

impl<R: Read> Samples<R> {
    /// The next sample, as 16 bits.
    #[allow(clippy::cast_possible_truncation, reason = "the value is made to fit before")]
    fn next(&mut self) -> Option<hound::Result<i16>> {
        match self {
            Self::Integers { samples, bits } => Some(samples.next()?.map(|sample| match *bits {
                16 => sample as i16,
                bits @ 17.. => (sample >> (bits - 16)) as i16,
                bits => (sample << (16 - bits)) as i16,
            })),
            // A NaN becomes 0.
            Self::Floats(samples) => Some(samples.next()?.map(|sample| {
                let scaled = (f64::from(sample) * 32768.0).round();
                scaled.clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
            })),
        }
    }
}

/// Reads the frames of a WAV file.
pub(super) struct Frames<R> {
    spec: WavSpec,
    samples: Samples<R>,
    /// How many frames have been read.
    read: u64,
    /// How many samples there are at most, of all channels.
    left: u64,
    /// Whether the sound ends with the file, because its length is not given.
    is_open: bool,
}

impl<R: Read> Frames<R> {
    /// Reads all that is before the samples.
    pub(super) fn new(mut reader: R) -> Result<Self, FrameError> {
        const BEFORE_SOUND: Problem = Problem::Damaged("it ends before its sound begins");
        let mut riff = [0; 12];
        exact(&mut reader, &mut riff)?.ok_or(BEFORE_SOUND)?;
        let mut format = None;
        let length = loop {
            let mut chunk = [0; 8];
            exact(&mut reader, &mut chunk)?.ok_or(BEFORE_SOUND)?;
            let [a, b, c, d, length @ ..] = chunk;
            let length = u32::from_le_bytes(length);
            match &[a, b, c, d] {
                b"data" => break length,
                b"fmt " if length > LONGEST_FORMAT => {
                    return Err(Problem::Damaged("its description of the samples is too long").into());
                }
                b"fmt " => {
                    let mut bytes = vec![0; length as usize];
                    exact(&mut reader, &mut bytes)?.ok_or(BEFORE_SOUND)?;
                    format = Some(bytes);
                    skip(&mut reader, u64::from(length % 2))?;
                }
                _ => skip(&mut reader, u64::from(length) + u64::from(length % 2))?,
            }
        };
        let format = format.ok_or(Problem::Damaged("it does not describe its samples"))?;
        let block = match format.get(12..14) {
            Some(&[low, high]) if [low, high] != [0, 0] => u32::from(u16::from_le_bytes([low, high])),
            _ => return Err(Problem::Damaged("its samples have no size").into()),
        };
        let is_open = length >= UNKNOWN_LENGTH;
        let length = if is_open { u32::MAX / block * block } else { length };
        let reader = WavReader::new(Cursor::new(header(&riff, &format, length)).chain(reader));
        let reader = reader.map_err(|error| FrameError::new(error, 0))?;
        let (spec, left) = (reader.spec(), u64::from(reader.len()));
        if left == 0 {
            return Err(Problem::NoSound.into());
        }
        if u64::from(spec.sample_rate) < FRAMES_A_SECOND {
            return Err(Problem::Rate(spec.sample_rate).into());
        }
        let samples = match spec.sample_format {
            SampleFormat::Int => {
                Samples::Integers { samples: reader.into_samples(), bits: spec.bits_per_sample }
            }
            SampleFormat::Float => Samples::Floats(reader.into_samples()),
        };
        Ok(Self { spec, samples, read: 0, left, is_open })
    }

    pub(super) fn spec(&self) -> Spec {
        Spec { sample_rate: self.spec.sample_rate, channels: self.spec.channels }
    }

    /// The next frame: the samples of all channels, interleaved.
    pub(super) fn next(&mut self) -> Result<Option<Vec<i16>>, FrameError> {
        if self.left == 0 {
            return if self.is_open { Err(Problem::TooLong.into()) } else { Ok(None) };
        }
        // A rate such as 11,025 Hz does not divide into equal frames.
        let begins = |frame: u64| frame * u64::from(self.spec.sample_rate) / FRAMES_A_SECOND;
        let channels = u64::from(self.spec.channels);
        let wanted = ((begins(self.read + 1) - begins(self.read)) * channels).min(self.left);
        let mut frame = Vec::new();
        for _ in 0..wanted {
            match self.samples.next() {
                Some(Ok(sample)) => frame.push(sample),
                None => break,
                Some(Err(hound::Error::IoError(error))) if is_end(&error) => {
                    if !self.is_open {
                        return Err(Problem::CutOff(self.read).into());
                    }
                    (self.left, self.is_open) = (0, false);
                    // What a program was writing when it was stopped.
                    frame.truncate(
                        frame.len() / usize::from(self.spec.channels) * usize::from(self.spec.channels),
                    );
                    if frame.is_empty() {
                        return if self.read == 0 { Err(Problem::NoSound.into()) } else { Ok(None) };
                    }
                    self.read += 1;
                    return Ok(Some(frame));
                }
                Some(Err(error)) => return Err(FrameError::new(error, self.read)),
            }
        }
        self.left -= wanted;
        self.read += 1;
        Ok(Some(frame))
    }
}

impl FrameError {
    /// What an error means that occurred after this many frames.
    fn new(error: hound::Error, frames: u64) -> Self {
        match error {
            hound::Error::IoError(error) if is_end(&error) => Problem::CutOff(frames).into(),
            hound::Error::IoError(error) => Self::Read(error),
            hound::Error::FormatError(problem) => Problem::Damaged(problem).into(),
            _ => Problem::Coding.into(),
        }
    }
}

/// Whether `hound` reports the end of a file in this way.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other
}

/// Fills a buffer; `None` if the file ends before.
fn exact(reader: &mut impl Read, into: &mut [u8]) -> io::Result<Option<()>> {
    let mut filled = 0;
    while filled < into.len() {
        match reader.read(&mut into[filled..]) {
            Ok(0) => return Ok(None),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(()))
}

fn skip(reader: &mut impl Read, bytes: u64) -> io::Result<()> {
    // Where the file ends before, no sound follows, which is found then.
    io::copy(&mut reader.take(bytes), &mut io::sink()).map(drop)
}

/// A file's header with nothing but what `hound` needs.
fn header(riff: &[u8; 12], format: &[u8], length: u32) -> Vec<u8> {
    let mut header = riff.to_vec();
    header.extend(b"fmt ");
    header.extend(u32::try_from(format.len()).unwrap_or(LONGEST_FORMAT).to_le_bytes());
    header.extend(format);
    header.extend(b"data");
    header.extend(length.to_le_bytes());
    header
}

/// Whose sound the channels are.
#[derive(Debug)]
pub(super) enum Voices {
    /// All channels are one participant's, or nobody's.
    Together(Option<Arc<str>>),
    /// Each channel is a participant's.
    Apart(Vec<Arc<str>>),
}

impl Voices {
    pub(super) fn new(participants: &[Arc<str>], channels: u16) -> Result<Self, Problem> {
        match participants {
            [] => Ok(Self::Together(None)),
            [one] => Ok(Self::Together(Some(one.clone()))),
            many if many.len() == usize::from(channels) => Ok(Self::Apart(many.to_vec())),
            _ => Err(Problem::Participants { channels }),
        }
    }

    /// How many packets a frame becomes.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Together(_) => 1,
            Self::Apart(participants) => participants.len() as u64,
        }
    }

    /// The packets of the frame with this index, of a meeting that began at `start`.
    pub(super) fn packets(
        &self,
        index: u64,
        samples: &[i16],
        spec: Spec,
        start: Timestamp,
    ) -> Result<Vec<Publish>, Problem> {
        let at = Duration::from_millis(index.saturating_mul(FRAME_MS));
        let at = start.checked_add(at).map_err(|_| Problem::BeyondDates { from: start })?;
        let packet = |channels: u16, samples: &mut dyn Iterator<Item = &i16>| {
            let samples: Vec<u8> = samples.flat_map(|sample| sample.to_le_bytes()).collect();
            let frame = AudioFrame { sample_rate: spec.sample_rate, channels, samples: samples.into() };
            Publish::audio(frame).timestamp(at)
        };
        Ok(match self {
            Self::Together(None) => vec![packet(spec.channels, &mut samples.iter())],
            Self::Together(Some(name)) => {
                vec![packet(spec.channels, &mut samples.iter()).participant(name.clone())]
            }
            Self::Apart(names) => {
                let of = |(channel, name): (usize, &Arc<str>)| {
                    let own = &mut samples.iter().skip(channel).step_by(names.len());
                    packet(1, own).participant(name.clone())
                };
                names.iter().enumerate().map(of).collect()
            }
        })
    }
}

/// What is the same in all frames of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spec {
    sample_rate: u32,
    pub(super) channels: u16,
}

/// Keeps what is read.
pub(super) struct Keeping<'a, R> {
    pub(super) reader: R,
    pub(super) kept: Option<&'a mut Vec<u8>>,
}

impl<R: Read> Read for Keeping<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&into[..read]);
        }
        Ok(read)
    }
}
