//! Compressed recordings, and other encodings than UTF-8.

use super::*;

#[test]
fn transcripts_are_recognised_however_they_are_encoded() {
    let (one, two) = ("00:00:01.000 --> 00:00:02.000", "00:00:02.000 --> 00:00:03.000");
    let vtt = &format!("WEBVTT\n\n1\n{one}\nÅda: héllo 😀\n\n2\n{two}\nBo: so");
    let expected = ["Åda: héllo 😀", "Bo: so"];
    for text in [
        vtt.to_owned(),
        format!("\u{feff}{vtt}"),
        format!("\n\n \n{vtt}\n\n"),
        vtt.replace('\n', "\r\n"),
        vtt.replace('\n', "\r"),
        vtt.replacen("\n\n", "\n", 1),
        vtt.replace("WEBVTT\n\n", ""),
        vtt.replace("WEBVTT\n\n1\n", ""),
        vtt.replace("WEBVTT\n\n1\n", "5f/12-0\n"),
        vtt.replace("WEBVTT\n\n", "").replace('.', ","),
        vtt.replace("WEBVTT", "WEBVTT - Kickoff\nKind: captions\nLanguage: en").replace("00:00:0", "00:0"),
        vtt.replace("\n\n", "\n"),
    ] {
        assert_eq!(lines(&text), expected, "{text:?}");
        assert_eq!(lines(gzip(&text)), expected, "{text:?}");
    }
    assert_eq!(lines(utf16(&format!("\u{feff}{vtt}"), u16::to_le_bytes)), expected);
    assert_eq!(lines(utf16(&format!("\u{feff}{vtt}"), u16::to_be_bytes)), expected);
    let (first, second) = vtt.split_at(31);
    assert_eq!(lines([gzip(first), gzip(second)].concat()), expected, "in two members");
}

#[test]
fn other_encodings_need_an_option() {
    let latin1 = b"WEBVTT\n\n00:01.000 --> 00:02.000\nJ\xfcrgen: na\n";
    let error = refused(latin1, STOP);
    let advice = "save the file as UTF-8, or give its encoding, such as --encoding windows-1252";
    assert_eq!(error, format!("x, line 4, column 2: this is not UTF-8 text; {advice}"));
    let with = |label: &str| Options { encoding: Some(label.parse().unwrap()), ..STOP };
    assert_eq!(heard(latin1, with("latin1"))[0].name.as_deref(), Some("Jürgen"));
    let error = refused(latin1, with("shift_jis"));
    assert!(
        error.starts_with("x, line 4, column 2: this is not Shift_JIS text; give another --encoding"),
        "{error}"
    );
    let unmarked = utf16("00:01.000 --> 00:02.000\nJürgen: na", u16::to_le_bytes);
    assert_eq!(heard(&unmarked, with("utf-16le"))[0].name.as_deref(), Some("Jürgen"));
    let marked = "\u{feff}00:01.000 --> 00:02.000\nJürgen: na";
    assert_eq!(heard(marked, with("latin1"))[0].name.as_deref(), Some("Jürgen"), "the mark counts for more");
}

#[test]
fn damaged_gzip_is_an_error() {
    let whole = gzip(line(1).repeat(100));
    for (bytes, kind) in [
        (&whole[..whole.len() - 9], "cut off"),
        (&whole[..5], "cut off in its header"),
        (&[&whole[..whole.len() - 5], &[0; 5]].concat(), "with a wrong sum"),
    ] {
        let error = refused(bytes, SKIP);
        assert_eq!(
            error, "cannot unpack x: its gzip data is damaged or cut off; get the file again",
            "{kind}"
        );
    }
    let error = recording(&whole[..whole.len() - 9], Options { limit: Some(3), ..STOP });
    assert_eq!(error.unwrap().len(), 3, "what is behind the limit isn't looked at");
}

#[test]
fn gzip_may_be_padded_and_repeated() {
    let once = gzip(line(1) + &line(2));
    let twice = gzip(&once);
    let thrice = gzip(&twice);
    let padded = [&once[..], &[0; 1000]].concat();
    for bytes in [&once, &padded, &twice, &gzip(&padded), &thrice] {
        assert_eq!(recording(bytes, STOP).unwrap().len(), 2);
    }
    let error = refused(gzip(thrice), STOP);
    assert_eq!(error, "x is compressed with gzip more than 3 times; unpack it first with `gzip -d`");
    let trailing = [&once[..], b"and more"].concat();
    for bytes in [&trailing, &gzip(&trailing), &[&twice[..], b"\0more"].concat()] {
        let error = refused(bytes, SKIP);
        assert!(error.starts_with("cannot unpack x: other data follows its gzip data"), "{error}");
    }
}

#[test]
fn a_file_is_read_twice_through_all_layers() {
    let text = utf16("\u{feff}WEBVTT\r\r1\r00:01.000 --> 00:02.000\rAda: héllo\r", u16::to_be_bytes);
    let (_folder, path) = file(gzip(gzip(text)));
    let recording = Recording::check(&path, rules(1 << 10), STOP).unwrap();
    let (publish, line) = recording.play().unwrap().next().unwrap().unwrap();
    assert_eq!((publish.participant.as_deref(), line), (Some("Ada"), Place::Line(4)));
}
