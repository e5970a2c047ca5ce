use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { silence: 38, padding: 12, longest: 1_250, speech: 16 };

/// Takes what is loud for speech.
struct Loudness;

impl Detect for Loudness {
    fn score(&mut self, window: &[i16]) -> f32 {
        if window.iter().any(|sample| sample.unsigned_abs() > 1_000) { 1.0 } else { 0.0 }
    }

    fn reset(&mut self) {}
}

fn speaker(limits: Limits) -> Speaker<Loudness> {
    Speaker::new(Loudness, limits)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms)
}

/// A frame of this time, with a tone where somebody speaks (from and to, in milliseconds).
fn frame(spoken: &[(i64, i64)], rate: u32, from: i64, ms: i64) -> Mono {
    let count = i64::from(rate) * ms / 1_000;
    let sample = |n: i64| {
        let micros = from * 1_000 + n * 1_000_000 / i64::from(rate);
        let is_loud = spoken.iter().any(|(from, to)| (from * 1_000..to * 1_000).contains(&micros));
        match (is_loud, micros / 1_000 % 2) {
            (false, _) => 0.0,
            (true, 0) => 8_000.0,
            (true, _) => -8_000.0,
        }
    };
    Mono { rate, samples: (0..count).map(sample).collect() }
}

/// From when to when somebody spoke, in milliseconds.
fn times(heard: &[Heard]) -> Vec<(i64, i64)> {
    let ms = |heard: &Heard, time: Duration| after(heard.start, time).as_millisecond();
    heard.iter().map(|heard| (ms(heard, heard.speech.start), ms(heard, heard.speech.end))).collect()
}

#[track_caller]
fn assert_near(heard: &[Heard], spoken: &[(i64, i64)], tolerance: i64) {
    let times = times(heard);
    assert_eq!(times.len(), spoken.len(), "{times:?} and {spoken:?}");
    for (heard, spoken) in times.iter().zip(spoken) {
        let off = (heard.0 - spoken.0).abs().max((heard.1 - spoken.1).abs());
        assert!(off <= tolerance, "{heard:?} and {spoken:?}");
    }
}

/// Frames of 20 ms, up to this time, each dated by its beginning and the given jitter; `None` sends none.
fn heard(spoken: &[(i64, i64)], rate: u32, until: i64, sent: impl Fn(i64) -> Option<i64>) -> Vec<Heard> {
    let (mut speaker, mut ended) = (speaker(LIMITS), Vec::new());
    for from in (0..until).step_by(20) {
        if let Some(jitter) = sent(from) {
            speaker.hear(at(from + jitter), &frame(spoken, rate, from, 20), &mut ended);
        }
    }
    speaker.pause(&mut ended);
    ended
}

#[test]
fn frames_that_are_missing_while_somebody_speaks_are_silence() {
    let ended =
        heard(&[(1_000, 3_000)], 48_000, 5_000, |from| (!(1_500..1_800).contains(&from)).then_some(0));
    assert_near(&ended, &[(1_000, 3_000)], 20);
    let gap_at = usize::try_from((at(1_600).duration_since(ended[0].start)).as_millis()).unwrap() * 16;
    assert!(ended[0].samples[gap_at..][..1_600].iter().all(|sample| sample.unsigned_abs() < 100));
}

#[test]
fn a_microphone_that_is_turned_off_ends_a_segment() {
    let spoken = [(1_000, 2_000), (2_700, 4_000)];
    let ended = heard(&spoken, 16_000, 5_000, |from| (!(2_000..2_700).contains(&from)).then_some(0));
    assert_near(&ended, &spoken, 20);
}

#[test]
fn a_clock_that_is_set_back_ends_a_segment_and_loses_nothing() {
    let ended = heard(&[(1_000, 4_000)], 16_000, 5_000, |from| Some(if from < 2_000 { 0 } else { -90_000 }));
    assert_near(&ended, &[(1_000, 2_000), (2_000 - 90_000, 4_000 - 90_000)], 20);
}

#[test]
fn a_clock_that_is_faster_than_the_microphone_adds_up_no_error() {
    let spoken: Vec<_> = (0..30).map(|turn| (turn * 5_000 + 1_000, turn * 5_000 + 2_000)).collect();
    let ended = heard(&spoken, 16_000, 150_000, |from| Some(from / 500));
    let drifted: Vec<_> = spoken.iter().map(|(from, to)| (from + from / 500, to + to / 500)).collect();
    assert_near(&ended, &drifted, 20);
}

#[test]
fn the_rate_may_change_in_the_middle_of_a_word() {
    let (mut speaker, mut ended) = (speaker(LIMITS), Vec::new());
    let spoken = [(500, 1_500), (3_000, 3_500)];
    for (index, from) in (0..5_000).step_by(20).enumerate() {
        let rate = [48_000, 8_000, 16_000, 44_100][index / 8 % 4];
        speaker.hear(at(from), &frame(&spoken, rate, from, 20), &mut ended);
    }
    speaker.pause(&mut ended);
    assert_near(&ended, &spoken, 20);
}

#[test]
fn times_at_the_end_of_all_times_do_no_harm() {
    let (mut speaker, mut ended) = (speaker(LIMITS), Vec::new());
    for time in [Timestamp::MAX, Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        speaker.hear(time, &frame(&[(0, 400)], 16_000, 0, 400), &mut ended);
    }
    speaker.pause(&mut ended);
    assert_eq!(ended.len(), 4);
}

prop_compose! {
    /// Turns that are long enough to be heard, with enough silence between them.
    fn any_turns()(
        lengths in prop::collection::vec((900i64..3_000, 300i64..2_000), 1..6),
    ) -> Vec<(i64, i64)> {
        let mut now = 0;
        let mut turn = |(silence, speech)| {
            let from = now + silence;
            now = from + speech;
            (from, now)
        };
        lengths.into_iter().map(&mut turn).collect()
    }
}

const RATES: [u32; 6] = [8_000, 16_000, 24_000, 32_000, 44_100, 48_000];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn times_are_right_to_20_ms(
        turns in any_turns(),
        rate in prop::sample::select(&RATES[..]),
        muted in 0i64..400,
    ) {
        let end = turns.last().unwrap().1 + 1_000;
        // While nobody speaks, a participant with a good microphone sends nothing.
        let is_heard = |at: i64| turns.iter().any(|turn| (turn.0 - muted..turn.1 + muted).contains(&at));
        let ended = heard(&turns, rate, end, |from| (muted == 0 || is_heard(from + 10)).then_some(0));
        assert_near(&ended, &turns, 20);
    }

    #[test]
    fn frames_that_come_early_or_late_do_no_harm(
        turns in any_turns(),
        rate in prop::sample::select(&RATES[..]),
        jitter in prop::collection::vec(-40i64..=40, 50),
    ) {
        let end = turns.last().unwrap().1 + 1_000;
        let ended = heard(&turns, rate, end, |from| {
            Some(jitter[usize::try_from(from / 20).unwrap() % jitter.len()])
        });
        assert_near(&ended, &turns, 60);
    }

    #[test]
    fn no_speech_is_lost_whatever_the_times_are(
        frames in prop::collection::vec((-3_000i64..3_000, 1usize..2_000, any::<bool>()), 1..60),
    ) {
        let limits = Limits { speech: 1, ..LIMITS };
        let (mut speaker, mut ended, mut spoken) = (speaker(limits), Vec::new(), 0);
        for (ms, samples, is_loud) in frames {
            let loudness = if is_loud { 8_000.0 } else { 0.0 };
            speaker.hear(at(ms), &Mono { rate: 16_000, samples: vec![loudness; samples] }, &mut ended);
            spoken += if is_loud { samples } else { 0 };
        }
        speaker.pause(&mut ended);
        let loud = ended.iter().flat_map(|heard| &heard.samples).filter(|sample| **sample != 0).count();
        prop_assert_eq!(loud, spoken);
        prop_assert!(ended.iter().all(|heard| heard.samples.len() <= limits.longest * WINDOW));
    }
}

#[test]
fn what_is_cut_while_somebody_speaks_goes_on_and_loses_nothing() {
    // Cut after each frame, and again and again: whatever is too short for a segment waits for more.
    for every in [1, 7, 25, 60] {
        let (mut speaker, mut ended) = (speaker(LIMITS), Vec::new());
        for frame in 0..150 {
            speaker.hear(at(frame * 20), &self::frame(&[(1_000, 1_900)], RATE, frame * 20, 20), &mut ended);
            if frame % every == 0 {
                speaker.cut(&mut ended);
            }
        }
        speaker.pause(&mut ended);
        let times = times(&ended);
        assert!((1..=4).contains(&times.len()), "{every}: {times:?}");
        assert!((times[0].0 - 1_000).abs() <= 40, "{every}: {times:?}");
        assert!((times[times.len() - 1].1 - 1_900).abs() <= 40, "{every}: {times:?}");
        assert!(times.windows(2).all(|pair| (pair[1].0 - pair[0].1).abs() <= 40), "{every}: {times:?}");
        assert_eq!(speaker.take_too_short(), 0);
    }
}

#[test]
fn what_follows_a_cut_after_a_gap_is_a_segment_of_its_own() {
    let (mut speaker, mut ended) = (speaker(LIMITS), Vec::new());
    // Half a second of speech, then nothing, then a tenth of a second, which is too short.
    for frame in (0..75).chain(150..200) {
        let spoken = [(1_000, 1_500), (3_200, 3_300)];
        speaker.hear(at(frame * 20), &self::frame(&spoken, RATE, frame * 20, 20), &mut ended);
        if frame == 74 {
            speaker.cut(&mut ended);
            assert_eq!(ended.len(), 1);
        }
    }
    speaker.pause(&mut ended);
    assert_near(&ended, &[(1_000, 1_500)], 40);
    assert_eq!(speaker.take_too_short(), 1);
}
