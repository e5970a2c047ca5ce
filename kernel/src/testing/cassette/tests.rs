use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    Audio, Budget, Finish, Llm, LlmFormat, LlmMessage, MeetingId, Model, Name, NanoUsd, Priority, Timestamp,
    Tool, testing::ScriptedLlm,
};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("teammy-cassette-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where a recording may be, in a folder that does not exist yet.
    fn cassette(&self) -> PathBuf {
        self.0.join("cassettes").join("test.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn models(cassette: &Cassette, instance: &str) -> Llm {
    let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new(instance).unwrap());
    Llm::new(SharedLlm::new(cassette.clone()), meeting, instance, None)
}

async fn said(cassette: &Cassette, text: &str) -> Result<String, LlmError> {
    models(cassette, "i").ask([LlmMessage::user(text)]).text().await
}

/// A file with these lines.
fn written(folder: &Folder, lines: &[&str]) -> PathBuf {
    let path = folder.0.join("written.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn line(text: &str, answer: &str) -> String {
    format!(
        r#"{{"request":{{"kind":"complete","model":"default","messages":[{{"role":"user","content":"{text}"}}]}},"outcome":{{"answer":{{"text":"{answer}"}}}}}}"#
    )
}

/// Asks for all that there is.
async fn ask_everything(
    cassette: &Cassette,
) -> (String, Vec<String>, Vec<Vec<f32>>, Transcript, Budgets, LlmError) {
    let llm = models(cassette, "i");
    let text = llm.ask([LlmMessage::user("Is it?")]).fast().temperature(0.2).text().await.unwrap();
    let pieces = llm.ask([LlmMessage::user("Why?")]).stream().map(Result::unwrap).collect().await;
    let vectors = llm.embed(["One?", "Two?"]).await.unwrap();
    let heard = llm.transcribe(Audio::samples(16_000, [1, -2])).language("en").transcript().await.unwrap();
    let budgets = llm.budget().await.unwrap();
    let error = llm.transcribe(Audio::file("a.mp3", "abc")).hint("Ada").transcript().await.unwrap_err();
    (text, pieces, vectors, heard, budgets, error)
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_replayed() {
    let folder = Folder::new();
    let path = folder.cassette();
    let model = ScriptedLlm::default()
        .reply("Yes.")
        .stream(["It ", "is."])
        .embedding([vec![0.1, -2.5], vec![0.0, 1e-9]])
        .transcript(Transcript::new("Good morning."))
        .fail_transcript(LlmError::Failed("away".to_owned()))
        .budgets(Budgets(vec![Budget::new("node", None, Some(NanoUsd(7)))]));
    let recorded = ask_everything(&Cassette::record(&path, model)).await;
    let file = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = file.lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"request":{"kind":"complete","messages":[{"content":"Is it?","role":"user"}],"model":"fast","temperature":0.2},"outcome":{"answer":{"finish":"stop","text":"Yes.","tool_calls":[]}}}"#,
            r#"{"request":{"kind":"stream","messages":[{"content":"Why?","role":"user"}],"model":"default"},"pieces":[{"ms":0,"text":"It "},{"ms":0,"text":"is."}],"outcome":{"answer":{"finish":"stop","text":"It is.","tool_calls":[]}}}"#,
            r#"{"request":{"kind":"embed","texts":["One?","Two?"]},"outcome":{"answer":{"vectors":[[0.1,-2.5],[0.0,1e-9]]}}}"#,
            r#"{"request":{"audio":{"fnv1a":"ab55b1774609b203","rate":16000,"samples":2},"kind":"transcribe","language":"en"},"outcome":{"answer":{"segments":[],"text":"Good morning.","words":[]}}}"#,
            r#"{"request":{"kind":"budgets"},"outcome":{"answer":[{"cost":7,"name":"node","resets":null,"spent":{"cost":0,"tokens":0},"tokens":null}]}}"#,
            r#"{"request":{"audio":{"bytes":3,"fnv1a":"e71fa2190541574b","name":"a.mp3"},"hint":"Ada","kind":"transcribe"},"outcome":{"error":{"kind":"failed","problem":"away"}}}"#,
        ]
    );
    let replay = Cassette::replay(&path).unwrap();
    assert_eq!(replay.remaining(), 6);
    let replayed = ask_everything(&replay).await;
    assert_eq!(format!("{replayed:?}"), format!("{recorded:?}"));
    assert_eq!(replay.remaining(), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), file, "a replay writes nothing");
}

#[tokio::test(start_paused = true)]
async fn equal_requests_are_answered_in_their_order_whoever_asks() {
    let folder = Folder::new();
    let path = written(&folder, &[&line("a", "1"), "", &line("b", "2"), &line("a", "3")]);
    let cassette = Cassette::replay(&path).unwrap();
    let ask = |instance, text| {
        let ask = models(&cassette, instance).ask([LlmMessage::user(text)]);
        ask.purpose("test").priority(Priority::High).within(Duration::from_secs(9)).text()
    };
    assert_eq!(ask("one", "b").await.unwrap(), "2");
    assert_eq!(ask("one", "a").await.unwrap(), "1");
    assert_eq!((ask("two", "a").await.unwrap().as_str(), cassette.remaining()), ("3", 0));
}

type Change = fn(&mut LlmRequest);

#[tokio::test(start_paused = true)]
async fn a_request_that_differs_in_anything_is_no_match() {
    let folder = Folder::new();
    let schema = || schemars::schema_for!(bool);
    let caller = || Caller::new(MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    let whole = || {
        let mut request =
            LlmRequest::new(Model::Fast, vec![LlmMessage::system("a"), LlmMessage::user("b")], caller());
        request.temperature = Some(0.7);
        request.max_tokens = Some(9);
        request.stop = vec![".".to_owned()];
        request.seed = Some(u64::MAX);
        request.tools = vec![Tool { name: "f".into(), description: "does".into(), parameters: schema() }];
        request.format = LlmFormat::Json { name: "T".into(), schema: schema() };
        request
    };
    let path = folder.cassette();
    Cassette::record(&path, ScriptedLlm::default().reply("yes")).complete(whole()).await.unwrap();
    let changes: [(&str, Change); 12] = [
        ("  model:\n    - \"fast\"\n    + \"default\"", |request| request.model = Model::Default),
        ("  messages[0].role:\n    - system\n    + user", |request| {
            request.messages[0].role = crate::Role::User;
        }),
        ("  messages[1].content:\n    - b\n    + c", |request| request.messages[1].content = "c".into()),
        ("  messages[2]:\n    + {\"content\":\"d\",", |request| request.messages.push(LlmMessage::user("d"))),
        ("  temperature:\n    - 0.7\n    + 0.6\n", |request| request.temperature = Some(0.6)),
        ("  temperature:\n    - 0.7\nif", |request| request.temperature = None),
        ("  max_tokens:\n    - 9\n    + 8\n", |request| request.max_tokens = Some(8)),
        ("  stop[1]:\n    + \"!\"\n", |request| request.stop.push("!".into())),
        ("  seed:\n    - 18446744073709551615\n    + 1\n", |request| request.seed = Some(1)),
        ("  tools[0].description:\n    - does\n    + did", |request| {
            request.tools[0].description = "did".into();
        }),
        ("  tools[0].parameters.type:", |request| request.tools[0].parameters = schemars::schema_for!(u8)),
        ("  format:\n    - {\"name\":\"T\",", |request| request.format = LlmFormat::Text),
    ];
    for (says, change) in changes {
        let cassette = Cassette::replay(&path).unwrap();
        let mut request = whole();
        change(&mut request);
        let error = cassette.complete(request).await.unwrap_err();
        assert!(!error.is_temporary());
        // A model is written without quotes: it is a text.
        let says = says.replace("\"fast\"", "fast").replace("\"default\"", "default");
        assert!(error.to_string().contains(&says), "{says}: {error}");
        assert_eq!(cassette.complete(whole()).await.unwrap().text, "yes", "a miss uses no line");
    }
    let cassette = Cassette::replay(&path).unwrap();
    let error = cassette.stream(whole(), Deltas::channel().0).await.unwrap_err().to_string();
    assert!(error.contains("  kind:\n    - complete\n    + stream\n"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_miss_names_the_request_the_file_and_the_closest_line() {
    let folder = Folder::new();
    let long = |middle: &str| format!("{} {middle} {}", "before ".repeat(40), " after".repeat(40));
    let list = "one\\ntwo\\nthree\\nfour";
    let lines = [line("used", "1"), line(&long("seven"), "2"), line(list, "3")];
    let path = written(&folder, &lines.each_ref().map(String::as_str));
    let shown = path.display().to_string();
    let cassette = Cassette::replay(&path).unwrap();
    said(&cassette, "used").await.unwrap();

    let error = said(&cassette, &long("nine")).await.unwrap_err().to_string();
    let begins = format!(
        "the language model refused the request: the recording {shown} has no line left for request 2; the closest is line 2 \
         (- recorded, + asked):\n  messages[0].content:\n    - …"
    );
    assert!(error.starts_with(&begins), "{error}");
    for (mark, word) in [('-', "seven"), ('+', "nine")] {
        let line = error.lines().find(|line| line.starts_with(&format!("    {mark} …"))).unwrap();
        assert!(line.contains(&format!("before  {word}  after")) && line.chars().count() < 110, "{line}");
    }
    assert!(error.ends_with("\nif the change is intended, record it again with TEAMMY_RECORD=1"), "{error}");

    let path = written(&folder, &[&lines[2]]);
    let cassette = Cassette::replay(&path).unwrap();
    let error = said(&cassette, "one\n2\nthree\nfour").await.unwrap_err().to_string();
    assert!(error.contains("  messages[0].content:\n    - two\n    + 2\nif"), "only what differs: {error}");
    let many = (0..50).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
    let error = said(&cassette, &many).await.unwrap_err().to_string();
    assert!(error.contains("    + 3\n    + … and 46 more lines\n"), "{error}");
    said(&cassette, "one\ntwo\nthree\nfour").await.unwrap();
    let error = said(&cassette, "one\ntwo\nthree\nfour").await.unwrap_err().to_string();
    assert!(
        error.ends_with(&format!(
            "the recording {shown} has no line left for request 4 (line 1 is equal, and used): all are used; if the change is \
             intended, record it again with TEAMMY_RECORD=1"
        )),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_the_times_of_its_pieces_and_its_end() {
    let folder = Folder::new();
    let path = folder.cassette();
    let second = Duration::from_secs(1);
    let model = ScriptedLlm::default()
        .delay(second)
        .stream_then_fail(["It ", "is "], "reset")
        .delay(Duration::ZERO)
        .cut("Be");
    let recorded = Cassette::record(&path, model);
    let began = Instant::now();
    let read = async |cassette: &Cassette| {
        let mut stream = models(cassette, "i").ask([LlmMessage::user("Why?")]).stream();
        let mut items = Vec::new();
        while let Some(item) = stream.next().await {
            let item = item.unwrap_or_else(|error| format!("error: {error}"));
            items.push((item, began.elapsed()));
        }
        items
    };
    let items = [read(&recorded).await, read(&recorded).await].concat();
    assert_eq!(began.elapsed(), Duration::ZERO, "the test's time stands still");
    let texts: Vec<_> = items.into_iter().map(|(text, _)| text).collect();
    let failed = "error: the language model failed: reset";
    let cut = "error: the language model's answer was cut off after 2 characters; allow more tokens";
    assert_eq!(texts, ["It ", "is ", failed, "Be", cut]);

    let file = fs::read_to_string(&path).unwrap();
    let pieces = r#""pieces":[{"ms":1000,"text":"It "},{"ms":2000,"text":"is "}],"outcome":{"error":"#;
    assert!(file.contains(pieces), "{file}");
    let replay = Cassette::replay(&path).unwrap();
    let at = |text: &str, seconds| (text.to_owned(), second * seconds);
    assert_eq!(read(&replay).await, [at("It ", 1), at("is ", 2), at(failed, 2)]);
    assert_eq!(read(&replay).await, [at("Be", 2), at(cut, 2)]);
}

/// A model that answers one question alone.
struct Stalling;

impl LlmProvider for Stalling {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        if request.messages[0].content != "Really?" {
            std::future::pending::<()>().await;
        }
        Ok(LlmResponse::new("Yes."))
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        deltas.put("It ");
        self.complete(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_cancelled_is_not_answered() {
    let folder = Folder::new();
    let path = folder.cassette();
    let recorded = Cassette::record(&path, Stalling);
    let mut stream = models(&recorded, "i").ask([LlmMessage::user("Why?")]).stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), "It ");
    drop(stream);
    assert!(said(&recorded, "Is it?").now_or_never().is_none(), "it is dropped");
    assert_eq!(said(&recorded, "Really?").await.unwrap(), "Yes.");

    let replay = Cassette::replay(&path).unwrap();
    let began = Instant::now();
    let limit = Duration::from_secs(3);
    let mut stream = models(&replay, "i").ask([LlmMessage::user("Why?")]).within(limit).stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), "It ");
    assert!(matches!(stream.next().await.unwrap(), Err(LlmError::Failed(_))));
    let asked = models(&replay, "i").ask([LlmMessage::user("Is it?")]).within(limit);
    assert!(matches!(asked.text().await, Err(LlmError::Failed(_))));
    assert_eq!(began.elapsed(), 2 * limit);
    assert_eq!(said(&replay, "Really?").await.unwrap(), "Yes.");
}

#[tokio::test(start_paused = true)]
async fn every_error_comes_back() {
    let resets = Some("2026-01-05T09:00:00Z".parse::<Timestamp>().unwrap());
    let errors = [
        LlmError::NotConfigured,
        LlmError::Failed("a".into()),
        LlmError::Refused("b".into()),
        LlmError::Misconfigured("c".into()),
        LlmError::CutOff { text: "d".into() },
        LlmError::BudgetExceeded { name: "e".into(), resets },
        LlmError::BudgetExceeded { name: "f".into(), resets: None },
        LlmError::Unreadable("g".into()),
    ];
    let folder = Folder::new();
    let path = folder.cassette();
    let model = errors.iter().cloned().fold(ScriptedLlm::default(), ScriptedLlm::fail_with);
    let recorded = Cassette::record(&path, model);
    for error in &errors {
        let found = said(&recorded, "?").await.unwrap_err();
        assert_eq!(format!("{found:?}"), format!("{error:?}"));
    }
    let replay = Cassette::replay(&path).unwrap();
    for error in &errors {
        assert_eq!(format!("{:?}", said(&replay, "?").await.unwrap_err()), format!("{error:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_response_comes_back() {
    let mut response = LlmResponse::new("text");
    response.usage = Some(crate::Usage { prompt: 7, completion: 6, cached: 5, reasoning: 4 });
    response.finish = Finish::ToolCalls;
    response.reasoning = Some("hm".into());
    response.tool_calls =
        vec![crate::ToolCall { id: "1".into(), name: "f".into(), arguments: "{\"a\":\"b\"}".into() }];
    response.model = Some("big".into());
    let folder = Folder::new();
    let path = folder.cassette();
    let ask = async |cassette: &Cassette| {
        models(cassette, "i").ask([LlmMessage::user("?")]).response().await.unwrap()
    };
    let recorded = Cassette::record(&path, ScriptedLlm::default().respond(response.clone()));
    assert_eq!(ask(&recorded).await, response);
    assert_eq!(ask(&Cassette::replay(&path).unwrap()).await, response);
}

#[tokio::test(start_paused = true)]
async fn no_secret_gets_into_the_file() {
    const KEY: &str = "sk-proj-0123456789";
    const TOKEN: &str = "eyJhbGciOi.abc_def-1==";
    const PASSWORD: &str = "pass \"word\" \\ 1";
    let folder = Folder::new();
    let path = folder.cassette();
    let quoted = format!("key {KEY}, Authorization: bearer {TOKEN}; {PASSWORD}!");
    let model = ScriptedLlm::default()
        .reply(quoted.clone())
        .fail(quoted.clone())
        .stream(["It sk-pr", "oj-012", "3456789 is pass \"wo", "rd\" \\ 1", "2"])
        .fail_embedding(LlmError::Misconfigured(quoted.clone()))
        .transcript(Transcript::new(quoted.clone()))
        .reply(serde_json::json!({ "password": PASSWORD }).to_string());
    let run = async |cassette: &Cassette| {
        let llm = models(cassette, "i");
        let stream = llm.ask([LlmMessage::user("stream")]).stream();
        [
            said(cassette, &quoted).await.unwrap(),
            said(cassette, &quoted).await.unwrap_err().to_string(),
            stream.map(Result::unwrap).collect::<Vec<_>>().await.join("|"),
            llm.embed([quoted.as_str()]).await.unwrap_err().to_string(),
            llm.transcribe(Audio::file(KEY, KEY)).hint(PASSWORD).transcript().await.unwrap().text,
            said(cassette, "as JSON").await.unwrap(),
        ]
    };
    let recorded = run(&Cassette::record(&path, model).redact(PASSWORD).redact("")).await;
    assert_eq!(recorded[0], quoted, "the plugin gets what came");
    let file = fs::read_to_string(&path).unwrap();
    for secret in ["0123456789", "012", TOKEN, "eyJ", "pass", "word\\\""] {
        assert!(!file.replace("\"password\\\"", "").contains(secret), "{secret}: {file}");
    }
    let replayed = run(&Cassette::replay(&path).unwrap().redact(PASSWORD)).await;
    let clean = "key [redacted], Authorization: bearer [redacted]; [redacted]!";
    assert_eq!(replayed[0], clean);
    assert_eq!(replayed[1], format!("the language model failed: {clean}"));
    assert_eq!(replayed[2], "It [redacted]| is [redacted]|2");
    assert!(replayed[3].ends_with(clean));
    assert_eq!((replayed[4].as_str(), replayed[5].as_str()), (clean, "{\"password\":\"[redacted]\"}"));
}

#[test]
fn words_are_not_taken_for_keys() {
    let redaction = Redaction::default();
    for text in [
        "a risk-averse-person",
        "sk-short",
        "the bearer of news",
        "Bearer",
        "ask-me-anything-now",
        "sk-",
        "bearer ",
    ] {
        assert_eq!(redaction.text(text), text);
    }
    for (text, clean) in [
        ("sk-12345678", "[redacted]"),
        ("(sk-12345678)", "([redacted])"),
        ("BEARER  a1b2c3d4e5", "BEARER  [redacted]"),
        ("é Bearer sk-12345678, Bearer sk-12345678", "é Bearer [redacted], Bearer [redacted]"),
    ] {
        assert_eq!(redaction.text(text), clean);
    }
}

proptest! {
    #[test]
    fn a_secret_is_found_however_a_text_is_cut(
        pieces in proptest::collection::vec("(sk-|12345678|top|secret|Bearer |é| ){0,4}", 0..6),
    ) {
        let mut redaction = Redaction::default();
        redaction.add("topsecret".to_owned());
        let mut clean = pieces.clone();
        redaction.pieces(&mut clean);
        prop_assert_eq!(clean.concat(), redaction.text(&pieces.concat()));
        prop_assert_eq!(clean.len(), pieces.len());
        prop_assert!(!clean.concat().contains("topsecret"));
    }

    #[test]
    fn any_two_requests_are_compared_in_few_lines(
        recorded in proptest::collection::vec("([a-cé\n]|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx){0,9}", 0..9),
        asked in proptest::collection::vec("([a-cé\n]|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx){0,9}", 0..9),
    ) {
        let differences = difference::between(&serde_json::json!(recorded), &serde_json::json!(asked));
        let shown = difference::shown(&differences);
        prop_assert_eq!(recorded == asked, differences.is_empty());
        prop_assert!(shown.lines().count() <= 21);
        prop_assert!(shown.lines().all(|line| line.chars().count() <= 110), "{}", shown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_replayed_says_where_it_is_wrong_and_what_to_do() {
    let folder = Folder::new();
    let missing = Cassette::replay(folder.cassette()).unwrap_err();
    let shown = folder.cassette().display().to_string();
    let says = format!(
        "there is no recording {shown}: run the test once with TEAMMY_RECORD=1, and with a model, to record it"
    );
    assert_eq!(missing.to_string(), says);
    assert!(matches!(Cassette::replay(&folder.0).unwrap_err(), CassetteError::Unreadable { .. }));

    let good = line("a", "1");
    for (bad, problem) in [
        ("{\"request\"", "EOF while parsing"),
        ("[]", "invalid length 0"),
        (r#"{"request":{"kind":"budgets"}}"#, "missing field `outcome`"),
        (r#"{"request":{"kind":"budgets"},"outcome":"cancelled","more":1}"#, "unknown field `more`"),
        (r#"{"request":{},"outcome":"cancelled"}"#, "its request has no kind"),
        (r#"{"request":{"kind":"sing"},"outcome":"cancelled"}"#, "there are no requests of kind \"sing\""),
        (r#"{"request":{"kind":"embed"},"outcome":{"answer":{"text":"a"}}}"#, "missing field `vectors`"),
        (r#"{"request":{"kind":"complete"},"outcome":{"answer":{"text":1}}}"#, "invalid type: integer `1`"),
        (r#"{"request":{"kind":"check"},"outcome":{"answer":1}}"#, "a check that passed is not recorded"),
    ] {
        let path = written(&folder, &[&good, "", bad, &good]);
        let error = Cassette::replay(&path).unwrap_err();
        assert!(matches!(error, CassetteError::Malformed { line: 3, .. }), "{error}");
        let (error, begins) =
            (error.to_string(), format!("line 3 of the recording {} is not an exchange: ", path.display()));
        assert!(error.starts_with(&begins) && error.contains(problem), "{error}");
        assert!(error.ends_with("; record it again, with TEAMMY_RECORD=1"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_written_as_they_come_and_replace_what_was_there() {
    let folder = Folder::new();
    let path = written(&folder, &["old"]);
    let cassette = Cassette::record(&path, ScriptedLlm::default().reply("1").reply("2"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "old", "nothing was asked");
    said(&cassette, "a").await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    said(&cassette.clone(), "b").await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    assert_eq!(cassette.remaining(), 0);

    let inside = path.join("a.jsonl");
    let cassette = Cassette::record(&inside, ScriptedLlm::default().reply("1"));
    let error = said(&cassette, "a").await.unwrap_err();
    let begins = format!(
        "the language model refused the request: the recording {} cannot be made: ",
        inside.display()
    );
    assert!(error.to_string().starts_with(&begins), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_variable_decides_whether_the_model_is_asked() {
    let folder = Folder::new();
    let path = folder.cassette();
    let never = || -> ScriptedLlm { panic!("a replay needs no model") };
    for variable in [None, Some(OsString::new())] {
        let missing = Cassette::record_if(variable, &path, never).unwrap_err();
        assert!(matches!(missing, CassetteError::Missing { .. }), "{missing}");
    }
    let recording =
        Cassette::record_if(Some("1".into()), &path, || ScriptedLlm::default().reply("1")).unwrap();
    said(&recording, "a").await.unwrap();
    let replay = Cassette::record_if(None, &path, never).unwrap();
    assert_eq!(said(&replay, "a").await.unwrap(), "1");
    let again = Cassette::record_if(Some("yes".into()), &path, || ScriptedLlm::default().reply("2")).unwrap();
    assert_eq!(said(&again, "a").await.unwrap(), "2", "what is there is recorded anew");
}

/// A model whose client checks values.
struct Checking(ScriptedLlm);

impl LlmProvider for Checking {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        self.0.complete(request).await
    }

    fn check(&self, _: &Value, value: &Value) -> Result<(), String> {
        match value["percent"].as_u64() {
            Some(percent) if percent > 100 => Err("it is too large".to_owned()),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, PartialEq, Deserialize, schemars::JsonSchema)]
struct Share {
    percent: u32,
}

#[tokio::test(start_paused = true)]
async fn what_a_check_finds_wrong_is_replayed() {
    let folder = Folder::new();
    let path = folder.cassette();
    let script = ScriptedLlm::default().reply("{\"percent\": 500}").reply("{\"percent\": 50}");
    let ask =
        async |cassette: &Cassette| models(cassette, "i").ask([LlmMessage::user("?")]).json::<Share>().await;
    assert_eq!(ask(&Cassette::record(&path, Checking(script))).await.unwrap(), Share { percent: 50 });
    let replay = Cassette::replay(&path).unwrap();
    assert_eq!(replay.remaining(), 3);
    assert_eq!(ask(&replay).await.unwrap(), Share { percent: 50 });
    assert_eq!(replay.remaining(), 0);
    let schema = schemars::schema_for!(Share);
    let known = serde_json::json!({"percent": 70});
    assert_eq!(LlmProvider::check(&replay, schema.as_value(), &known), Ok(()));
}

/// A model that answers from another thread, as a server does, and says how much time it had.
struct Server;

impl LlmProvider for Server {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let left = request.caller.deadline.expect("a deadline").saturating_duration_since(Instant::now());
        let (sender, answer) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            // Long enough for a test that waits to move its time on.
            (0..1_000).for_each(|_| std::thread::yield_now());
            let _ = sender.send(LlmResponse::new(format!("{left:?} left")));
        });
        answer.await.map_err(|error| LlmError::Failed(error.to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_tests_time_stands_still_while_a_model_is_recorded() {
    let folder = Folder::new();
    let cassette = Cassette::record(folder.cassette(), Server);
    tokio::time::advance(Duration::from_hours(1)).await;
    let began = Instant::now();
    let asked = models(&cassette, "i").ask([LlmMessage::user("?")]).within(Duration::from_secs(5));
    assert_eq!(asked.text().await.unwrap(), "5s left");
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(7), "it goes on afterwards");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the model's own")]
async fn a_model_that_panics_does_so_in_the_test() {
    struct Panicking;
    impl LlmProvider for Panicking {
        async fn complete(&self, _: LlmRequest) -> Result<LlmResponse, LlmError> {
            panic!("the model's own")
        }
    }
    let folder = Folder::new();
    let _ = said(&Cassette::record(folder.cassette(), Panicking), "?").await;
}
