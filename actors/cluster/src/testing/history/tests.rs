//! One history that keeps all rules, and changes of it that each break one.

use super::{Record, check};

/// A meeting with two inputs of a numbered publisher, which moved from one node to another.
const GOOD: &str = r#"
{"what":"claimed","meeting":"m","node":"a.1","epoch":1}
{"what":"committed","meeting":"m","node":"a.1","epoch":1,"number":1,"first":1,"last":3}
{"what":"committed","meeting":"m","node":"a.1","epoch":1,"number":1,"first":1,"last":3}
{"what":"claimed","meeting":"m","node":"b.1","epoch":2}
{"what":"committed","meeting":"m","node":"b.1","epoch":2,"number":2,"first":11,"last":14}
{"what":"stored","meeting":"m","seq":1,"source":"meeting","lifecycle":{"event":"start","instances":["counter"]}}
{"what":"stored","meeting":"m","seq":2,"source":"chat","publisher":"p","number":1,"key":"p-1"}
{"what":"stored","meeting":"m","seq":3,"source":"counter","key":"p-1","count":1}
{"what":"stored","meeting":"m","seq":11,"source":"chat","publisher":"p","number":2,"key":"p-2"}
{"what":"stored","meeting":"m","seq":12,"source":"meeting","lifecycle":{"event":"ending"}}
{"what":"stored","meeting":"m","seq":13,"source":"counter","key":"p-2","count":2}
{"what":"stored","meeting":"m","seq":14,"source":"meeting","lifecycle":{"event":"ended"}}
{"what":"told","meeting":"m","publisher":"p","number":1,"key":"p-1","outcome":"stored","seq":2}
{"what":"told","meeting":"m","publisher":"p","number":2,"key":"p-2","outcome":"stored","seq":11}
{"what":"told","meeting":"m","publisher":"u","key":"u-1","outcome":"refused"}
{"what":"told","meeting":"m","publisher":"u","key":"u-2","outcome":"unknown"}
{"what":"subscribed","meeting":"m","subscriber":"s","sources":["chat"],"after":0}
{"what":"seen","meeting":"m","subscriber":"s","seq":2,"source":"chat"}
{"what":"seen","meeting":"m","subscriber":"s","seq":11,"source":"chat"}
{"what":"saw_end","meeting":"m","subscriber":"s"}
{"what":"end_asked","meeting":"m","at":900}
{"what":"said_ended","meeting":"m","by":"o","at":1000}
{"what":"ran","meeting":"m","node":"a.1","from":0,"until":400}
{"what":"ran","meeting":"m","node":"b.1","from":450,"until":1000}
"#;

fn rules(history: &str) -> Vec<&'static str> {
    let lines = history.lines().filter(|line| !line.is_empty());
    let records: Vec<Record> = lines.map(|line| serde_json::from_str(line).expect(line)).collect();
    check(&records).iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_history_without_fault_has_no_violations() {
    assert!(rules(GOOD).is_empty(), "{:?}", rules(GOOD));
}

#[test]
fn each_rule_is_broken_by_what_it_forbids() {
    for (old, new, rule) in [
        (
            r#""key":"u-1","outcome":"refused""#,
            r#""key":"u-1","outcome":"stored","seq":9"#,
            "acknowledged once",
        ),
        (r#""key":"p-1","outcome":"stored""#, r#""key":"p-1","outcome":"refused""#, "acknowledged once"),
        (r#""outcome":"stored","seq":11"#, r#""outcome":"stored","seq":4"#, "acknowledged once"),
        (r#""number":2,"key":"p-2"}"#, r#""number":1,"key":"p-1"}"#, "acknowledged once"),
        (r#""number":2,"key":"p-2"}"#, r#""number":3,"key":"p-2"}"#, "a producer's order"),
        (
            r#""subscriber":"s","seq":2,"source":"chat""#,
            r#""subscriber":"s","seq":11,"source":"chat""#,
            "seen as stored",
        ),
        (
            r#""subscriber":"s","seq":2,"source":"chat""#,
            r#""subscriber":"s","seq":3,"source":"chat""#,
            "seen as stored",
        ),
        (r#""seq":11,"source":"chat","#, r#""seq":17,"source":"chat","#, "starts and ends once"),
        (r#"{"event":"ending"}"#, r#"{"event":"ended"}"#, "starts and ends once"),
        (
            r#""end_asked","meeting":"m","at":900"#,
            r#""end_asked","meeting":"m","at":1100"#,
            "starts and ends once",
        ),
        (r#""node":"b.1","epoch":2}"#, r#""node":"b.1","epoch":1}"#, "one writer an epoch"),
        (
            r#""node":"b.1","epoch":2,"number":2"#,
            r#""node":"a.1","epoch":1,"number":2"#,
            "one writer an epoch",
        ),
        (r#""number":2,"first":11"#, r#""number":3,"first":11"#, "one writer an epoch"),
        (r#""key":"p-2","count":2"#, r#""key":"p-2","count":1"#, "as undisturbed"),
        (r#""key":"p-2","count":2"#, r#""key":"p-1","count":2"#, "as undisturbed"),
        (r#","count":2}"#, "}", "as undisturbed"),
        (r#""from":450"#, r#""from":400"#, "one owner at a time"),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let found = rules(&GOOD.replacen(old, new, 1));
        assert!(found.contains(&rule), "{old} as {new}: {found:?}");
    }
}
