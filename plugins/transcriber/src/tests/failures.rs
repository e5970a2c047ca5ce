//! Models that fail, frames that are none, and restarts.

use super::*;

fn failed() -> LlmError {
    LlmError::Failed("overloaded".to_owned())
}

/// A batch in which Ada's and Bo's segments end.
fn both() -> Vec<Publish> {
    mixed([
        ADA.frames(0, 5_000, &[(1_000, &speech("ada.wav"))]),
        BO.frames(0, 5_000, &[(1_200, &speech("bo.wav"))]),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_the_same_sound_of_what_has_no_text() {
    let model = FakeModel::default().say(&[(0, 900, "Shall we?")]).fail(failed());
    let mut meeting = meeting(&model).await;
    let error = meeting.receive_batch(both()).await.unwrap_err();
    assert!(!error.is_reject());
    assert_eq!(meeting.outputs().len(), 0);
    meeting.retry().await.unwrap();

    let sounds = model.sounds();
    assert_eq!(sounds.len(), 3);
    assert_eq!(sounds[1], sounds[2]);
    let said = said(meeting.outputs());
    assert_eq!((said[0].3.as_str(), said[1].0.as_str()), ("Shall we?", "Bo"));
    assert_eq!(meeting.state(), State::default());
    // The frames were heard once.
    meeting.end().await.unwrap();
    assert_eq!(model.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_last_try_leaves_out_what_the_model_fails_on() {
    let model = (0..6).fold(FakeModel::default(), |model, _| model.fail(failed()));
    let mut meeting = meeting(&model).await;
    meeting.receive_batch(both()).await.unwrap_err();
    meeting.retry().await.unwrap_err();
    meeting.retry().await.unwrap();
    assert_eq!(meeting.outputs().len(), 0);
    assert_eq!(meeting.state(), State { left_out: 2, ..State::default() });
    assert_eq!(meeting.state_json(), r#"{"left_out":2}"#);

    let ada = speech("ada.wav");
    play(&mut meeting, ADA.frames(5_000, 9_000, &[(5_500, &ada)])).await;
    assert_eq!(said(meeting.outputs()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_mends_is_left_out_at_once() {
    for error in [
        LlmError::Refused("no".to_owned()),
        LlmError::Misconfigured("no model is named for transcription".to_owned()),
        LlmError::BudgetExceeded { name: "month".to_owned(), resets: None },
        LlmError::NotConfigured,
    ] {
        let model = FakeModel::default().fail(error);
        let mut meeting = meeting(&model).await;
        meeting.receive_batch(both()).await.unwrap();
        assert_eq!((model.asked().len(), said(meeting.outputs()).len()), (2, 1));
        assert_eq!(meeting.state(), State { left_out: 1, ..State::default() });
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_fails_is_tried_again() {
    let model = FakeModel::default().fail(failed());
    let mut meeting = meeting(&model).await;
    let bo = speech("bo.wav");
    play(&mut meeting, BO.frames(0, 1_000 + ms(&bo), &[(1_000, &bo)])).await;
    meeting.advance(Duration::from_secs(1)).await.unwrap_err();
    meeting.retry().await.unwrap();
    assert_eq!(said(meeting.outputs()).len(), 1);
    let sounds = model.sounds();
    assert_eq!((sounds.len(), &sounds[0]), (2, &sounds[1]));
}

#[tokio::test(start_paused = true)]
async fn the_end_is_tried_again() {
    let model = FakeModel::default().fail(failed());
    let mut meeting = meeting(&model).await;
    play(&mut meeting, ADA.frames(0, 2_500, &[(1_000, &speech("ada.wav"))])).await;
    meeting.end().await.unwrap_err();
    meeting.retry().await.unwrap();
    assert_eq!(said(meeting.outputs()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_the_sound_in_memory_and_nothing_else() {
    let (model, ada) = (FakeModel::default(), speech("ada.wav"));
    let mut meeting = meeting(&model).await;
    play(&mut meeting, ADA.frames(0, 5_000, &[(1_000, &ada)])).await;
    play(&mut meeting, ADA.frames(5_000, 7_000, &[(6_000, &ada)])).await;
    meeting.restart().await.unwrap();
    play(&mut meeting, ADA.frames(10_000, 14_000, &[(11_000, &ada)])).await;
    meeting.end().await.unwrap();
    let starts: Vec<_> = said(meeting.outputs()).into_iter().map(|said| said.1 / 1_000).collect();
    assert_eq!(starts, [1, 11]);
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_no_sound_are_counted() {
    let mut meeting = meeting(&FakeModel::default()).await;
    let frame = |sample_rate, channels| {
        Publish::audio(AudioFrame { sample_rate, channels, samples: vec![0; 640].into() }).participant("Ada")
    };
    let garbage = Publish::bytes("audio", vec![7; 20]).unwrap();
    meeting.receive_batch([frame(16_000, 0), frame(16_000, 1), garbage, frame(1, 1)]).await.unwrap();
    meeting.lose(3);
    meeting.receive(frame(16_000, 1)).await.unwrap();
    assert_eq!(meeting.state(), State { unreadable: 2, lost: 3, left_out: 0 });
    assert_eq!(meeting.rejected().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hook_may_put_out_becomes_one_packet_for_each_segment() {
    let parts: Vec<_> = (0..1_001).map(|_| (0, 500, "yes")).collect();
    let model = FakeModel::default().say(&parts);
    let mut meeting = meeting(&model).await;
    play(&mut meeting, ADA.frames(0, 5_000, &[(1_000, &speech("ada.wav"))])).await;
    let said = said(meeting.outputs());
    assert_eq!((said.len(), said[0].3.split(' ').count()), (1, 1_001));
    assert_eq!(meeting.state(), State::default());
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_a_failed_try_asked_for_is_asked_for_again() {
    let (model, ada, bo) = (FakeModel::default(), speech("ada.wav"), speech("bo.wav"));
    // Without a time of its own, the meeting's first packet is read when there is a text.
    let mut meeting = PluginTest::<Transcriber>::builder().llm(model.clone()).start().await.unwrap();
    let until = 4_500 + ms(&bo);
    // Ada's segment has ended, and Bo is speaking when the sound ends.
    let frames = mixed([ADA.frames(0, until, &[(1_000, &ada)]), BO.frames(0, until, &[(4_500, &bo)])]);
    meeting.fail_reads(1);
    meeting.receive_batch(frames).await.unwrap_err();
    meeting.retry().await.unwrap();
    assert_eq!(said(meeting.outputs()).len(), 1);
    meeting.advance(Duration::from_secs(1)).await.unwrap();
    assert_eq!(said(meeting.outputs()).len(), 2, "nobody sends, and the wake comes");
}
