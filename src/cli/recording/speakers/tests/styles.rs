//! Names in brackets and identifiers, and in scripts with marks of their own.

use super::*;

#[test]
fn scripts_without_spaces_have_colons_and_brackets_of_their_own() {
    speak(
        &["王伟：大家好。", "我们开始。", "李娜：好。"],
        &["王伟: 大家好。", "王伟: 我们开始。", "李娜: 好。"],
    );
    speak(&["王伟:大家好。", "李娜:好。"], &["王伟: 大家好。", "李娜: 好。"]);
    speak(&["（田中）はい。", "（鈴木）いいえ。"], &["田中: はい。", "鈴木: いいえ。"]);
    speak(&["【田中】はい。", "【鈴木】いいえ。"], &["田中: はい。", "鈴木: いいえ。"]);
}

#[test]
fn sounds_are_nobody_in_any_language() {
    let mut lines: Vec<String> = (0..100).map(|n| format!("bonjour {n}.")).collect();
    for n in [0, 40, 80] {
        lines[n] = format!("[Musique] {}", lines[n]);
        lines[n + 9] = format!("[Applaudissements] {}", lines[n + 9]);
        lines[n + 12] = format!("(DOOR OPENS) {}", lines[n + 12]);
    }
    count_is(&lines, &[("-", 100)]);
}

#[test]
fn names_may_stand_in_brackets() {
    speak(&["[Speaker 1] a", "[Speaker 2] b"], &["Speaker 1: a", "Speaker 2: b"]);
    speak(&["(Ada) a", "(Bo): b", "(Ada) c"], &["Ada: a", "Bo: b", "Ada: c"]);
    speak(&["[Ada]: a", "[Bo]: b"], &["Ada: a", "Bo: b"]);
    speak(
        &["[Ada] a", "b", "c", "d", "[Bo] e", "[Ada] f", "[Bo] g"],
        &["Ada: a", "Ada: b", "Ada: c", "Ada: d", "Bo: e", "Ada: f", "Bo: g"],
    );
    speak(
        &["[Ada] a", "[Music] b", "[Music]", "[Bo] c"],
        &["Ada: a", "Ada: [Music] b", "-: [Music]", "Bo: c"],
    );
    speak(&["(Ada) a", "b", "c", "(Bo) d", "e"], &["Ada: a", "Ada: b", "Ada: c", "Bo: d", "Bo: e"]);
    speak(
        &["[Musik] a", "b", "[Musik]", "c", "[Applaus] d", "e"],
        &["-: [Musik] a", "-: b", "-: [Musik]", "-: c", "-: [Applaus] d", "-: e"],
    );
    // Sounds are not names: known words, and labels that are mostly alone.
    speak(
        &["[Music] a", "b", "[Applause] c", "[Music] d"],
        &["-: [Music] a", "-: b", "-: [Applause] c", "-: [Music] d"],
    );
    speak(&["[Musik]", "[Musik]", "[Musik] a"], &["-: [Musik]", "-: [Musik]", "-: [Musik] a"]);
    speak(&["(laughs) a", "(sighs) b"], &["-: (laughs) a", "-: (sighs) b"]);
    speak(&["[00:01] a", "[00:02] b"], &["-: [00:01] a", "-: [00:02] b"]);
}

#[test]
fn names_may_stand_in_identifiers() {
    let named = |names: &[&str]| {
        let cues: Vec<(Option<&str>, &[&str])> =
            names.iter().map(|name| (Some(*name), &["so"][..])).collect();
        turns(&cues)
    };
    assert_eq!(named(&["Nadia", "Olu", "Nadia"]), ["Nadia: so", "Olu: so", "Nadia: so"]);
    assert_eq!(named(&["Nadia Berg", "Olu Adeyemi"]), ["Nadia Berg: so", "Olu Adeyemi: so"]);
    assert_eq!(named(&["1 \"nadia\" (99)", "2 \"Olu\" (98)"]), ["nadia: so", "Olu: so"]);
    for none in [&["1", "2", "3"][..], &["Intro", "Body", "End"], &["cue-1", "cue-2"], &["x/1-0", "x/2-0"]] {
        assert!(named(none).iter().all(|turn| turn == "-: so"), "{none:?}");
    }
}
