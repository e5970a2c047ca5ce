use std::time::Duration;

use futures::StreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::testing::ScriptedLlm;

fn llm(script: &ScriptedLlm, limit: Option<Duration>) -> Llm {
    let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    Llm::new(SharedLlm::new(script.clone()), meeting, instance, limit)
}

fn ask(script: &ScriptedLlm) -> Ask {
    llm(script, None).ask([Message::user("Is it?")])
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Verdict {
    urgent: bool,
}

async fn read(mut stream: TextStream) -> (Vec<String>, Option<Error>, Option<Response>) {
    let (mut pieces, mut failed) = (Vec::new(), None);
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => pieces.push(piece),
            Err(error) => assert!(failed.replace(error).is_none(), "an error is the last item"),
        }
    }
    (pieces, failed, stream.response().cloned())
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_what_it_was_given() {
    let script = ScriptedLlm::default().reply("yes").reply("yes").reply("yes");
    let llm = llm(&script, Some(Duration::from_mins(1)));
    llm.prompt([Message::user("a")], 0.5).await.unwrap();
    llm.fast_prompt([Message::user("b")], 0.0).await.unwrap();
    let asked = llm.ask([Message::user("c")]).max_tokens(5).stop(["."]).seed(7).priority(Priority::High);
    asked.purpose("verdict").within(Duration::from_secs(5)).text().await.unwrap();
    let [first, second, third] = script.requests().try_into().unwrap();
    assert_eq!((first.model, first.temperature), (Model::Default, Some(0.5)));
    assert_eq!((second.model, second.temperature), (Model::Fast, Some(0.0)));
    assert_eq!((third.model, third.temperature, third.max_tokens), (Model::Default, None, Some(5)));
    assert_eq!(
        (third.stop, third.seed, third.caller.priority),
        (vec![".".to_owned()], Some(7), Priority::High)
    );
    assert_eq!(third.caller.purpose.as_deref(), Some("verdict"));
    assert_eq!(
        first.caller.deadline.unwrap() - third.caller.deadline.unwrap(),
        Duration::from_secs(55),
        "the sooner one"
    );
}

#[tokio::test(start_paused = true)]
async fn json_is_read_and_repaired_once() {
    let right = "Sure:\n```json\n{\"urgent\": true}\n```";
    let script = ScriptedLlm::default().reply(right);
    assert_eq!(ask(&script).json::<Verdict>().await.unwrap(), Verdict { urgent: true });
    let Format::Json { name, schema } = &script.requests()[0].format else { panic!("no schema") };
    assert_eq!((name.as_str(), &schema.as_value()["required"]), ("Verdict", &serde_json::json!(["urgent"])));

    let script = ScriptedLlm::default().reply("{\"urgent\": \"very\"}").reply(right);
    assert_eq!(ask(&script).json::<Verdict>().await.unwrap(), Verdict { urgent: true });
    let repair = &script.requests()[1].messages;
    assert_eq!((repair.len(), repair[1].role, repair[2].role), (3, Role::Assistant, Role::User));
    assert!(repair[2].content.contains("invalid type: string, expected a boolean"), "{}", repair[2].content);

    let script = ScriptedLlm::default().reply("no").reply("never").reply(right);
    let error = ask(&script).json::<Verdict>().await.unwrap_err();
    assert!(matches!(&error, Error::Unreadable(_)), "{error}");
    assert_eq!(script.remaining(), 1, "it is repaired once");
}

/// A script whose values are checked against their schemas, as a client of a server does.
struct Checking(ScriptedLlm);

impl LlmProvider for Checking {
    async fn complete(&self, request: Request) -> Result<Response, Error> {
        self.0.complete(request).await
    }

    fn check(&self, schema: &serde_json::Value, value: &serde_json::Value) -> Result<(), String> {
        let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
        validator.validate(value).map_err(|error| error.masked().to_string())
    }
}

fn ask_checking(script: &ScriptedLlm) -> Ask {
    let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    let provider = SharedLlm::new(Checking(script.clone()));
    Llm::new(provider, meeting, instance, None).ask([Message::user("Is it?")])
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Share {
    #[schemars(range(max = 100))]
    percent: u32,
}

#[tokio::test(start_paused = true)]
async fn the_value_that_is_returned_is_the_one_that_is_checked() {
    let script = ScriptedLlm::default().reply("See [1]: {\"urgent\": true}").reply("never");
    assert_eq!(ask_checking(&script).json::<Verdict>().await.unwrap(), Verdict { urgent: true });
    assert_eq!(script.remaining(), 1, "other JSON in the answer is no reason to ask again");

    // Several objects are mended into a list.
    let script = ScriptedLlm::default().reply("{\"percent\": 1}\n{\"percent\": 2}").reply("never");
    let shares: Vec<Share> = ask_checking(&script).json().await.unwrap();
    assert_eq!(shares, [Share { percent: 1 }, Share { percent: 2 }]);
    assert_eq!(script.remaining(), 1);

    // Another value than the one that is returned cannot stand in for it.
    let wrong = "{\"percent\": \"5\"} or rather {\"percent\": 500}";
    let script = ScriptedLlm::default().reply(wrong).reply("{\"percent\": 50}");
    assert_eq!(ask_checking(&script).json::<Share>().await.unwrap(), Share { percent: 50 });
    let repair = &script.requests()[1].messages[2].content;
    assert!(repair.contains("greater than the maximum of 100"), "{repair}");
}

#[tokio::test(start_paused = true)]
async fn a_schema_is_asked_for_and_more_is_accepted() {
    let script = ScriptedLlm::default().reply("[true]").reply("never");
    let read: Vec<bool> = ask_checking(&script).asking_for::<Verdict>().json().await.unwrap();
    let Format::Json { name, schema } = &script.requests()[0].format else { panic!("no schema") };
    assert_eq!((name.as_str(), &schema.as_value()["required"]), ("Verdict", &serde_json::json!(["urgent"])));
    assert_eq!((read, script.remaining()), (vec![true], 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_value_is_said_without_the_value() {
    let cases = [
        (r#"{"urgent": "hush-hush"}"#, "invalid type: string, expected a boolean"),
        (r#"{"hush": true}"#, "missing field `urgent`"),
        ("hush", "the answer holds no complete JSON"),
    ];
    for (answer, problem) in cases {
        let script = ScriptedLlm::default().reply(answer).reply(answer);
        let error = ask_checking(&script).json::<Verdict>().await.unwrap_err().to_string();
        assert!(error.ends_with(problem) && !error.contains("hush"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_not_passed_on_as_whole() {
    let script =
        ScriptedLlm::default().cut("It is ur").cut("{\"urgent\": tr").cut("It is ur").cut("It is ur");
    for error in [ask(&script).text().await.unwrap_err(), ask(&script).json::<Verdict>().await.unwrap_err()] {
        assert!(matches!(&error, Error::CutOff { .. }) && !error.is_temporary(), "{error}");
    }
    let (pieces, error, response) = read(ask(&script).stream()).await;
    assert_eq!((pieces, response.unwrap().finish), (vec!["It is ur".to_owned()], Finish::Length));
    assert!(matches!(error, Some(Error::CutOff { text }) if text == "It is ur"));
    let response = ask(&script).response().await.unwrap();
    assert_eq!((response.text.as_str(), response.finish), ("It is ur", Finish::Length));
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_pieces_as_they_come_and_then_its_end() {
    let script = ScriptedLlm::default().delay(Duration::from_secs(1)).stream(["It ", "is."]);
    let mut stream = ask(&script).stream();
    assert_eq!(script.requests().len(), 0, "nothing is asked before it is polled");
    let began = Instant::now();
    assert_eq!(stream.next().await.unwrap().unwrap(), "It ");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let (rest, error, response) = read(stream).await;
    assert_eq!((rest, response.unwrap().text.as_str()), (vec!["is.".to_owned()], "It is."));
    assert!(error.is_none());

    let script = ScriptedLlm::default().stream_then_fail(["It "], "reset").fail("away").reply("whole");
    let (pieces, error, response) = read(ask(&script).stream()).await;
    assert_eq!((pieces, response), (vec!["It ".to_owned()], None));
    assert!(matches!(error, Some(Error::Failed(problem)) if problem == "reset"));
    assert!(read(ask(&script).stream()).await.1.is_some());
    assert_eq!(read(ask(&script).stream()).await.0, ["whole"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_with_its_time_and_with_its_hooks() {
    let script = ScriptedLlm::default().stall().stall().stall();
    let began = Instant::now();
    let late = |error: Error| assert!(matches!(&error, Error::Failed(_)) && error.is_temporary(), "{error}");
    late(ask(&script).within(Duration::from_secs(3)).text().await.unwrap_err());
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let llm = llm(&script, Some(Duration::from_secs(2)));
    late(llm.ask([Message::user("?")]).within(Duration::from_secs(30)).text().await.unwrap_err());
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    late(read(llm.ask([Message::user("?")]).stream()).await.1.unwrap());
    assert_eq!(began.elapsed(), Duration::from_secs(5), "the hook's time is over");
}

/// A provider whose answer a test gives, and that keeps what a test must not depend on.
#[derive(Default)]
struct Told {
    answer: std::sync::Mutex<Option<tokio::sync::oneshot::Receiver<Response>>>,
    pieces: Vec<&'static str>,
    /// Where it leaves the way for pieces, as for a task that outlives its answer.
    kept: Option<Arc<std::sync::Mutex<Vec<Deltas>>>>,
}

impl LlmProvider for Told {
    async fn complete(&self, _: Request) -> Result<Response, Error> {
        Err(Error::Refused("it streams alone".to_owned()))
    }

    async fn stream(&self, _: Request, deltas: Deltas) -> Result<Response, Error> {
        for piece in &self.pieces {
            deltas.put(*piece);
        }
        match &self.kept {
            Some(kept) => kept.lock().unwrap().push(deltas),
            None => drop(deltas),
        }
        let answer = self.answer.lock().unwrap().take();
        answer.expect("one request").await.map_err(|_| Error::Failed("no answer".to_owned()))
    }
}

impl Told {
    /// Its stream, and where the answer is given.
    fn ask(mut self) -> (TextStream, tokio::sync::oneshot::Sender<Response>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.answer = std::sync::Mutex::new(Some(receiver));
        let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
        let llm = Llm::new(SharedLlm::new(self), meeting, instance, None);
        (llm.ask([Message::user("?")]).stream(), sender)
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_stream_without_more_pieces_sleeps_until_its_answer() {
    let wakes = Arc::<Wakes>::default();
    let task = wakes.clone().into();
    let mut cx = std::task::Context::from_waker(&task);
    let woken = || wakes.0.load(std::sync::atomic::Ordering::Relaxed);

    let (mut stream, answer) = Told { pieces: vec!["It "], ..Told::default() }.ask();
    let piece = stream.poll_next_unpin(&mut cx);
    assert!(matches!(piece, std::task::Poll::Ready(Some(Ok(piece))) if piece == "It "));
    assert!(stream.poll_next_unpin(&mut cx).is_pending());
    assert_eq!(woken(), 0, "it would be polled again at once, and again");
    answer.send(Response::new("It ")).unwrap();
    assert_eq!(woken(), 1);
    assert!(matches!(stream.poll_next_unpin(&mut cx), std::task::Poll::Ready(None)));
    assert_eq!(stream.response().unwrap().text, "It ");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_answer_whoever_keeps_the_way_for_pieces() {
    for finish in [Finish::Stop, Finish::Length] {
        for pieces in [vec![], vec!["It ", "is"]] {
            let kept = Arc::<std::sync::Mutex<Vec<Deltas>>>::default();
            let told = Told { pieces: pieces.clone(), kept: Some(kept.clone()), ..Told::default() };
            let (mut stream, answer) = told.ask();
            for piece in &pieces {
                assert_eq!(stream.next().await.unwrap().unwrap(), *piece);
            }
            let mut response = Response::new(pieces.concat());
            response.finish = finish;
            answer.send(response).unwrap();
            let rest = tokio::time::timeout(Duration::from_secs(1), read(stream));
            let (rest, error, response) = rest.await.expect("it ends");
            assert!(rest.is_empty());
            assert_eq!(matches!(error, Some(Error::CutOff { .. })), finish == Finish::Length);
            assert_eq!(response.unwrap().finish, finish);
            kept.lock().unwrap()[0].put("too late");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_no_clock_reaches_is_no_limit() {
    let script = ScriptedLlm::default().reply("yes").reply("yes").stall();
    assert_eq!(ask(&script).within(Duration::MAX).text().await.unwrap(), "yes");
    let unlimited = llm(&script, Some(Duration::MAX));
    assert_eq!(unlimited.ask([Message::user("?")]).text().await.unwrap(), "yes");
    assert!(script.requests().iter().all(|request| request.caller.deadline.is_none()));
    let llm = llm(&script, Some(Duration::from_secs(2)));
    let late = llm.ask([Message::user("?")]).within(Duration::MAX).text().await.unwrap_err();
    assert!(matches!(late, Error::Failed(_)), "the hook's limit stays");
}
