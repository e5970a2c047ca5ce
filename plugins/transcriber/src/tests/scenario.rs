//! Meetings in which all goes well.

use super::*;

#[tokio::test(start_paused = true)]
async fn two_who_speak_are_told_apart_with_the_right_times() {
    let (model, ada, bo) = (FakeModel::default(), speech("ada.wav"), speech("bo.wav"));
    let mut meeting = meeting(&model).await;
    // Bo interrupts Ada, who answers later.
    let frames = mixed([
        ADA.frames(0, 14_000, &[(5_000, &ada), (10_000, &ada)]),
        BO.frames(0, 14_000, &[(6_500, &bo)]),
    ]);
    play(&mut meeting, frames).await;

    let said = said(meeting.outputs());
    let names: Vec<_> = said.iter().map(|said| said.0.as_str()).collect();
    assert_eq!(names, ["Ada", "Bo", "Ada"]);
    for ((_, start, end, _), (should, sound)) in
        said.iter().zip([(5_000, &ada), (6_500, &bo), (10_000, &ada)])
    {
        assert_near(*start, should, 300);
        assert_near(*end, should + ms(sound), 300);
    }
    // What the model got is what was said, and a little more.
    for (sound, of) in model.sounds().iter().zip([&ada, &bo, &ada]) {
        assert_near(u64::try_from(ms(sound)).unwrap(), ms(of) + 400, 300);
        let loudness = |samples: &[i16]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        // The tests' way to 48 kHz takes a little of the high frequencies.
        let share = loudness(sound) / loudness(of);
        assert!((0.94..1.02).contains(&share), "all of it is there, once: {share}");
    }
    assert_eq!(meeting.state(), State::default());
}

#[tokio::test(start_paused = true)]
async fn a_microphone_that_is_turned_off_brings_the_text_within_a_second() {
    let (model, bo) = (FakeModel::default(), speech("bo.wav"));
    let mut meeting = meeting(&model).await;
    let end = 1_000 + ms(&bo);
    play(&mut meeting, BO.frames(0, end, &[(1_000, &bo)])).await;
    assert_eq!(model.asked().len(), 0);
    let outputs = meeting.advance(Duration::from_secs(1)).await.unwrap();
    assert_eq!(said(&outputs).len(), 1);
    assert!(outputs[0].timestamp <= at(end + 1_000), "{}", outputs[0].timestamp);
    // Nobody wakes the plugin any more.
    assert_eq!(meeting.advance(LONG).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn somebody_else_who_speaks_does_not_hold_up_the_text() {
    let (model, ada, bo) = (FakeModel::default(), speech("ada.wav"), speech("bo.wav"));
    let mut meeting = meeting(&model).await;
    let end = 1_000 + ms(&ada);
    let others = [(1_500, &*bo), (4_000, &*bo), (6_500, &*bo)];
    let frames = mixed([ADA.frames(0, end, &[(1_000, &ada)]), BO.frames(0, 8_000, &others)]);
    let (before, after): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|frame| frame.timestamp.unwrap() <= at(end + 820));
    play(&mut meeting, before).await;
    assert_eq!(said(meeting.outputs()).iter().filter(|said| said.0 == "Ada").count(), 1);
    play(&mut meeting, after).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_being_said_at_the_end_is_transcribed() {
    let (model, ada) = (FakeModel::default(), speech("ada.wav"));
    let mut meeting = meeting(&model).await;
    play(&mut meeting, ADA.frames(0, 2_000, &[(1_000, &ada)])).await;
    meeting.end().await.unwrap();
    let said = said(meeting.outputs());
    assert_eq!(said.len(), 1);
    assert_near(said[0].1, 1_000, 300);
    assert_near(said[0].2, 2_000, 100);
}

#[tokio::test(start_paused = true)]
async fn segments_that_end_together_are_asked_for_at_once() {
    let (model, ada, bo) = (FakeModel::slow(Duration::from_secs(3)), speech("ada.wav"), speech("bo.wav"));
    let mut meeting = meeting(&model).await;
    let clara = Microphone { name: "Clara", ..ADA };
    let frames = mixed([
        clara.frames(0, 5_000, &[(1_000, &ada)]),
        BO.frames(0, 5_000, &[(1_000, &bo)]),
        ADA.frames(0, 5_000, &[(1_500, &ada)]),
    ]);
    meeting.receive_batch(frames).await.unwrap();
    assert_eq!(model.most_at_once(), 3);
    let said = said(meeting.outputs());
    let names: Vec<_> = said.iter().map(|said| said.0.as_str()).collect();
    assert_eq!(names[2], "Ada", "{said:?}");
    assert!(said[0].1 <= said[1].1 && said[1].1 < said[2].1, "{said:?}");
    let causes = &meeting.outputs()[0].causes;
    assert!(causes.len() > 500, "they came from the whole batch");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_times_gives_a_packet_for_each_part() {
    let ada = speech("ada.wav");
    let model = FakeModel::default().say(&[
        (0, 1_000, " Shall we move"),
        (1_000, 1_200, " "),
        (1_200, 2_300, "the release?"),
    ]);
    let mut meeting = meeting(&model).await;
    play(&mut meeting, ADA.frames(0, 5_000, &[(1_000, &ada)])).await;
    let said = said(meeting.outputs());
    let texts: Vec<_> = said.iter().map(|said| said.3.as_str()).collect();
    assert_eq!(texts, ["Shall we move", "the release?"]);
    assert_near(said[0].1, 1_000, 100);
    assert_near(said[0].2, 1_800, 100);
    assert_near(said[1].1, 2_000, 100);
    assert_near(said[1].2, 1_000 + ms(&ada), 200);
    let first: Transcription = testing::json(&meeting.outputs()[0]);
    assert_eq!(first.language.as_deref(), Some("en"));
}

#[tokio::test(start_paused = true)]
async fn the_model_is_told_what_the_configuration_says() {
    let (model, ada) = (FakeModel::default(), speech("ada.wav"));
    let config = json!({"language": "de", "hint": "Teammy"});
    let mut meeting =
        PluginTest::<Transcriber>::builder().config(config).llm(model.clone()).start().await.unwrap();
    play(&mut meeting, ADA.frames(0, 5_000, &[(1_000, &ada)])).await;
    let asked = model.asked().remove(0);
    assert_eq!((asked.language.as_deref(), asked.hint.as_deref()), (Some("de"), Some("Teammy")));
    assert_eq!(asked.caller.purpose.as_deref(), Some("transcription"));
    let said: Transcription = testing::json(&meeting.outputs()[0]);
    assert_eq!(said.language.as_deref(), Some("de"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_text_is_dropped() {
    let ada = speech("ada.wav");
    let model = FakeModel::default().say(&[(0, 900, " \n ")]);
    let mut meeting = meeting(&model).await;
    play(&mut meeting, ADA.frames(0, 5_000, &[(1_000, &ada)])).await;
    assert_eq!((model.asked().len(), meeting.outputs().len()), (1, 0));
    assert_eq!(meeting.state(), State::default());
}

#[tokio::test(start_paused = true)]
async fn silence_and_noise_cost_nothing() {
    let model = FakeModel::default();
    let mut meeting = meeting(&model).await;
    let mut seed = 1_u32;
    let noise: Vec<i16> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i16::try_from(seed >> 24).unwrap() - 128
    })
    .take(160_000)
    .collect();
    play(&mut meeting, ADA.frames(0, 15_000, &[(2_000, &noise)])).await;
    meeting.end().await.unwrap();
    assert_eq!(model.asked().len(), 0);
    let cost = meeting.store_cost();
    assert_eq!((cost.key_writes, cost.bytes()), (0, 0), "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_without_a_time_of_its_own_counts_from_its_first_packet() {
    let (model, ada) = (FakeModel::default(), speech("ada.wav"));
    let mut meeting = PluginTest::<Transcriber>::builder().llm(model.clone()).start().await.unwrap();
    let start = meeting.log()[0].timestamp;
    let later = |mut frame: Publish| {
        let after = frame.timestamp.unwrap().duration_since(BEGAN);
        frame.timestamp = Some(start + after);
        frame
    };
    let frames = ADA.frames(0, 5_000, &[(1_000, &ada)]).into_iter().map(later).collect();
    play(&mut meeting, frames).await;
    assert_near(said(meeting.outputs())[0].1, 1_000, 300);
}

#[tokio::test(start_paused = true)]
async fn frames_of_nobody_are_one_speaker() {
    let (model, ada) = (FakeModel::default(), speech("ada.wav"));
    let mut meeting = meeting(&model).await;
    let nobodys = |mut frame: Publish| {
        frame.participant = None;
        frame
    };
    play(&mut meeting, ADA.frames(0, 5_000, &[(1_000, &ada)]).into_iter().map(nobodys).collect()).await;
    assert_eq!(said(meeting.outputs())[0].0, "nobody");
}
