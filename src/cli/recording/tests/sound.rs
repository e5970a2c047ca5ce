//! Sound as WAV.

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::{collection::vec, prelude::*};
use teammy::{FromPacket, MeetingId, Seq, data::AudioFrame};

use super::*;

const MONO: WavSpec =
    WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: SampleFormat::Int };

/// A WAV file with these samples.
fn wave<S: hound::Sample>(spec: WavSpec, samples: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut file = io::Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

/// How many bytes there are before the samples of a file that `hound` writes in 16 bits.
const HEADER: usize = 44;

fn options(participants: &[&str]) -> Options {
    let participants = participants.iter().map(|&name| name.into()).collect();
    Options { started_at: Some(Timestamp::UNIX_EPOCH), participants, ..STOP }
}

fn sound(bytes: impl AsRef<[u8]>, options: Options) -> Result<Recording, Error> {
    Recording::read("x".into(), bytes.as_ref(), None, rules(1 << 20), options)
}

fn wrong(bytes: impl AsRef<[u8]>, options: Options) -> String {
    sound(bytes, options).unwrap_err().to_string()
}

/// A frame that is played: its time in milliseconds, who is heard, the rate, the channels, and the samples.
type Frame = (i64, Option<String>, u32, u16, Vec<i16>);

fn frame_of(publish: Publish) -> Frame {
    assert_eq!(publish.source, "audio");
    let at = publish.timestamp.unwrap();
    let who = publish.participant.as_deref().map(str::to_owned);
    let packet = publish.into_packet(MeetingId::new("m").unwrap(), Seq(1), at);
    let frame = AudioFrame::from_packet(&Arc::new(packet)).unwrap();
    let samples = frame.samples.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]));
    (at.as_millisecond(), who, frame.sample_rate, frame.channels, samples.collect())
}

fn frames(bytes: impl AsRef<[u8]>, participants: &[&str]) -> Vec<Frame> {
    let recording = sound(bytes, options(participants)).unwrap();
    let played: Vec<Frame> = recording.play().unwrap().map(|packet| frame_of(packet.unwrap().0)).collect();
    assert_eq!(played.len() as u64, recording.len());
    played
}

#[test]
fn sound_is_frames_of_20_ms() {
    let played = frames(wave(MONO, 0..400_i16), &["Ada"]);
    let lengths: Vec<_> = played.iter().map(|(at, .., samples)| (*at, samples.len())).collect();
    assert_eq!(lengths, [(0, 160), (20, 160), (40, 80)], "the last frame is shorter");
    assert!(
        played
            .iter()
            .all(|(_, who, rate, channels, _)| (who.as_deref(), *rate, *channels) == (Some("Ada"), 8000, 1))
    );
    let samples: Vec<i16> = played.into_iter().flat_map(|frame| frame.4).collect();
    assert_eq!(samples, (0..400).collect::<Vec<i16>>());

    let odd = WavSpec { sample_rate: 11_025, ..MONO };
    let lengths: Vec<_> =
        frames(wave(odd, vec![0_i16; 882]), &[]).into_iter().map(|frame| (frame.0, frame.4.len())).collect();
    assert_eq!(lengths, [(0, 220), (20, 221), (40, 220), (60, 221)], "four frames are 80 ms");
}

#[test]
fn channels_are_one_participant_or_one_each() {
    let stereo = wave(WavSpec { channels: 2, ..MONO }, [1_i16, -1, 2, -2, 3, -3]);
    let both = vec![1, -1, 2, -2, 3, -3];
    assert_eq!(frames(&stereo, &[]), [(0, None, 8000, 2, both.clone())]);
    assert_eq!(frames(&stereo, &["Ada"]), [(0, Some("Ada".to_owned()), 8000, 2, both)]);
    assert_eq!(
        frames(&stereo, &["Ada", "Bo"]),
        [
            (0, Some("Ada".to_owned()), 8000, 1, vec![1, 2, 3]),
            (0, Some("Bo".to_owned()), 8000, 1, vec![-1, -2, -3])
        ]
    );
    let error = wrong(&stereo, options(&["Ada", "Bo", "Cy"]));
    assert_eq!(
        error,
        "cannot play x: it has 2 channels; give --participant once, for a sound with all of them, or 2 times, for the \
         sound of each in their order"
    );
    let error = wrong(wave(MONO, [1_i16]), options(&["Ada", "Bo"]));
    assert!(error.ends_with("it has one channel; give --participant once"), "{error}");
}

#[test]
fn every_width_becomes_16_bits() {
    let of = |bits, sample_format| WavSpec { bits_per_sample: bits, sample_format, ..MONO };
    let samples = |bytes: Vec<u8>| frames(bytes, &[]).remove(0).4;
    let int = SampleFormat::Int;
    assert_eq!(samples(wave(of(8, int), [-128_i8, -1, 0, 127])), [-32768, -256, 0, 32512]);
    assert_eq!(samples(wave(of(16, int), [i16::MIN, -1, 0, i16::MAX])), [i16::MIN, -1, 0, i16::MAX]);
    assert_eq!(samples(wave(of(24, int), [-8_388_608, -256, 255, 8_388_607])), [i16::MIN, -1, 0, i16::MAX]);
    assert_eq!(
        samples(wave(of(32, int), [i32::MIN, -65_536, 65_535, i32::MAX])),
        [i16::MIN, -1, 0, i16::MAX]
    );
    let floats = [-1.0_f32, -0.5, 0.0, 0.5, 1.0, 2.0, f32::NAN];
    let expected = [i16::MIN, -16_384, 0, 16_384, i16::MAX, i16::MAX, 0];
    assert_eq!(samples(wave(of(32, SampleFormat::Float), floats)), expected);
}

#[test]
fn files_are_read_as_programs_write_them() {
    let file = wave(MONO, [1_i16, 2, 3]);
    let expected = vec![(0, None, 8000, 1, vec![1, 2, 3])];
    // A chunk of odd length, and the byte after it.
    let odd = [&file[..36], b"LIST\x03\0\0\0abc\0", &file[36..]].concat();
    let behind = [&file[..], b"LIST\x04\0\0\0abcd"].concat();
    let mut streamed = file.clone();
    streamed[40..HEADER].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut sox = file.clone();
    sox[40..HEADER].copy_from_slice(&0x7fff_f000_u32.to_le_bytes());
    for file in [&odd, &behind, &streamed, &sox, &gzip(&file), &gzip(gzip(&streamed))] {
        assert_eq!(frames(file, &[]), expected);
    }
    // A program was stopped that wrote to a pipe: what is whole of the last frame counts.
    let stereo = WavSpec { channels: 2, ..MONO };
    let mut stopped = wave(stereo, [1_i16, 2, 3, 4]);
    stopped[40..HEADER].copy_from_slice(&u32::MAX.to_le_bytes());
    stopped.pop();
    assert_eq!(frames(stopped, &[]), [(0, None, 8000, 2, vec![1, 2])]);
    let (_folder, path) = super::file(&file);
    let recording = Recording::check(&path, rules(1 << 20), options(&[])).unwrap();
    let played: Vec<Frame> = recording.play().unwrap().map(|packet| frame_of(packet.unwrap().0)).collect();
    assert_eq!(played, expected);
    assert_eq!(recording.producer().unwrap(), sound(&odd, options(&[])).unwrap().producer().unwrap());

    std::fs::write(&path, wave(WavSpec { channels: 3, ..MONO }, [1_i16, 2, 3])).unwrap();
    assert!(matches!(recording.play().map(drop), Err(Error::Changed(_))));
}

#[test]
fn a_limit_counts_packets_and_reads_no_further() {
    let stereo = WavSpec { channels: 2, ..MONO };
    let file = wave(stereo, vec![7_i16; 2 * 160 * 3]);
    let three = Options { limit: Some(3), ..options(&["Ada", "Bo"]) };
    let cut = &file[..HEADER + 2 * 2 * 160 * 2];
    let recording = sound(cut, three).unwrap();
    let played: Vec<_> = recording.play().unwrap().map(|packet| packet.unwrap().1).collect();
    assert_eq!((recording.len(), played), (3, vec![Place::Frame(1), Place::Frame(1), Place::Frame(2)]));
}

#[test]
fn what_cannot_be_played_is_said() {
    let file = wave(MONO, vec![7_i16; 400]);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let streamed = with(40, &u32::MAX.to_le_bytes());
    for (bytes, says) in [
        (file[..file.len() - 1].to_vec(), "x: it is cut off after 40 ms of sound; get the file again"),
        (file[..HEADER + 320].to_vec(), "it is cut off after 20 ms"),
        (streamed[..HEADER].to_vec(), "it has no sound"),
        (file[..30].to_vec(), "it ends before its sound begins"),
        (file[..12].to_vec(), "it ends before its sound begins"),
        (wave(MONO, [0_i16; 0]), "it has no sound"),
        (with(12, b"junk"), "it does not describe its samples"),
        (with(16, &u32::MAX.to_le_bytes()), "its description of the samples is too long"),
        (with(20, &[0x55, 0]), "coded in a way that is not read; convert them to 16-bit PCM"),
        (with(22, &[0, 0]), "it is damaged (file contains zero channels)"),
        (with(32, &[0, 0]), "its samples have no size"),
        (with(34, &[12, 0]), "it is damaged ("),
        (wave(WavSpec { sample_rate: 49, ..MONO }, [0_i16]), "it has 49 samples a second"),
    ] {
        let error = wrong(&bytes, options(&[]));
        assert!(error.starts_with("cannot play x: ") && error.contains(says), "{says}: {error}");
    }
    let error = wrong(&gzip(&file)[..50], options(&[]));
    assert!(error.starts_with("cannot unpack x: its gzip data is damaged"), "{error}");
    let error = recording(&file, STOP).unwrap_err().to_string();
    assert!(error.starts_with("cannot play x, frame 1: the packet carries 335 bytes"), "{error}");
    let late = Options { started_at: Some(Timestamp::MAX), ..STOP };
    assert!(wrong(&file, late).contains("beyond any date"));
    let encoded = Options { encoding: Some("utf-8".parse().unwrap()), ..STOP };
    assert!(wrong(&file, encoded).contains("leave out --encoding"));
    assert!(wrong(line(1), options(&["Ada"])).contains("leave out --participant"));
}

#[test]
fn the_readme_shows_a_frame() {
    let readme = include_str!("../../../../samples/README.md");
    let shown = readme.lines().find(|line| line.starts_with(r#"{"source": "audio""#)).unwrap();
    let publish = rules(64).packet(shown).unwrap().unwrap();
    assert_eq!(frame_of(publish).1.as_deref(), Some("Mira"));
    let publish = rules(64).packet(shown).unwrap().unwrap();
    let (_, _, rate, channels, samples) = frame_of(publish);
    assert_eq!((rate, channels, samples), (16_000, 1, vec![1, -2]));
}

proptest! {
    /// Whatever a header says: the file is refused, or all that was counted is played.
    #[test]
    fn no_header_panics(
        bits in prop::sample::select(vec![16_u16, 24, 32]),
        at in 12..70_usize,
        bytes in vec(any::<u8>(), 1..5),
        length in 0..900_usize,
    ) {
        let mut file = wave(WavSpec { bits_per_sample: bits, ..MONO }, vec![1_i32; 200]);
        file.splice(at..at + bytes.len(), bytes);
        file.truncate(length.max(12));
        if let Ok(recording) = sound(&file, options(&[])) {
            let played: Result<Vec<_>, _> = recording.play().unwrap().collect();
            prop_assert_eq!(played.unwrap().len() as u64, recording.len());
        }
    }
}
