use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i64,
    label: String,
}

fn point(x: i64, label: &str) -> Point {
    Point { x, label: label.to_owned() }
}

fn parsed(answer: &str) -> Result<Point, AnswerError> {
    parse_answer(answer)
}

fn problem<T: DeserializeOwned + std::fmt::Debug>(answer: &str) -> String {
    match parse_answer::<T>(answer).unwrap_err() {
        AnswerError::OtherShape { problem } => problem,
        AnswerError::NoJson => panic!("{answer}: no JSON"),
    }
}

#[test]
fn the_value_is_found_in_what_models_put_around_it() {
    let found = point(7, "a \"b\" {c} [");
    let json = r#"{"x": 7, "label": "a \"b\" {c} ["}"#;
    for answer in [
        json.to_owned(),
        format!("\n  {json}\n"),
        format!("```json\n{json}\n```"),
        format!("```\n{json}"),
        format!("```json\r\n{json}\r\n```\r\n"),
        format!("~~~~ JSON\n~~~\n{json}\n~~~~"),
        format!("   ```json\n   {json}\n   ```"),
        format!("```json {json} ```"),
        format!("`{json}`"),
        format!("Here you are:\n\n```json\n{json}\n```\n\nIs there anything else?"),
        format!("Here you are: {json}. Is there anything else?"),
        format!("```json\n{json}```\nThat was it."),
        format!("```json\n{json}\nThat was it."),
        format!("```sh\nls -l [a-z]*\n```\nor rather\n```json\n{json}\n```"),
        format!("As in [1], {{braces}} and \"quotes\" [sic] :-[ and {{\"half\": : {json}"),
        format!("[note: {json}]"),
        format!("[1 {json}]"),
        format!("[1 {json}}}"),
        format!("[x, {json}] but [1, 2"),
        format!("<think>\nIs it {{\"x\": 1, \"label\": \"draft\"}}? No.\n</think>\n\n{json}"),
        format!("<think>hm</think>```json\n{json}\n```"),
        format!("Is it {{\"x\": 1, \"label\": \"draft\"}}? No.\n</think>\n{json}"),
        format!("{{\"x\": 1}} or rather {json}"),
        format!("é🙂\u{301}{json}é🙂"),
    ] {
        assert_eq!(parsed(&answer), Ok(found.clone()), "{answer}");
    }
}

#[test]
fn a_fence_comes_before_the_text_and_the_first_of_equals_counts() {
    let (one, two) = (r#"{"x":1,"label":""}"#, r#"{"x":2,"label":""}"#);
    assert_eq!(parsed(&format!("{one}\n```\n{two}\n```")), Ok(point(2, "")));
    assert_eq!(parsed(&format!("```\n{one}\n```\n```\n{two}\n```")), Ok(point(1, "")));
    assert_eq!(parsed(&format!("{one} {two}")), Ok(point(1, "")));
    assert_eq!(parsed(&format!("{one}\n```\n{{}}\n```\n```\n{two}\n```")), Ok(point(2, "")));
    assert_eq!(parsed(&format!("```\nnothing\n```\n{two}")), Ok(point(2, "")));
    // An unclosed fence is a fence. Inline code and one or two marks are none, and a shorter mark closes no
    // fence.
    assert_eq!(parsed(&format!("{one}\n```\n{two}")), Ok(point(2, "")));
    assert_eq!(parsed(&format!("{one}\n```x``` y\n{two}")), Ok(point(1, "")));
    assert_eq!(parsed(&format!("{one}\n``\n{two}\n``")), Ok(point(1, "")));
    assert_eq!(parsed(&format!("{one}\n~~~~\n~~~\n{two}\n~~~~")), Ok(point(2, "")));
}

#[test]
fn the_end_of_thoughts_in_a_string_is_not_one() {
    let json = r#"{"x": 7, "label": "</think>"}"#;
    assert_eq!(parsed(json), Ok(point(7, "</think>")));
    assert_eq!(parsed(&format!("Here: {json}")), Ok(point(7, "</think>")));
    assert_eq!(parsed(&format!("<think>hm</think> {json}")), Ok(point(7, "</think>")));
}

#[test]
fn thoughts_are_no_answer() {
    let draft = r#"{"x": 1, "label": "draft"}"#;
    assert_eq!(parsed(&format!("<think>perhaps {draft}")), Err(AnswerError::NoJson));
    assert_eq!(parsed(&format!("<think>perhaps {draft}</think>\nI can't say.")), Err(AnswerError::NoJson));
}

#[test]
fn lists_maps_and_whole_scalars_are_values_too() {
    assert_eq!(parse_answer::<Vec<u8>>("The list is [1, 2]."), Ok(vec![1, 2]));
    assert_eq!(parse_answer::<Vec<u8>>("See [a]: []"), Ok(vec![]));
    let map = BTreeMap::from([("k".to_owned(), None)]);
    assert_eq!(parse_answer::<BTreeMap<String, Option<bool>>>("-> {\"k\": null}"), Ok(map));
    assert_eq!(parse_answer::<u8>("```\n42\n```"), Ok(42));
    assert_eq!(parse_answer::<u8>("<think>six times seven</think>42"), Ok(42));
    assert_eq!(parse_answer::<u8>("It is 42."), Err(AnswerError::NoJson));
}

#[test]
fn what_is_inside_a_value_is_not_tried_by_itself() {
    let inside = r#"[{"x": 1, "label": "first"}, {"x": 2, "label": "second"}]"#;
    for answer in [inside.to_owned(), format!("Two of them: {inside}"), format!("```\n{inside}\n```")] {
        assert_eq!(problem::<Point>(&answer), "invalid type: map, expected i64", "{answer}");
    }
}

#[test]
fn what_is_not_whole_is_no_json() {
    for answer in [
        "",
        " ",
        "I'd rather not say.",
        "{",
        "]",
        "```",
        "```json\n```",
        r#"{"x": 7, "label": "cut o"#,
        r#"{"x": 7, "label": "a"]"#,
        r"{x: 7, label: 'a'}",
        "{\"x\": 7, \"label\": \"a\nb\"}",
        r#"{"x": 7 "label": "a"}"#,
        r#"{"x": 7, "label": "\"#,
    ] {
        assert_eq!(parsed(answer), Err(AnswerError::NoJson), "{answer}");
    }
}

#[test]
fn a_value_may_be_nested_deeper_where_it_stands_alone() {
    let text = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let value = |depth: usize| serde_json::from_str::<Value>(&text(depth)).unwrap();
    assert_eq!(parse_answer(&text(MAX_DEPTH + 1)), Ok(value(MAX_DEPTH + 1)));
    assert_eq!(parse_answer(&format!("So: {}", text(MAX_DEPTH))), Ok(value(MAX_DEPTH)));
    // A value that is too deep counts as text with a value in it.
    assert_eq!(parse_answer(&format!("So: {}", text(MAX_DEPTH + 1))), Ok(value(MAX_DEPTH)));
    assert_eq!(problem::<Value>(&text(10_000)), "a value in it is not one that fits");
}

#[test]
fn a_problem_is_that_of_the_first_value_and_says_nothing_of_the_answer() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[allow(dead_code)]
        kind: Kind,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    #[derive(Debug, Deserialize)]
    enum Never {}
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        Number(u8),
        Flag(bool),
    }

    assert_eq!(problem::<Point>(r#"So: {"x": 1} or [true]"#), "missing field `label`");
    for (problem, said) in [
        (problem::<Point>(r#"{"x": "SECRET, expected SECRET"}"#), "invalid type: string, expected i64"),
        (problem::<Point>(r#"{"x": 71077345}{"#), "missing field `label`"),
        (problem::<u8>("71077345"), "invalid value: integer, expected u8"),
        (problem::<u8>("7.1077345"), "invalid type: floating point, expected u8"),
        (problem::<u8>("null"), "invalid type: null, expected u8"),
        (problem::<Point>("[71077345]"), "invalid length 1, expected struct Point with 2 elements"),
        (problem::<Point>(r#"{"x":1,"x":71077345}"#), "duplicate field `x`"),
        (problem::<Strict>(r#"{"kind": "SECRET"}"#), "unknown variant, expected `one` or `two`"),
        (problem::<Strict>(r#"{"SECRET, expected SECRET": 1}"#), "unknown field, expected `kind`"),
        (problem::<Nothing>(r#"{"a, expected SECRET": 1}"#), "unknown field, there are no fields"),
        (problem::<Never>(r#""a, expected SECRET""#), "unknown variant, there are no variants"),
        (problem::<Either>(r#""SECRET""#), "a value in it is not one that fits"),
        (problem::<jiff::Timestamp>(r#""SECRET""#), "a value in it is not one that fits"),
        (problem::<Value>("\"\\ud800\""), "a value in it is not one that fits"),
    ] {
        assert_eq!(problem, said);
    }
}

/// The bound that `find` states: each byte is reached by as many earlier scans as the bound allows, and by
/// one that starts there.
#[test]
fn no_place_is_looked_at_too_often() {
    for text in ["[", "{", "[\"", "[\",[\"", "[\",\",[", "[1,", "{\"a\":[", "[[]", "[\"\\\"", "[\"[\",\",\""]
    {
        let text = text.repeat(20_000 / text.len());
        let mut passed = vec![0_usize; text.len()];
        for (start, _) in text.match_indices(['{', '[']) {
            let rest = text.bytes().enumerate().skip(start);
            balanced(rest.map(|(place, byte)| {
                passed[place] += 1;
                byte
            }));
        }
        let most = passed.iter().max().copied();
        assert!(most <= Some(2 * MAX_DEPTH + 1), "{}: {most:?}", &text[..20]);
    }
}

#[test]
fn a_megabyte_of_brackets_has_no_value() {
    for text in ["[", "{\"", "[\"", "[\",[\"", "[1,", "```\n["] {
        assert_eq!(parsed(&text.repeat((1 << 20) / text.len())), Err(AnswerError::NoJson), "{text}");
    }
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), vec(select(PIECES), 0..6).prop_map(|pieces| pieces.concat())]
}

/// Texts that break a careless parser.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\\"",
    ",",
    ":",
    "1",
    "-",
    "null",
    "true",
    "```",
    "```json",
    "~~~",
    "`",
    "\n",
    "\r\n",
    " ",
    "<think>",
    "</think>",
    "{\"x\":1}",
    "{\"x\":1,\"label\":\"a\"}",
    "é",
    "🙂",
    "\0",
];

/// Prose with brackets as people write them, none of which encloses the value.
const PROSE: &[&str] = &[
    "Here", "you are:", "[1]", "{name}", "\"", "[", "{", "[[", "{\"", ":-[", "it's", "\n", "`x`", "é🙂",
    "\\", "1,",
];

proptest! {
    #[test]
    fn a_value_comes_back_from_prose_and_fences(
        x in any::<i64>(),
        label in label(),
        pretty in any::<bool>(),
        fenced in select(vec![("", ""), ("\n```json\n", "\n```\n"), ("\n~~~\n", "\n~~~"), ("\n```\n", "")]),
        before in vec(select(PROSE), 0..8),
        after in vec(select(PROSE), 0..8),
    ) {
        let point = Point { x, label };
        let json = if pretty { serde_json::to_string_pretty(&point) } else { serde_json::to_string(&point) }.unwrap();
        // An unclosed fence holds all that follows.
        let answer = format!("{}{}{json}{}{}", before.join(" "), fenced.0, fenced.1, after.join(" "));
        prop_assert_eq!(parsed(&answer), Ok(point), "{}", answer);
    }

    #[test]
    fn no_answer_makes_it_panic(answer in label()) {
        let _ = parsed(&answer);
        let _ = parse_answer::<Value>(&answer);
    }

    #[test]
    fn an_object_is_found_wherever_serde_would_find_it(pieces in vec(select(PIECES), 0..12)) {
        let answer = pieces.concat();
        // Slow and simple: if nothing was found, no span between two braces is a `T`.
        if parse_answer::<BTreeMap<String, Value>>(&answer) == Err(AnswerError::NoJson) && !answer.contains("think>") {
            for (start, _) in answer.match_indices('{') {
                for (end, _) in answer.match_indices('}').filter(|(end, _)| *end > start) {
                    let inside = serde_json::from_str::<BTreeMap<String, Value>>(&answer[start..=end]);
                    prop_assert!(inside.is_err(), "{} in {}", &answer[start..=end], answer);
                }
            }
        }
    }

    #[test]
    fn problems_hold_nothing_of_the_answer(secret in "[A-Z]{12}", value in "[0-9]{9}") {
        for answer in [
            json!({ "x": secret.clone() }),
            json!({ secret.clone(): 1 }),
            json!([secret.clone(), value.clone()]),
            json!({ "x": 1, "label": { secret.clone(): value.parse::<u64>().unwrap() } }),
            json!({ "x": format!("{value}, expected {value}") }),
        ] {
            let said = problem::<Point>(&format!("so {answer}"));
            prop_assert!(!said.contains(&secret) && !said.contains(&value), "{said}");
        }
    }
}

#[test]
fn small_mistakes_are_mended() {
    type List = Vec<std::collections::BTreeMap<String, u8>>;
    let list = |text: &str| parse_answer::<List>(text).map(|list| list.len());
    for (text, count) in [
        ("[{\"a\": 1}, {\"b\": 2},]", 2),
        ("[{\"a\": 1,}, {\"b\": 2 ,\n}\n]", 2),
        ("Here:\n```json\n[{\"a\": 1},]\n```", 1),
        ("{\"a\": 1}\n{\"b\": 2}\n{\"c\": 3}", 3),
        ("{\"a\": 1}, {\"b\": 2}", 2),
        ("<thinking>[{\"z\": 0}]</thinking>[{\"a\": 1}]", 1),
        ("[THINK]{\"z\": 0}[/THINK]{\"a\": 1}{\"b\": 2}", 2),
    ] {
        assert_eq!(list(text), Ok(count), "{text}");
    }
    for text in ["{\"a\": 1,,}", "[{\"a\": 1},,]", "{\"a\": 1}"] {
        assert!(list(text).is_err(), "{text}");
    }
    let texts: Vec<String> = parse_answer("[\"a,]\", \"b\\\",}\",]").unwrap();
    assert_eq!(texts, ["a,]", "b\",}"], "a comma in a text stays");
}
