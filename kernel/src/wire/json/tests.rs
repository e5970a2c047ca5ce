use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::participant;

/// What no message may hold.
const WORDS: &str = "MARKER";

fn packet(payload: Payload) -> DataPacket {
    DataPacket {
        meeting: MeetingId::new("m").unwrap(),
        seq: Seq(7),
        source: Name::new("chat").unwrap(),
        timestamp: "2026-01-05T09:00:02.400Z".parse().unwrap(),
        received_at: "2026-01-05T09:00:02.600000001Z".parse().unwrap(),
        participant: Some("A\"da".into()),
        payload,
        producer: None,
        causes: vec![Seq(3), Seq(5)],
        trace: None,
    }
}

fn written(packet: &DataPacket) -> String {
    serde_json::to_string(&Packet(packet)).unwrap()
}

/// A payload as a store reads it: of JSON, or malformed.
fn json_payload(text: &str) -> Payload {
    JsonText::new(text).into()
}

/// A packet to publish with these keys beside its source.
fn to_publish(keys: &str) -> Result<Publish, Error> {
    parse(&format!(r#"{{"source":"chat",{keys}}}"#)).map(|parsed| parsed.publish)
}

#[track_caller]
fn refused(keys: &str) -> String {
    let error = to_publish(keys).expect_err(keys);
    assert!(!format!("{error} {error:?}").contains(WORDS), "{error:?}");
    error.to_string()
}

/// Programs parse this: what changes here, clients must change.
#[test]
fn a_packet_is_written_so() {
    let mut whole = packet(json_payload("{\n \"a\": 1.0e2}"));
    whole.producer = Some(Producer { id: "p".into(), number: 3 });
    whole.trace = TraceContext::sampled(10, 11);
    assert_eq!(
        written(&whole),
        concat!(
            r#"{"type":"packet","meeting":"m","seq":7,"source":"chat","timestamp":"2026-01-05T09:00:02.4Z","#,
            r#""received_at":"2026-01-05T09:00:02.600000001Z","participant":"A\"da","payload":{  "a": 1.0e2},"#,
            r#""producer":{"id":"p","number":3},"traceparent":"00-0000000000000000000000000000000a-000000000000000b-03","#,
            r#""causes":[3,5]}"#
        )
    );
    for (payload, shown) in [
        (json_payload("null"), r#""payload":null,"#),
        (json_payload(" \"a\" "), r#""payload":"a","#),
        (Payload::Text("a".into()), r#""payload_text":"a","#),
        (Payload::Text("a\nb".into()), r#""payload_text":"a\nb","#),
        (Payload::Bytes(vec![0xff, 0].into()), r#""payload_base64":"/wA=","#),
        (json_payload("{oops\n"), r#""payload_malformed":"{oops\n","#),
        (json_payload(""), r#""payload_malformed":"","#),
    ] {
        let line = written(&DataPacket { participant: None, causes: vec![], ..packet(payload) });
        assert!(line.contains(shown) && !line.contains('\n'), "{line}");
        assert!(line.contains(r#""participant":null,"#) && line.ends_with(r#","causes":[]}"#), "{line}");
    }
}

#[test]
fn a_dead_letter_is_written_so() {
    let mut packet = packet(json_payload("1"));
    packet.causes.clear();
    let at = packet.timestamp;
    let letter = crate::store::DeadLetter::new(Name::new("minutes").unwrap(), &packet, 3, "no model", at);
    assert_eq!(
        serde_json::to_string(&DeadLetter::new(&packet.meeting, &letter)).unwrap(),
        concat!(
            r#"{"type":"dead-letter","meeting":"m","instance":"minutes","seq":7,"source":"chat","tries":3,"#,
            r#""error":"no model","at":"2026-01-05T09:00:02.4Z"}"#
        )
    );
}

#[test]
fn little_is_needed_to_publish() {
    let publish = to_publish(r#""payload":{ "text" : "\u0041", "n":1e2}"#).unwrap();
    assert_eq!(publish, Publish::new("chat", json_payload(r#"{ "text" : "\u0041", "n":1e2}"#)).unwrap());
    let nulls = r#""payload":null,"payload_text":null,"payload_base64":null,"payload_malformed":null,"type":null,
        "meeting":null,"seq":null,"timestamp":null,"received_at":null,"participant":null,"producer":null,"causes":null,
        "traceparent":null"#;
    assert_eq!(to_publish(nulls).unwrap(), Publish::new("chat", json_payload("null")).unwrap());
    let publish = to_publish(
        r#""type":"packet","timestamp":"2026-01-05T10:00:02+01:00","participant":"Ada","payload_text":"\"\u0000",
        "producer":{"id":"p","number":"18446744073709551615"}"#,
    );
    let expected = Publish::text("chat", "\"\0").unwrap().participant("Ada").numbered("p", u64::MAX);
    assert_eq!(publish.unwrap(), expected.timestamp("2026-01-05T09:00:02Z".parse().unwrap()));
}

#[test]
fn what_was_read_can_be_published_elsewhere() {
    let packet = packet(Payload::Text("a".into()));
    let parsed = parse(&written(&packet)).unwrap();
    assert_eq!((parsed.seq, &parsed.causes), (Some(Seq(7)), &packet.causes));
    assert_eq!((&parsed.meeting, parsed.received_at), (&Some(packet.meeting), Some(packet.received_at)));
    assert_eq!((parsed.publish.payload, parsed.publish.producer), (packet.payload, None));
}

#[test]
fn a_seq_is_read_as_a_number_or_as_its_digits() {
    for (keys, seq) in [
        (r#""seq":7"#, Seq(7)),
        (r#""seq":"7""#, Seq(7)),
        (r#""seq":18446744073709551615"#, Seq::MAX),
        (r#""seq":"18446744073709551615""#, Seq::MAX),
        (r#""seq":9007199254740993"#, Seq((1 << 53) + 1)),
        (r#""seq":7.0"#, Seq(7)),
        (r#""seq":1e3"#, Seq(1000)),
    ] {
        let parsed = parse(&format!(r#"{{"source":"chat","payload":1,{keys},"causes":["6",5]}}"#)).unwrap();
        assert_eq!((parsed.seq, parsed.causes), (Some(seq), vec![Seq(6), Seq(5)]), "{keys}");
    }
    for seq in [
        "-1",
        "1.5",
        "-7.0",
        "9007199254740992.0",
        "1e300",
        "true",
        "[]",
        r#""""#,
        r#""+7""#,
        r#""MARKER""#,
        "18446744073709551616",
    ] {
        let error = refused(&format!(r#""payload":1,"seq":{seq}"#));
        assert!(
            error.starts_with("seq: invalid")
                && error.ends_with("expected a whole number, or its digits as a string"),
            "{seq}: {error}"
        );
    }
}

#[test]
fn base64_is_read_with_and_without_padding() {
    for text in ["/wA=", "/wA"] {
        let publish = to_publish(&format!(r#""payload_base64":"{text}""#)).unwrap();
        assert_eq!(publish.payload, Payload::Bytes(vec![0xff, 0].into()));
    }
    assert_eq!(to_publish(r#""payload_base64":"""#).unwrap().payload, Payload::Bytes(Bytes::new()));
    for text in ["MARKER!", "_wA=", "/wA==", "/w A=", "/wB="] {
        assert!(
            refused(&format!(r#""payload_base64":"{text}""#)).starts_with("`payload_base64` takes base64")
        );
    }
}

#[test]
fn recordings_in_the_old_form_are_read() {
    for data in ["null", "[]", "7", "\"x\"", r#"{"base64":"/wA="}"#] {
        let old = r#"{"source":"chat","timestamp":"2026-01-05T09:00:02.4Z","participant":"Ada","data":"#;
        let publish = parse(&format!("{old}{data}}}")).unwrap().publish;
        assert_eq!((publish.payload, publish.participant.as_deref()), (json_payload(data), Some("Ada")));
    }
}

#[test]
fn what_was_printed_in_the_old_form_is_read_where_it_is_clear() {
    let old = |payload: &str| {
        parse(&format!(
            r#"{{"type":"packet","meeting":"m","seq":7,"source":"chat","timestamp":"2026-01-05T09:00:02.4Z","participant":null,"payload":{payload},"causes":[]}}"#
        ))
    };
    for payload in ["null", "7", "[]", r#"{"text":"a"}"#, r#"{"base64":"/wA=","more":1}"#] {
        assert_eq!(old(payload).unwrap().publish.payload, json_payload(payload));
    }
    for payload in ["\"MARKER\"", r#"{"base64":"MARKER"}"#, r#"{"malformed":"MARKER"}"#] {
        assert_eq!(old(payload).unwrap_err(), Error::Ambiguous);
        // To publish, and of a packet that this version wrote, it is what it looks like.
        let publish = to_publish(&format!(r#""payload":{payload}"#)).unwrap();
        let packet = packet(publish.payload);
        assert_eq!(parse(&written(&packet)).unwrap().into_packet().unwrap(), packet);
    }
}

#[test]
fn what_is_wrong_is_told_without_a_word_of_the_meeting() {
    for (keys, says) in [
        (r#""participant":"MARKER""#, "missing payload: give `payload` (any JSON), `payload_text` (text) or"),
        (r#""payload":"MARKER","data":"MARKER""#, "`payload` and `data` are both there: give one payload"),
        (
            r#""payload_text":"MARKER","payload_base64":"MARKER""#,
            "`payload_text` and `payload_base64` are both there",
        ),
        (r#""payload":null,"payload_text":"MARKER""#, "`payload` and `payload_text` are both there"),
        (r#""payload":1,"payload":"MARKER""#, "duplicate field `payload`"),
        (r#""payload_text":["MARKER"]"#, "payload_text: invalid type: sequence, expected a string"),
        (r#""payload":1,"MARKER":1"#, "unknown field, expected one of `source`, `timestamp`, `participant`"),
        (r#""payload":1,"participant":5"#, "participant: invalid type: integer, expected a string"),
        (r#""payload":1,"timestamp":"MARKER""#, "`timestamp` takes a time as in RFC 3339, such as"),
        (r#""payload":1,"timestamp":"2026-01-05T09:00:00""#, "`timestamp` takes a time as in RFC 3339"),
        (r#""payload":1,"received_at":"MARKER""#, "`received_at` takes a time as in RFC 3339"),
        (r#""payload":1,"timestamp":7"#, "timestamp: invalid type: integer, expected a string"),
        (
            r#""payload":1,"type":"MARKER""#,
            "`type` is not \"packet\": this is something else, so leave it out",
        ),
        (r#""payload":1,"causes":[1,"MARKER"]"#, "causes[1]: invalid value: string, expected a whole number"),
        (r#""payload":1,"traceparent":"MARKER""#, "`traceparent` takes a text as in W3C Trace Context"),
        (r#""payload":1,"producer":{"id":"MARKER"}"#, "producer: missing field `number`"),
        (r#""payload":1,"producer":{"id":"MARKER","number":1,"MARKER":1}"#, "producer: unknown field"),
        (r#""type":"MARKER","MARKER":1"#, "`type` is not \"packet\""),
        (r#""type":"packet","payload":1,"MARKER":1"#, "unknown field"),
        (r#""payload":MARKER"#, "expected value"),
        (r#""payload":1} MARKER"#, "trailing characters"),
    ] {
        let error = refused(keys);
        assert!(error.contains(says), "{keys}: {error}");
    }
    assert_eq!(parse(r#"{"payload":1}"#).unwrap_err().to_string(), "missing field `source`");
    assert_eq!(
        parse(r#"{"source":"a b","payload":1}"#).unwrap_err().to_string().find("name \"a b\""),
        Some(0)
    );
    for text in ["[\"chat\"]", "7", "\"MARKER\"", " null"] {
        assert_eq!(parse(text).unwrap_err(), Error::NotAnObject);
    }
    for text in ["", "MARKER", "{\"source\":", "[\"chat\""] {
        assert!(parse(text).unwrap_err().column().is_some(), "{text}");
    }
}

#[test]
fn a_log_needs_more_than_a_publisher() {
    let whole: Value = serde_json::from_str(&written(&packet(json_payload("1")))).unwrap();
    for key in ["meeting", "seq", "timestamp", "received_at"] {
        let mut part = whole.clone();
        part[key] = Value::Null;
        let error = parse(&part.to_string()).unwrap().into_packet().unwrap_err();
        assert_eq!(error, Error::Missing(key));
    }
}

#[test]
fn serde_has_no_other_json_form() {
    let packet = packet(json_payload(r#"{"a":1}"#));
    assert_eq!(serde_json::to_string(&packet).unwrap(), written(&packet));
    let list = serde_json::to_string(&[&packet, &packet]).unwrap();
    assert_eq!(serde_json::from_str::<Vec<DataPacket>>(&list).unwrap(), [packet.clone(), packet.clone()]);
    assert_eq!(serde_json::from_value::<DataPacket>(serde_json::to_value(&packet).unwrap()).unwrap(), packet);
    assert!(serde_json::from_value::<DataPacket>(json!({"source": "chat", "payload": 1})).is_err());
}

#[test]
fn a_publish_is_written_without_what_its_meeting_adds() {
    let said = Publish::json_text("chat", "{\n\"n\": 1.0e2}").unwrap();
    assert_eq!(
        serde_json::to_string(&said).unwrap(),
        r#"{"type":"packet","source":"chat","participant":null,"payload":{ "n": 1.0e2}}"#
    );
    let at = "2026-01-05T09:00:02.4Z".parse().unwrap();
    let said = Publish::text("chat", "a").unwrap().participant("Ada").timestamp(at).numbered("p", 3);
    let text = serde_json::to_string(&said).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"type":"packet","source":"chat","timestamp":"2026-01-05T09:00:02.4Z","participant":"Ada","#,
            r#""payload_text":"a","producer":{"id":"p","number":3}}"#
        )
    );
    assert_eq!(serde_json::from_str::<Publish>(&text).unwrap(), said);
}

#[test]
fn a_packet_that_was_read_is_a_publish_too() {
    let text = written(&packet(json_payload("[1.0]")));
    let publish: Publish = serde_json::from_str(&text).unwrap();
    assert_eq!(publish, parse(&text).unwrap().publish);
    let error = serde_json::from_str::<Publish>(r#"{"source":"chat","payload":1,"MARKER":1}"#).unwrap_err();
    assert!(error.to_string().starts_with("unknown field, expected one of `source`"), "{error}");
    assert!(!error.to_string().contains(WORDS));
}

/// An HTTP framework may read through `serde_path_to_error`.
#[test]
fn a_payload_passes_verbatim_through_wrapped_deserializers() {
    let payload = r#"{"z":1e400, "a":123456789012345678901234567890, "a":-0}"#;
    let body = format!(r#"[{{"source":"chat","payload":{payload}}}]"#);
    let mut deserializer = serde_json::Deserializer::from_slice(body.as_bytes());
    let read: Vec<Publish> = serde_path_to_error::deserialize(&mut deserializer).unwrap();
    assert_eq!(read[0].payload, json_payload(payload));
    let read: Vec<Publish> = serde_json::from_reader(body.as_bytes()).unwrap();
    assert_eq!(read[0].payload, json_payload(payload));
}

#[test]
fn packets_may_be_parts_of_tagged_and_flattened_values() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Packet(DataPacket),
        Publish(Publish),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "do", rename_all = "kebab-case")]
    enum Message {
        Publish(Publish),
        Packet { packet: DataPacket },
        Both(#[serde(deserialize_with = "flattened")] Flattened),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flattened {
        room: String,
        #[serde(flatten)]
        publish: Publish,
    }
    fn flattened<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Flattened, D::Error> {
        Flattened::deserialize(deserializer)
    }
    let publish = || {
        let payload = r#"{"z":[1,-2,1.5,null,true,"a\"b"],"a":{}}"#;
        Publish::json_text("chat", payload).unwrap().participant("Ada").numbered("p", u64::MAX)
    };
    for message in [
        Message::Publish(publish()),
        Message::Packet { packet: packet(publish().payload) },
        Message::Both(Flattened { room: "r".to_owned(), publish: publish() }),
    ] {
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message, "{text}");
    }
    let text = serde_json::to_string(&publish()).unwrap();
    let read: Either = serde_json::from_str(&text).unwrap();
    assert!(matches!(&read, Either::Publish(read) if *read == publish()), "{read:?}");
    let read: Either = serde_json::from_str(&written(&packet(json_payload("1")))).unwrap();
    assert!(matches!(read, Either::Packet(read) if read == packet(json_payload("1"))));
}

/// A JSON text, with white space wherever it may be.
fn json_text() -> impl Strategy<Value = String> {
    const ODD: [&str; 14] = [
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1e400",
        "1E+2",
        "123456789012345678901234567890.10",
        "9007199254740993",
        r#""\ud800""#,
        r#""\u0041\/\u2028""#,
        "\"\u{2028}\u{feff}\u{7f}\"",
        r#"{"a":1,"a":2}"#,
        "[]",
    ];
    let space = || select(vec!["", " ", "\n", "\r\n\t"]);
    let string = || any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf = prop_oneof![
        select(&ODD[..]).prop_map(str::to_owned),
        string(),
        any::<f64>().prop_map(|number| json!(number).to_string())
    ];
    let spaced = move |inner: BoxedStrategy<String>| {
        (space(), inner, space()).prop_map(|(before, inner, after)| format!("{before}{inner}{after}")).boxed()
    };
    spaced(
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let item = spaced(inner.boxed());
            prop_oneof![
                vec(item.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                vec((string(), item).prop_map(|(key, item)| format!("{key}:{item}")), 1..4)
                    .prop_map(|entries| format!("{{{}}}", entries.join(","))),
            ]
        })
        .boxed(),
    )
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        json_text().prop_map(|text| Payload::json_text(text).unwrap()),
        // Hardly ever JSON.
        any::<String>().prop_map(|text| JsonText::new(text).into()),
        any::<String>().prop_map(|text| Payload::Text(text.into())),
        vec(any::<u8>(), 0..200).prop_map(|bytes| Payload::Bytes(bytes.into())),
    ]
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let range = Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond();
    range.prop_map(|nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap())
}

prop_compose! {
    fn any_packet()(
        meeting in "[^\\p{C}\\s]{1,20}",
        seq: u64,
        source in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}",
        timestamp in any_time(),
        received_at in any_time(),
        participant: Option<String>,
        payload in any_payload(),
        producer in option::of((any::<String>(), any::<u64>())),
        causes: Vec<u64>,
        trace: (u128, u64),
    ) -> DataPacket {
        DataPacket {
            meeting: MeetingId::new(meeting).unwrap(),
            seq: Seq(seq),
            source: Name::new(source).unwrap(),
            timestamp,
            received_at,
            participant: participant.map(Into::into).and_then(participant::normalized),
            payload,
            producer: producer.map(|(id, number)| Producer { id: id.into(), number }),
            causes: causes.into_iter().map(Seq).collect(),
            trace: TraceContext::sampled(trace.0, trace.1),
        }
    }
}

/// A payload without the white space that doesn't come back: JSON's, around it and over several lines.
fn plain(payload: &Payload) -> Payload {
    match payload {
        Payload::Json(text) => {
            let space = [' ', '\t', '\n', '\r'];
            json_payload(&text.trim_matches(space).replace(['\n', '\r'], " "))
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn any_packet_comes_back(packet in any_packet()) {
        let text = written(&packet);
        prop_assert!(!text.contains(['\n', '\r']), "{}", text);
        prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
        let packet = DataPacket { payload: plain(&packet.payload), ..packet };
        let parsed = parse(&text).unwrap();
        prop_assert_eq!(&parsed.publish.payload, &packet.payload);
        let read = parsed.into_packet().unwrap();
        prop_assert_eq!(&serde_json::from_str::<Publish>(&text).unwrap().payload, &packet.payload);
        // What came back is written as it was.
        prop_assert_eq!(written(&read), text);
        prop_assert_eq!(read, packet);
    }

    #[test]
    fn no_text_panics(text: String, key in select(vec!["seq", "payload", "payload_base64", "timestamp", "data", "type"])) {
        let _ = parse(&text);
        let _ = parse(&json!({"source": "chat", key: text}).to_string());
        let _ = parse(&format!("{{\"source\":\"chat\",\"{key}\":{text}}}"));
    }
}
