//! The text of sound, from servers as they really are.

use std::{
    sync::{Arc, Barrier, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use teammy_kernel::{Audio, Spoken};

use super::{
    raw_server::{Do, RawServer, Received, head, whole},
    *,
};

/// A part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    file_name: Option<String>,
    kind: Option<String>,
    content: Vec<u8>,
}

/// The parts of a form, as a server of the API reads them.
fn fields(received: &Received) -> Vec<Field> {
    let kind = received.head.iter().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let separator = format!("\r\n--{boundary}").into_bytes();
    // As if the first line had one before it too.
    let body = [b"\r\n", &*received.body].concat();
    let mut starts: Vec<usize> = (0..body.len()).filter(|at| body[*at..].starts_with(&separator)).collect();
    let end = starts.pop().unwrap();
    assert_eq!(&body[end + separator.len()..], b"--\r\n");
    starts.push(end);
    let field = |range: &[usize]| {
        let part = &body[range[0] + separator.len()..range[1]];
        let at = part.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let (head, content) = (std::str::from_utf8(&part[..at]).unwrap(), part[at + 4..].to_vec());
        let of = |name: &str| {
            head.lines()
                .find_map(|line| line.to_lowercase().starts_with(name).then(|| line[name.len()..].trim()))
        };
        let quoted = |text: &str, key: &str| {
            let (_, rest) = text.split_once(&format!("; {key}=\""))?;
            Some(rest.split_once('"').unwrap().0.to_owned())
        };
        let disposition = of("content-disposition:").unwrap();
        Field {
            name: quoted(disposition, "name").unwrap(),
            file_name: quoted(disposition, "filename"),
            kind: of("content-type:").map(str::to_owned),
            content,
        }
    };
    starts.windows(2).map(field).collect()
}

/// The texts of a form's fields, and how many bytes its file has.
fn texts(received: &Received) -> Vec<(String, String)> {
    let text = |field: Field| match field.file_name {
        Some(_) => (field.name, format!("{} bytes", field.content.len())),
        None => (field.name, String::from_utf8(field.content).unwrap()),
    };
    fields(received).into_iter().map(text).collect()
}

fn has(received: &Received, name: &str, value: &str) -> bool {
    texts(received).iter().any(|(has, is)| has == name && is == value)
}

fn request(audio: Audio) -> TranscribeRequest {
    let caller = Caller::new(MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    TranscribeRequest::new(audio, caller)
}

/// Sound that is as good as any other.
fn some_sound() -> TranscribeRequest {
    request(Audio::file("said.mp3", vec![7; 10]))
}

/// A model for speech at a server, with these lines of configuration.
fn model(server: &RawServer, llm: &str) -> SharedLlm {
    server.model(&format!("llm.transcription = \"big\"\n{llm}"), "model = \"whisper-1\"")
}

fn shown(answered: Result<Transcript, LlmError>) -> String {
    match answered {
        Ok(transcript) => transcript.text,
        Err(LlmError::Failed(said)) => format!("failed: {said}"),
        Err(LlmError::Refused(said)) => format!("refused: {said}"),
        Err(LlmError::Misconfigured(said)) => format!("misconfigured: {said}"),
        Err(other) => format!("other: {other}"),
    }
}

async fn ask(server: &RawServer, llm: &str) -> String {
    shown(model(server, llm).transcribe(some_sound()).await)
}

fn answer(body: &Value) -> Vec<Do> {
    whole("200 OK", "", &body.to_string())
}

fn part(start: f64, end: f64, text: &str) -> Spoken {
    Spoken { start: Duration::from_secs_f64(start), end: Duration::from_secs_f64(end), text: text.to_owned() }
}

#[tokio::test]
async fn sound_is_sent_as_the_form_that_the_api_defines() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = RawServer::start_raw({
        let seen = seen.clone();
        move |_, received: &Received| {
            seen.lock().unwrap().push((received.path.clone(), received.head.clone(), fields(received)));
            answer(&json!({"text": "yes"}))
        }
    });
    let more = "model = \"whisper-1\"\napi_key_env = \"MODEL_KEY\"\nextra_body = { max_tokens = 9 }";
    let model = server.model("llm.transcription = \"big\"", more);
    // What would end a part, if anything could.
    let content = b"\r\n--x\r\n\0\xff--\r\n".to_vec();
    let mut asked = request(Audio::file("Board \"of\" SECRET\r\nx: y.MP3", content.clone()));
    asked.language = Some("en".to_owned());
    asked.hint = Some("Žofie,\r\n--x \"Bo\"".to_owned());
    let transcript = model.transcribe(asked).await.unwrap();
    assert_eq!((transcript.text.as_str(), transcript.model.as_deref()), ("yes", Some("big")));

    let (path, head, fields) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(path, "/v1/audio/transcriptions");
    assert!(head.iter().any(|line| line == "authorization: bearer sk-very-secret"), "{head:?}");
    let field = |name: &str, text: &str| Field {
        name: name.to_owned(),
        file_name: None,
        kind: None,
        content: text.as_bytes().to_vec(),
    };
    let file = Field {
        name: "file".to_owned(),
        file_name: Some("audio.mp3".to_owned()),
        kind: Some("audio/mpeg".to_owned()),
        content,
    };
    let expected = [
        field("model", "whisper-1"),
        field("language", "en"),
        field("prompt", "Žofie,\r\n--x \"Bo\""),
        field("response_format", "verbose_json"),
        field("timestamp_granularities[]", "word"),
        field("timestamp_granularities[]", "segment"),
        file,
    ];
    assert_eq!(fields, expected);

    // Samples become a file.
    let samples: Vec<i16> = (0..1600).collect();
    model.transcribe(request(Audio::samples(16_000, samples.clone()))).await.unwrap();
    let (_, _, mut fields) = seen.lock().unwrap().pop().unwrap();
    let file = fields.pop().unwrap();
    assert_eq!((file.file_name.as_deref(), file.kind.as_deref()), (Some("audio.wav"), Some("audio/wav")));
    let mut reader = hound::WavReader::new(&*file.content).unwrap();
    assert_eq!(reader.spec().sample_rate, 16_000);
    assert_eq!(reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), samples);
    assert_eq!(
        shown(model.transcribe(request(Audio::samples(0, samples))).await).split(':').next(),
        Some("refused")
    );
}

#[tokio::test]
async fn transcripts_are_read_as_servers_give_them() {
    let verbose = json!({
        "task": "transcribe", "language": "english", "duration": "2.5", "text": " Hello there. Bye. ",
        "segments": [
            {"id": 0, "seek": 0, "start": 0, "end": 1.5, "text": " Hello there.", "tokens": [1, 2], "avg_logprob": -0.3},
            {"start": "1.5", "end": "2.5", "text": " Bye."},
            {"start": null, "end": null, "text": null},
        ],
        "words": [
            {"word": "Hello", "start": -0.1, "end": 0.4}, {"word": "there", "start": 0.5, "end": 0.3},
            {"word": "Bye"}, null,
        ],
        "usage": {"type": "duration", "seconds": 3},
    });
    let nested = json!({
        "segments": [
            {"start": 0, "end": 1, "text": " Hello", "words": [{"word": " Hello", "start": 0, "end": 1}]},
            {"start": 1, "end": 2, "text": " there", "words": null},
        ],
    });
    let tokens = json!({
        "text": "Hello",
        "usage": {
            "type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
        },
    });
    let parts = || vec![part(0.0, 1.5, "Hello there."), part(1.5, 2.5, "Bye.")];
    let words = || vec![part(0.0, 0.4, "Hello"), part(0.5, 0.5, "there"), part(0.5, 0.5, "Bye")];
    for (body, text, segments, words, usage) in [
        (verbose, "Hello there. Bye.", parts(), words(), None),
        (
            nested,
            "Hello there",
            vec![part(0.0, 1.0, "Hello"), part(1.0, 2.0, "there")],
            vec![part(0.0, 1.0, "Hello")],
            None,
        ),
        (tokens, "Hello", vec![], vec![], Some(Usage { prompt: 14, completion: 4, ..Usage::default() })),
        (json!({"text": "", "segments": [], "words": null, "usage": "much"}), "", vec![], vec![], None),
        (json!({"text": null, "language": 7, "segments": 7}), "", vec![], vec![], None),
        (json!("Hello"), "Hello", vec![], vec![], None),
    ] {
        let server = RawServer::start_raw(move |_, _| answer(&body));
        let transcript = model(&server, "").transcribe(some_sound()).await.unwrap();
        assert_eq!(
            (&*transcript.text, transcript.segments, transcript.words),
            (text, segments, words),
            "{text}"
        );
        assert_eq!(transcript.usage, usage, "{text}");
        assert_eq!(transcript.language.as_deref(), text.ends_with("Bye.").then_some("english"), "{text}");
    }

    // Servers that give the bare text.
    for kind in ["content-type: text/plain; charset=utf-8\r\n", "content-type: text/html\r\n", ""] {
        let script = vec![head("200 OK", kind), Do::Send("Žluťoučký\n".into())];
        let server = RawServer::start_raw(move |_, _| script.clone());
        assert_eq!(ask(&server, "").await, "Žluťoučký", "{kind}");
    }
}

#[tokio::test]
async fn a_server_is_asked_for_no_more_than_it_gives() {
    const AT_ONCE: usize = 4;
    let error = |body: &Value| whole("400 Bad Request", "", &body.to_string());
    let of_form = error(&json!({"error": {
        "message": "response_format 'verbose_json' is not compatible with model 'gpt-4o-transcribe'. Use 'json' or 'text' instead.",
        "type": "invalid_request_error", "param": "response_format", "code": "unsupported_value",
    }}));
    let of_words = error(&json!({"detail": "Unknown field timestamp_granularities"}));
    let granularity = |received: &Received| has(received, "timestamp_granularities[]", "word");

    // It gives text alone.
    let server = RawServer::start_raw({
        let of_form = of_form.clone();
        move |_, received| {
            if has(received, "response_format", "json") && !granularity(received) {
                answer(&json!({"text": "yes"}))
            } else {
                of_form.clone()
            }
        }
    });
    let one = model(&server, "llm.tries = 1");
    for requests in [2, 3] {
        assert_eq!(shown(one.transcribe(some_sound()).await), "yes");
        assert_eq!(server.requests(), requests);
    }

    // It gives the times of segments.
    let server = RawServer::start_raw({
        let of_words = of_words.clone();
        move |_, received| {
            if granularity(received) {
                of_words.clone()
            } else if has(received, "response_format", "verbose_json") {
                answer(&json!({"text": "yes", "segments": [{"start": 0, "end": 1, "text": "yes"}]}))
            } else {
                answer(&json!({"text": "no times"}))
            }
        }
    });
    let one = model(&server, "llm.tries = 1");
    for requests in [2, 3] {
        let transcript = one.transcribe(some_sound()).await.unwrap();
        assert_eq!(transcript.segments, [part(0.0, 1.0, "yes")]);
        assert_eq!(server.requests(), requests);
    }

    // It rejects whatever it is asked for.
    let server = RawServer::start_raw(move |_, _| of_form.clone());
    assert_eq!(ask(&server, "").await, "misconfigured: big: it gives no transcript as JSON");
    assert_eq!(server.requests(), 2);

    // None of the requests at the same time fails because another one learned first.
    let together = Barrier::new(AT_ONCE);
    let server = RawServer::start_raw(move |_, received| {
        if granularity(received) {
            together.wait();
            return of_words.clone();
        }
        answer(&json!({"text": "yes"}))
    });
    let one = model(&server, "llm.tries = 1");
    let asked = (0..AT_ONCE).map(|number| {
        let mut request = some_sound();
        // Requests that differ share no answer.
        request.hint = Some(number.to_string());
        one.transcribe(request)
    });
    for answered in futures::future::join_all(asked).await {
        assert_eq!(shown(answered), "yes");
    }
    assert_eq!(server.requests(), 2 * AT_ONCE);
}

#[tokio::test]
async fn what_a_server_answers_else_is_told_apart() {
    let page = vec![head("200 OK", "content-type: text/html\r\n"), Do::Send("<p>SECRET".into())];
    let captions = vec![head("200 OK", "content-type: text/vtt\r\n"), Do::Send("WEBVTT SECRET".into())];
    let bytes = vec![head("200 OK", ""), Do::Send(vec![0xff, 0xfe])];
    let huge = vec![head("200 OK", "content-type: application/json\r\n"), Do::Repeat(vec![b' '; 64 << 10])];
    let broken = "its answer does not follow the API: ";
    let none = "its answer is no transcript";
    for (script, says, class) in [
        (whole("200 OK", "", r#"{"text": "SECRET"#), broken, Class::Malformed),
        (whole("200 OK", "", "SECRET"), broken, Class::Malformed),
        (whole("200 OK", "", r#"{"choices": []}"#), none, Class::Malformed),
        (whole("200 OK", "", r#"{"text": ["SECRET"]}"#), none, Class::Malformed),
        (page, none, Class::Malformed),
        (captions, none, Class::Malformed),
        (bytes, none, Class::Malformed),
        (
            whole("200 OK", "", r#"{"error": {"message": "SECRET", "code": 503}}"#),
            "it answered with an error, 503",
            Class::Busy,
        ),
        (whole("500 Oops", "", "SECRET"), "HTTP 500 Internal Server Error", Class::Unavailable),
        (vec![Do::Reset], "", Class::Unavailable),
        (whole("401 No", "", "{}"), "HTTP 401 Unauthorized: check its key", Class::Misconfigured),
        (whole("413 Large", "", "SECRET"), "HTTP 413 Payload Too Large", Class::Refused),
        (huge, "its transcript is larger than 16777216 bytes", Class::Refused),
    ] {
        let server = RawServer::start_raw(move |_, _| script.clone());
        let problem = server.endpoint().transcribe(&some_sound()).await.unwrap_err();
        assert_eq!(problem.class, class, "{problem:?}");
        assert!(problem.text.starts_with(says) && !problem.text.contains("SECRET"), "{problem:?}");
        assert_eq!(server.requests(), 1, "{problem:?}");
    }
    // It comes back when it is told to, with the whole sound.
    let server = RawServer::start_raw(|number, received| {
        assert!(has(received, "file", "10 bytes"));
        match number {
            1 => whole("429 Too Many Requests", "retry-after: 0\r\n", "{}"),
            _ => answer(&json!({"text": "yes"})),
        }
    });
    assert_eq!((ask(&server, "llm.tries = 1").await.as_str(), server.requests()), ("yes", 2));
}

#[tokio::test]
async fn a_server_that_stalls_is_late() {
    let server = RawServer::start_raw(|_, _| vec![Do::Stall]);
    let said = ask(&server, "llm.total = \"100ms\"\nllm.tries = 1").await;
    assert_eq!(said, "failed: big: no answer came in time (llm.total)");
    let half = vec![head("200 OK", "content-length: 10\r\n"), Do::Send(b"{\"te".to_vec()), Do::Stall];
    let server = RawServer::start_raw(move |_, _| half.clone());
    let mut late = some_sound();
    late.caller.deadline = Some(Instant::now() + Duration::from_millis(200));
    let said = shown(model(&server, "").transcribe(late).await);
    assert!(said.starts_with("failed: big: "), "{said}");
}
