//! The bounds of what is in memory.

use super::*;

/// Gives the frames to `hearing`, and returns how many they were.
fn hear(hearing: &mut Hearing, seq: u64, frames: Vec<Publish>) -> u64 {
    let mut seq = seq;
    for frame in frames {
        seq += 1;
        let packet = Arc::new(frame.into_packet(MeetingId::new("m").unwrap(), Seq(seq), BEGAN));
        let frame = <AudioFrame as teammy_kernel::FromPacket>::from_packet(&packet).unwrap();
        hearing.hear(limits(&Config::default()), &packet, &frame);
    }
    seq
}

#[test]
fn a_frame_is_heard_once() {
    let (mut hearing, ada) = (Hearing::default(), speech("ada.wav"));
    let frames = || ADA.frames(0, 5_000, &[(1_000, &ada)]);
    hear(&mut hearing, 0, frames());
    hear(&mut hearing, 0, frames());
    assert_eq!(hearing.waiting(10).len(), 1);
}

#[test]
fn the_longest_segment_ends_when_there_is_too_much() {
    let (mut hearing, ada, bo) = (Hearing::default(), speech("ada.wav"), speech("bo.wav"));
    let frames = mixed([ADA.frames(0, 2_000, &[(200, &ada)]), BO.frames(0, 2_000, &[(1_000, &bo)])]);
    hear(&mut hearing, 0, frames);
    assert!(hearing.is_fuller_than(70_000) && !hearing.is_waiting() && !hearing.is_full());
    hearing.end_longest();
    let waiting = hearing.waiting(10);
    let [(0, Audio::Samples { samples, .. })] = &*waiting else { panic!("{waiting:?}") };
    assert_near(u64::try_from(ms(samples)).unwrap(), 2_000, 200);
    // What was asked for takes no memory any more.
    hearing.answer(0, &teammy_kernel::Transcript::new("Shall we"));
    assert!(!hearing.is_fuller_than(50_000));
}

#[test]
fn who_was_silent_longest_makes_room_for_another() {
    let (mut hearing, ada) = (Hearing::default(), speech("ada.wav"));
    let seq = hear(&mut hearing, 0, ADA.frames(0, 2_000, &[(500, &ada)]));
    let names: Vec<&'static str> = (0..MAX_SPEAKERS).map(|n| &*format!("P{n}").leak()).collect();
    let others = names.iter().flat_map(|name| Microphone { name, ..ADA }.frames(2_000, 2_020, &[]));
    hear(&mut hearing, seq, others.collect());
    assert_eq!(hearing.waiting(10).len(), 1, "nothing is lost");
}

#[test]
fn what_is_said_is_not_shown() {
    let (mut hearing, ada) = (Hearing::default(), speech("ada.wav"));
    hear(&mut hearing, 0, ADA.frames(0, 2_000, &[(500, &ada)]));
    let shown = format!("{hearing:?}");
    assert!(shown.starts_with("Hearing { speakers: 1, bytes: ") && !shown.contains("Ada"), "{shown}");
}
