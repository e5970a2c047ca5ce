use proptest::prelude::*;
use teammy_kernel::Name;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).map(char::from).collect()
}

fn incarnation() -> Incarnation {
    Incarnation { node: Name::new("n").unwrap(), boot: 255 }
}

fn ask() -> Ask {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    Ask { meeting: Some(MeetingId::new("m").unwrap()), epoch: 9, is_ordered: true, trace: Some(trace) }
}

fn head(what: What) -> Kind {
    Kind::Message(Head { id: 5, bytes: 2, what })
}

/// What each kind is in layout 1, after the version, the frame's number 7, and credits of 1 and 2.
const KINDS_1: [(&str, &str); 19] = [
    (
        "hello",
        "00000000 1200000000000000 6e2e30303030303030303030303030306666 01000000 01000000 0000800000000000 0000040000000000",
    ),
    ("ping", "01000000 0300000000000000"),
    ("pong", "02000000 0300000000000000"),
    ("credit", "03000000"),
    ("blocked", "04000000"),
    (
        "call",
        "05000000 0500000000000000 02000000 00000000 01 0100000000000000 6d 0900000000000000 01 \
         01 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 01",
    ),
    ("plain call", "05000000 0500000000000000 02000000 00000000 00 0000000000000000 00 00"),
    (
        "open",
        "05000000 0500000000000000 02000000 01000000 01 0100000000000000 6d 0900000000000000 01 \
         01 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 01",
    ),
    ("answer", "05000000 0500000000000000 02000000 02000000 0400000000000000"),
    ("failed", "05000000 0500000000000000 02000000 03000000 0400000000000000"),
    ("opened", "05000000 0500000000000000 02000000 04000000 0400000000000000 01"),
    ("item", "05000000 0500000000000000 02000000 05000000 0400000000000000"),
    ("end", "05000000 0500000000000000 02000000 06000000 0400000000000000 00"),
    ("failed end", "05000000 0500000000000000 02000000 06000000 0400000000000000 01"),
    ("part", "06000000 0500000000000000"),
    ("stream credit", "07000000 0400000000000000 0001000000000000"),
    ("cancel", "08000000 0400000000000000"),
    ("bye", "09000000 0300000000000000 776879"),
    ("empty bye", "09000000 0000000000000000"),
];

fn kinds() -> [Kind; 19] {
    [
        Kind::Hello(Hello {
            incarnation: incarnation(),
            layouts: Versions { from: 1, to: 1 },
            window: 8 << 20,
            stream_window: 256 << 10,
        }),
        Kind::Ping(3),
        Kind::Pong(3),
        Kind::Credit,
        Kind::Blocked,
        head(What::Call(ask())),
        head(What::Call(Ask { meeting: None, epoch: 0, is_ordered: false, trace: None })),
        head(What::Open(ask())),
        head(What::Answer { call: 4 }),
        head(What::Failed { call: 4 }),
        head(What::Opened { call: 4, has_items: true }),
        head(What::Item { stream: 4 }),
        head(What::End { stream: 4, has_failed: false }),
        head(What::End { stream: 4, has_failed: true }),
        Kind::Part(5),
        Kind::StreamCredit { stream: 4, bytes: 256 },
        Kind::Cancel { stream: 4 },
        bye("why"),
        bye(""),
    ]
}

#[test]
fn golden_bytes_of_layout_1() {
    for ((name, golden), kind) in KINDS_1.into_iter().zip(kinds()) {
        let header = Header { seq: 7, credit: Credit { calls: 1, replies: 2 }, kind };
        let head = format!("01070000000000000001000000000000000200000000000000{}", golden.replace(' ', ""));
        let length = u8::try_from(head.len() / 2).unwrap();
        let frame = write(&header, b"xy");
        assert_eq!(hex(&frame), format!("{length:02x}00{head}7879"), "{name}");
        assert_eq!(read(&frame).unwrap(), (header, Bytes::from_static(b"xy")), "{name}");
    }
}

#[test]
fn a_body_is_not_copied_when_it_is_read() {
    let frame = write(&Header { seq: 0, credit: Credit::default(), kind: Kind::Part(1) }, &[7; 256]);
    let (_, body) = read(&frame).unwrap();
    assert_eq!(body.as_ptr(), frame[frame.len() - 256..].as_ptr());
}

#[test]
fn a_newer_layout_is_refused_with_both_versions() {
    let mut frame = write(&Header { seq: 0, credit: Credit::default(), kind: Kind::Credit }, b"").to_vec();
    frame[2] = 2;
    let error = read(&frame.into()).unwrap_err();
    let reason = teammy_kernel::error::chain(&error);
    assert!(reason.ends_with("message is of layout 2, this build reads layout 1"), "{reason}");
}

#[test]
fn ranges_of_layouts_meet_or_say_why_not() {
    let range = |from, to| Versions { from, to };
    let cases = [
        (range(1, 1), range(1, 1), Some(1)),
        (range(1, 3), range(2, 5), Some(3)),
        (range(2, 5), range(1, 3), Some(3)),
        (range(1, 1), range(2, 3), None),
        (range(2, 3), range(1, 1), None),
        (range(1, 9), range(5, 4), None),
    ];
    for (ours, theirs, wanted) in cases {
        assert_eq!(agree(ours, theirs).ok(), wanted, "{ours:?} {theirs:?}");
    }
    let reason = agree(range(1, 1), range(2, 3)).unwrap_err();
    assert_eq!(reason, "it reads and writes layouts 2 to 3 on links, this node 1 to 1");
}

#[test]
fn frames_that_are_no_frames_are_refused() {
    assert!(matches!(read(&Bytes::new()), Err(Error::CutOff)));
    assert!(matches!(read(&Bytes::from_static(&[9, 0, 1])), Err(Error::CutOff)));
    assert!(matches!(read(&Bytes::from_static(&[0, 0])), Err(Error::Header(wire::Error::Empty))));
    assert!(matches!(read(&vec![0; MAX_FRAME + 1].into()), Err(Error::TooLarge(_))));
}

#[test]
fn a_part_fits_in_a_frame_with_the_longest_header() {
    let meeting = Some(MeetingId::new("m".repeat(MeetingId::MAX_BYTES)).unwrap());
    let kind = head(What::Call(Ask { meeting, ..ask() }));
    let frame = write(&Header { seq: u64::MAX, credit: Credit::default(), kind }, &vec![0; PART]);
    assert!(frame.len() < MAX_FRAME);
    let reason = write(&Header { seq: 0, credit: Credit::default(), kind: bye(&"é".repeat(9999)) }, b"");
    assert!(reason.len() < 600);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = read(&bytes.into());
    }

    #[test]
    fn no_header_panics(bytes: Vec<u8>) {
        let length = u16::try_from(bytes.len() + 1).unwrap().to_le_bytes();
        let _ = read(&[&length[..], &[1], &bytes].concat().into());
    }
}
