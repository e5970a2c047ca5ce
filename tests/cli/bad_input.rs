//! Bad input of every kind: the program says what to do about it, and its exit code says whether the input or
//! the system is at fault.

use crate::{Place, Ran, said, sample};

/// Checks that the program failed with this code, and that its message holds all of these texts.
#[track_caller]
fn refused(ran: Ran, code: i32, says: &[&str]) {
    let ran = ran.ends_with(code);
    assert!(ran.stderr.starts_with("error: "), "{ran:#?}");
    for says in says {
        assert!(ran.stderr.contains(says), "should say {says:?}: {ran:#?}");
    }
    assert!(ran.stderr.len() < 2000, "too long to read: {ran:#?}");
    assert_eq!(ran.stdout, "");
}

#[test]
fn files_that_are_no_recordings() {
    let place = Place::new();
    place.file("empty.jsonl", "");
    place.file("blank.jsonl", "\n  \n");
    place.file("binary.jsonl", b"\x89PNG\r\n\x1a\n\x00\xff\xfe");
    place.file("utf16.jsonl", b"\xff\xfe{\0}\0");
    let folder = place.path().to_str().unwrap();
    for (file, says) in [
        ("nowhere.jsonl", "there is no file nowhere.jsonl; check the path"),
        (folder, "is a directory; give the recording's file"),
        ("empty.jsonl", "empty.jsonl is empty; a recording is packets as JSON lines"),
        ("blank.jsonl", "blank.jsonl holds no packet: all its lines are blank"),
        ("binary.jsonl", "binary.jsonl, line 1, column 1: this is not UTF-8 text; save the file as UTF-8"),
        ("utf16.jsonl", "utf16.jsonl, line 1, column 2: expected one packet as JSON"),
    ] {
        refused(place.run(&["replay", file, "--meeting", "m"]), 2, &[says]);
    }
}

#[test]
fn lines_that_are_no_packets() {
    let place = Place::new();
    for (line, says) in [
        ("{\"source\":", "column 10: expected one packet as JSON, {\"source\": …, \"timestamp\": …"),
        ("hello", "expected one packet as JSON"),
        (r#"{"source":"chat","timestamp":"2026-01-05T09:00:00Z"}"#, "missing payload: give `payload`"),
        (
            r#"{"source":"chat","timestamp":"2026-01-05T09:00:00Z","data":1,"speaker":"A"}"#,
            "unknown field, expected one of `source`, `timestamp`, `participant`, `payload`",
        ),
        (r#"{"source":"chat","timestamp":"9 o'clock","data":1}"#, "must be a time as in RFC 3339, such as"),
        (
            r#"{"source":"chta","timestamp":"2026-01-05T09:00:00Z","data":1}"#,
            "there is no source chta; did you mean chat?",
        ),
        (
            r#"{"source":"talk-time","timestamp":"2026-01-05T09:00:00Z","data":1}"#,
            "not published from outside",
        ),
    ] {
        let file = place.file("m.jsonl", said(0, "fine") + "\n" + line + "\n" + &said(1, "fine"));
        let hint = "hint: correct the line, or skip such lines with --keep-going; nothing was stored";
        refused(place.run(&["replay", file]), 2, &["m.jsonl, line 3", says, hint]);

        let ran =
            place.run(&["replay", file, "--keep-going", "--plugins", "talk-time", "--json"]).ends_with(0);
        assert!(ran.stderr.contains("warning: skipped m.jsonl, line 3"), "{ran:#?}");
        assert!(ran.stderr.contains(says), "{ran:#?}");
        assert_eq!((&ran.summary()["packets"], &ran.summary()["skipped"]), (&2.into(), &1.into()));
        assert_eq!(ran.packets()[0]["payload"]["turns"], 2);
    }
}

#[test]
fn many_broken_lines_are_counted() {
    let place = Place::new();
    let file = place.file("m.jsonl", "oops\n".repeat(500) + &said(0, "fine"));
    let ran = place.run(&["replay", file, "--keep-going"]).ends_with(0);
    assert!(ran.stderr.contains("… and 490 more broken lines"), "{ran:#?}");
    assert!(
        ran.stderr.contains("1 packet in ") && ran.stderr.contains("500 broken lines skipped"),
        "{ran:#?}"
    );
    let file = place.file("n.jsonl", "oops\n".repeat(500));
    refused(
        place.run(&["replay", file, "--keep-going"]),
        2,
        &["n.jsonl holds no packet: all its 500 lines are broken"],
    );
}

#[test]
fn packets_over_the_limit() {
    let place = Place::new();
    let file = place.file("m.jsonl", said(0, "fine") + &said(1, &"x".repeat(1 << 20)));
    refused(
        place.run(&["replay", file]),
        2,
        &["m.jsonl, line 2: the packet carries", "the limit is 1048576"],
    );
    let file = place.file("n.jsonl", said(0, "fine") + &"x".repeat(3 << 20));
    refused(
        place.run(&["replay", file]),
        2,
        &["n.jsonl, line 2: the line is longer", "1MiB (limits.packet_bytes)"],
    );
    place.file("teammy.toml", "[limits]\npacket_bytes = \"2MiB\"");
    place.run(&["replay", "m.jsonl"]).ends_with(0);
}

#[test]
fn data_of_a_wrong_type_is_one_instances_error() {
    let place = Place::new();
    let wrong = said(1, "x").replace("\"text\"", "\"txt\"");
    let file = place
        .file("m.jsonl", said(0, "one") + &wrong + &wrong.replace("transcription", "chat") + &said(2, "two"));
    let ran = place.run(&["replay", file, "--json"]).ends_with(3);
    let (summary, last) = (ran.summary(), ran.of_source("talk-time").pop().unwrap());
    assert_eq!(last["payload"]["turns"], 2, "the meeting goes on");
    for (name, errors) in [("talk-time", 1), ("watch-list", 2)] {
        let instances = summary["instances"].as_array().unwrap();
        let instance = instances.iter().find(|instance| instance["name"] == name).unwrap();
        assert_eq!(
            (&instance["errors"], &instance["dead_letters"]),
            (&errors.into(), &errors.into()),
            "{instance}"
        );
    }
    assert!(ran.stderr.contains("missing field `text`"), "{ran:#?}");
}

#[test]
fn names_that_nothing_has() {
    let place = Place::new();
    let standup = sample("standup.jsonl");
    for (name, says) in [
        ("talk-tiem", "there is no plugin \"talk-tiem\"; did you mean talk-time?"),
        ("talk-time,xyz", "there is no plugin \"xyz\"; there are "),
        ("", "there is no plugin \"\""),
    ] {
        refused(
            place.run(&["replay", &standup, "--plugins", name]),
            2,
            &[says, "hint: `teammy plugins` shows all"],
        );
    }
    for (toml, says) in [
        ("[hoks]\ntries = 1", "own.toml: hoks is unknown; did you mean hooks?"),
        ("[hooks]\ntrise = 1", "hooks.trise is unknown; did you mean hooks.tries?"),
        ("[hooks", "own.toml, line 1"),
        (
            "[[plugin]]\nname = \"a\"\nkind = \"talk-tiem\"",
            "unknown kind \"talk-tiem\" (did you mean talk-time?)",
        ),
        (
            "[[plugin]]\nname = \"talk-time\"\nsources = { transcription = \"x\" }",
            "takes the source x as transcription",
        ),
        ("[[plugin]]\nname = \"talk-time\"\nconfig = { evry = 1 }", "unknown field `evry`"),
        ("[[plugin]]\nname = \"talk-time\"\nconfig = { every = 0 }", "`every` is 0"),
        ("[[plugin]]\nname = \"a b\"\nkind = \"talk-time\"", "holds another character"),
    ] {
        place.file("own.toml", toml);
        refused(place.run(&["replay", &standup, "--config", "own.toml"]), 2, &[says]);
    }
    refused(
        place.run(&["config", "--config", "nowhere.toml"]),
        2,
        &["there is no configuration file nowhere.toml"],
    );
    let mut command = place.teammy(&["config"]);
    refused(
        Ran::of(command.env("TEAMMY_HOOKS__TRISE", "1")),
        2,
        &["environment variable TEAMMY_HOOKS__TRISE"],
    );
    let mut command = place.teammy(&["config"]);
    refused(
        Ran::of(command.env("TEAMMY_LOG__FILTER", "a=b=c")),
        2,
        &["log.filter is \"a=b=c\"", "hint: write a level"],
    );
}

#[test]
fn meeting_ids() {
    let place = Place::new();
    let standup = sample("standup.jsonl");
    for (id, says) in [
        ("two\nlines", "\"two\\nlines\" holds a control character"),
        (" padded", "starts or ends with a space"),
        ("", "is empty"),
        (&*"x".repeat(10_240), "is too long; use 1 to 255 bytes"),
    ] {
        refused(place.run(&["replay", &standup, "--meeting", id]), 2, &["cannot use the meeting's id", says]);
        refused(place.run(&["history", id]), 2, &["cannot use the meeting's id", says]);
    }
    let odd = "it's 🚀 \"日本語\" ../$(x)";
    let ran =
        place.run(&["replay", &standup, "--meeting", odd, "--plugins", "talk-time", "--json"]).ends_with(0);
    assert_eq!(ran.packets()[0]["meeting"], odd);
    let file = place.file(" spaced.jsonl", said(0, "x"));
    refused(
        place.run(&["replay", file]),
        2,
        &["the name of  spaced.jsonl cannot be", "hint: give the meeting an id"],
    );
    refused(place.run(&["replay", "-"]), 2, &["standard input has no name", "hint: give the meeting an id"]);
}

#[test]
fn options() {
    let place = Place::new();
    let standup = sample("standup.jsonl");
    for speed in ["fast", "10", "0x", "-1x", "nanx", ""] {
        refused(
            place.run(&["replay", &standup, "--speed", speed]),
            2,
            &["--speed", "write max, or a factor of the original speed"],
        );
    }
    refused(place.run(&["replay", &standup, "--limit", "0"]), 2, &["--limit"]);
    refused(place.run(&["history", "m", "--since", "yesterday"]), 2, &["--since"]);
    refused(
        place.run(&["history", "m", "--source", "a b"]),
        2,
        &["cannot use the source", "holds another character"],
    );
    for (url, says) in [
        ("http://localhost:8000", "write ws:// instead"),
        ("nonsense", "this is not a URL; write surrealkv://PATH for a directory"),
        ("surrealkv://", "the directory is missing"),
        ("ws://root:hunter2@host", "give them as database.username and database.password"),
    ] {
        let ran = place.run(&["replay", &standup, "--db", url]);
        assert!(!ran.stderr.contains("hunter2"), "{ran:#?}");
        refused(ran, 2, &["error: --db: database.url", says]);
    }
    refused(
        place.run(&["history", "m"]),
        2,
        &["mem:// holds nothing", "hint: give the database that holds the meeting"],
    );
}
