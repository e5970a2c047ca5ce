//! Meetings whose clock is not that of the frames.

use super::*;

/// A packet that the plugin does not get, and that carries the meeting's clock to a time.
fn chat(meeting: &mut PluginTest<Transcriber>, at: Timestamp) {
    let chat = Publish::text("chat", "hello").unwrap().timestamp(at);
    meeting.record(chat).unwrap();
}

/// Publishes frames one by one, in the time that they take: 20 ms for those of the same time.
async fn live(meeting: &mut PluginTest<Transcriber>, frames: Vec<Publish>) {
    let mut frames = frames.into_iter().peekable();
    while let Some(frame) = frames.next() {
        let time = frame.timestamp;
        meeting.receive(frame).await.unwrap();
        if frames.peek().is_none_or(|next| next.timestamp != time) {
            meeting.advance(Duration::from_millis(20)).await.unwrap();
        }
    }
}

/// How much sound was sent to the model, in milliseconds.
fn sent(model: &FakeModel) -> i64 {
    model.sounds().iter().map(|sound| ms(sound)).sum()
}

/// All of what was said was sent, and a little more for each segment.
#[track_caller]
fn assert_all_is_sent(model: &FakeModel, said: i64) {
    let (sent, segments) = (sent(model), i64::try_from(model.asked().len()).unwrap());
    assert!((said - 100..said + 450 * segments + 100).contains(&sent), "{sent} of {said} in {segments}");
}

#[tokio::test(start_paused = true)]
async fn frames_that_come_a_second_late_are_heard_whole() {
    for late in [500, 800, 1_000, 1_500] {
        let (model, ada) = (FakeModel::default(), speech("ada.wav"));
        let mut meeting = meeting(&model).await;
        chat(&mut meeting, at(late));
        live(&mut meeting, ADA.frames(0, 6_000, &[(1_000, &ada)])).await;
        let said = said(meeting.outputs());
        assert_eq!(said.len(), 1, "{late}: {said:?}");
        assert_near(said[0].1, 1_000, 300);
        assert_near(said[0].2, 1_000 + ms(&ada), 300);
        assert_all_is_sent(&model, ms(&ada));
        assert_eq!(meeting.state(), State::default());
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_to_send_is_heard_within_a_second_of_the_meetings_clock() {
    for (ahead, pieces) in [(0, 1), (1_000, 1), (10_000, 2), (86_400_000, 5)] {
        let (model, ada) = (FakeModel::default(), speech("ada.wav"));
        let mut meeting = meeting(&model).await;
        chat(&mut meeting, at(ahead));
        live(&mut meeting, ADA.frames(0, 1_000 + ms(&ada), &[(1_000, &ada)])).await;
        meeting.advance(Duration::from_secs(1)).await.unwrap();
        let said = said(meeting.outputs());
        assert!((1..=pieces).contains(&said.len()), "{ahead}: {said:?}");
        assert_near(said[0].1, 1_000, 300);
        assert_near(said[said.len() - 1].2, 1_000 + ms(&ada), 300);
        assert_all_is_sent(&model, ms(&ada));
        assert_eq!(meeting.advance(LONG).await.unwrap().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_participant_whose_clock_is_ahead_does_not_disturb_others() {
    let (model, ada, bo) = (FakeModel::default(), speech("ada.wav"), speech("bo.wav"));
    let mut meeting = meeting(&model).await;
    let ahead = |mut frame: Publish| {
        frame.timestamp = frame.timestamp.map(|time| time + Duration::from_secs(5));
        frame
    };
    live(&mut meeting, BO.frames(0, 1_000 + ms(&bo), &[(1_000, &bo)]).into_iter().map(ahead).collect()).await;
    let from = 1_000 + ms(&bo);
    live(&mut meeting, ADA.frames(from, from + 6_000, &[(from + 1_000, &ada), (from + 4_000, &ada)])).await;
    meeting.advance(Duration::from_secs(1)).await.unwrap();
    let said = said(meeting.outputs());
    let names: Vec<_> = said.iter().map(|said| said.0.as_str()).collect();
    assert_eq!(names, ["Bo", "Ada", "Ada"], "{said:?}");
    assert_near(said[1].1, from + 1_000, 300);
    assert_near(said[1].2, from + 1_000 + ms(&ada), 300);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_misdated_by_a_day_cuts_once_and_loses_nothing() {
    let (model, ada, bo) = (FakeModel::default(), speech("ada.wav"), speech("bo.wav"));
    let mut meeting = meeting(&model).await;
    let until = 5_000 + ms(&ada);
    let mut frames =
        mixed([ADA.frames(0, until, &[(1_000, &ada), (5_000, &ada)]), BO.frames(0, 8_000, &[(4_000, &bo)])]);
    // Bo says nothing yet, and Ada speaks.
    let bad = frames
        .iter()
        .position(|frame| frame.participant.as_deref() == Some("Bo") && frame.timestamp == Some(at(2_000)))
        .unwrap();
    frames[bad].timestamp = Some(at(2_000 + 86_400_000));
    let (before, after): (Vec<_>, Vec<_>) = (frames[..bad].to_vec(), frames[bad..].to_vec());
    live(&mut meeting, before).await;
    live(&mut meeting, after).await;
    meeting.advance(Duration::from_secs(1)).await.unwrap();
    let mut said = said(meeting.outputs());
    said.sort();
    // The wake comes before the frame, and cuts what Ada is saying.
    let names: Vec<_> = said.iter().map(|said| said.0.as_str()).collect();
    assert_eq!(names, ["Ada", "Ada", "Ada", "Bo"], "{said:?}");
    for (said, start, end) in
        [(&said[0], 1_000, 2_000), (&said[1], 2_000, 1_000 + ms(&ada)), (&said[2], 5_000, until)]
    {
        assert_near(said.1, start, 300);
        assert_near(said.2, end, 300);
    }
    assert_all_is_sent(&model, 2 * ms(&ada) + ms(&bo));
}

#[tokio::test(start_paused = true)]
async fn what_carries_the_clock_ahead_while_somebody_speaks_loses_nothing() {
    // Early, in the middle, and late.
    for (into, ahead, pieces) in
        [(100, 1_000, 2), (900, 1_000, 2), (1_400, 1_000, 2), (1_400, 3_600_000, 5), (900, 86_400_000, 5)]
    {
        let (model, ada) = (FakeModel::default(), speech("ada.wav"));
        let mut meeting = meeting(&model).await;
        let frames = ADA.frames(0, 6_000, &[(1_000, &ada)]);
        let (before, after) = frames.split_at(usize::try_from((1_000 + into) / 20).unwrap());
        live(&mut meeting, before.to_vec()).await;
        chat(&mut meeting, at(1_000 + into + ahead));
        meeting.advance(Duration::ZERO).await.unwrap();
        live(&mut meeting, after.to_vec()).await;
        let said = said(meeting.outputs());
        assert!(said.len() <= pieces, "{into}, {ahead}: {said:?}");
        assert_near(said[0].1, 1_000, 300);
        assert_near(said[said.len() - 1].2, 1_000 + ms(&ada), 300);
        assert_all_is_sent(&model, ms(&ada));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_gives_the_same_however_the_frames_queue_up() {
    let (ada, bo) = (speech("ada.wav"), speech("bo.wav"));
    let mut all = Vec::new();
    for queued in [1, 5, 100, 2_000] {
        let model = FakeModel::default();
        let mut meeting = meeting(&model).await;
        chat(&mut meeting, at(3_000));
        let frames = mixed([
            ADA.frames(0, 3_000, &[(1_000, &ada)]),
            BO.frames(0, 9_000, &[(6_000, &bo)]),
            ADA.frames(5_000, 9_000, &[(5_500, &ada)]),
        ]);
        for batch in frames.chunks(queued) {
            meeting.receive_batch(batch.to_vec()).await.unwrap();
        }
        meeting.end().await.unwrap();
        let mut said = said(meeting.outputs());
        said.sort();
        all.push(said);
    }
    assert_eq!(all[0].len(), 3, "{:?}", all[0]);
    assert!(all.iter().all(|said| *said == all[0]), "{all:?}");
}
