use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { silence: 38, padding: 12, longest: 1_250, speech: 16 };

/// A window that is recognized by its samples: all are its number.
fn window(number: usize) -> [i16; WINDOW] {
    [i16::try_from(number).unwrap(); WINDOW]
}

/// The segments of sound whose windows are speech or not.
fn segments(limits: Limits, speech: &[bool]) -> Vec<Segment> {
    let mut segmenter = Segmenter::new(limits);
    let scored = speech.iter().enumerate();
    let mut segments: Vec<_> = scored
        .filter_map(|(number, is_speech)| segmenter.push(&window(number), if *is_speech { 1.0 } else { 0.0 }))
        .collect();
    segments.extend(segmenter.finish());
    segments
}

/// The numbers of a segment's windows.
fn numbers(segment: &Segment) -> Vec<usize> {
    let windows = segment.samples.chunks(WINDOW);
    windows.map(|window| usize::try_from(window[0]).unwrap()).collect()
}

/// Speech and silence in turns, so many windows of each.
fn turns(turns: &[usize]) -> Vec<bool> {
    turns.iter().enumerate().flat_map(|(index, count)| vec![index % 2 == 1; *count]).collect()
}

#[test]
fn a_segment_has_a_little_silence_on_both_sides() {
    let segments = segments(LIMITS, &turns(&[100, 50, 100]));
    assert_eq!(segments.len(), 1);
    assert_eq!(numbers(&segments[0]), (88..162).collect::<Vec<_>>());
    assert_eq!(segments[0].start, 88 * 256);
    assert_eq!(segments[0].speech, 12 * 256..62 * 256);
}

#[test]
fn silence_ends_a_segment_and_a_short_one_does_not() {
    let of = |silence| segments(LIMITS, &turns(&[0, 50, silence, 50])).len();
    assert_eq!((of(37), of(38)), (1, 2));
}

#[test]
fn what_is_too_short_is_dropped() {
    let of = |speech| segments(LIMITS, &turns(&[20, speech, 100])).len();
    assert_eq!((of(15), of(16)), (0, 1));
    // Short words with short pauses add up.
    assert_eq!(segments(LIMITS, &turns(&[20, 8, 20, 8, 100])).len(), 1);
}

#[test]
fn what_is_dropped_may_still_come_before_speech() {
    let segments = segments(LIMITS, &turns(&[20, 4, 38, 30]));
    assert_eq!(numbers(&segments[0])[0], 20 + 4 + 38 - 12);
}

#[test]
fn a_long_segment_is_cut_where_it_is_quietest_near_the_end() {
    let mut segmenter = Segmenter::new(LIMITS);
    let mut segments = Vec::new();
    for number in 0..2_000 {
        let loud = if (1_190..1_195).contains(&number) { 10 } else { 8_000 };
        segments.extend(segmenter.push(&[loud; WINDOW], 1.0));
    }
    segments.extend(segmenter.finish());
    let lengths: Vec<_> = segments.iter().map(|segment| segment.samples.len() / WINDOW).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 2_000);
    assert!((1_190..1_195).contains(&lengths[0]), "{lengths:?}");
    assert_eq!(segments[1].start, (lengths[0] * WINDOW) as u64);
}

#[test]
fn the_short_rest_of_a_cut_segment_is_kept() {
    let all = segments(LIMITS, &turns(&[0, 1_252, 100]));
    let kept: Vec<_> = all.iter().flat_map(numbers).collect();
    assert_eq!(kept, (0..1_252 + 12).collect::<Vec<_>>());
}

#[test]
fn a_rest_without_speech_is_dropped_after_the_same_silence() {
    let mut segmenter = Segmenter::new(LIMITS);
    let mut ended = Vec::new();
    for number in 0..1_300 {
        let (loudness, score) = if number < 1_240 { (8_000, 1.0) } else { (10, 0.0) };
        ended.extend(segmenter.push(&[loudness; WINDOW], score));
        assert_eq!(segmenter.is_open(), number < 1_240 + 37, "{number}");
    }
    assert_eq!(ended.len(), 1);
    assert!((1_240..=1_250).contains(&(ended[0].samples.len() / WINDOW)));
}

#[test]
fn the_end_of_a_word_may_score_less_than_its_beginning() {
    let mut segmenter = Segmenter::new(LIMITS);
    for number in 0..30 {
        assert_eq!(segmenter.push(&window(number), 0.4), None);
    }
    assert!(!segmenter.is_open());
    for number in 30..50 {
        segmenter.push(&window(number), if number < 40 { 0.9 } else { 0.4 });
    }
    let segment = segmenter.finish().unwrap();
    assert_eq!(segment.speech, 12 * WINDOW..32 * WINDOW);
    assert!(!segmenter.is_open());
}

prop_compose! {
    fn any_limits()(silence in 4usize..40, longest in 20usize..200, speech in 0usize..20)(
        padding in 0..=silence / 2,
        silence in Just(silence),
        longest in Just(longest.max(silence + 1)),
        speech in Just(speech),
    ) -> Limits {
        Limits { silence, padding, longest, speech }
    }
}

proptest! {
    #[test]
    fn no_speech_is_lost_or_sent_twice_and_no_silence_is_sent(
        limits in any_limits(),
        counts in proptest::collection::vec(0usize..120, 0..24),
    ) {
        let speech = turns(&counts);
        let segments = segments(limits, &speech);
        let sent: Vec<usize> = segments.iter().flat_map(numbers).collect();
        prop_assert!(sent.windows(2).all(|two| two[0] < two[1]), "twice, or out of order: {sent:?}");
        for segment in &segments {
            let numbers = numbers(segment);
            prop_assert!(numbers.len() <= limits.longest);
            prop_assert_eq!(segment.start, (numbers[0] * WINDOW) as u64);
            prop_assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "a gap");
            let (from, to) = (segment.speech.start / WINDOW, segment.speech.end / WINDOW);
            prop_assert!(speech[numbers[from]] && speech[numbers[to - 1]]);
            prop_assert!(numbers[..from].iter().chain(&numbers[to..]).all(|number| !speech[*number]));
        }
        for number in &sent {
            let spoke_before = (number.saturating_sub(limits.silence - 1)..=*number).any(|at| speech[at]);
            let speaks_soon = speech[*number..].iter().take(limits.padding + 1).any(|is_speech| *is_speech);
            prop_assert!(spoke_before || speaks_soon, "silence is sent: {number}");
        }
        // Stretches of speech between which nobody is silent for long enough.
        let spoken: Vec<usize> = (0..speech.len()).filter(|number| speech[*number]).collect();
        for stretch in spoken.chunk_by(|one, next| next - one <= limits.silence) {
            let is_sent = |number: &usize| sent.binary_search(number).is_ok();
            if stretch.len() >= limits.speech {
                prop_assert!(stretch.iter().all(is_sent), "speech is lost");
            }
        }
    }
}
