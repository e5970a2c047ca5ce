use std::collections::{BTreeMap, BTreeSet};

use teammy_kernel::{ErrorClass, RemoteError};

use super::*;

/// Every code of every error, with its kind.
fn codes() -> BTreeMap<&'static str, ErrorKind> {
    let tables: &[&[ErrorClass]] = &[
        graph::Error::CLASSES,
        node::Error::CLASSES,
        meeting::Error::CLASSES,
        PublishError::CLASSES,
        store::Error::CLASSES,
        admin::Error::CLASSES,
        RemoteError::CLASSES,
        #[cfg(feature = "cluster")]
        crate::cluster::Error::CLASSES,
        #[cfg(not(feature = "cluster"))]
        &[],
        #[cfg(unix)]
        control::Error::CLASSES,
        install::Error::CLASSES,
        teammy_llm::Error::CLASSES,
        LlmError::CLASSES,
        name::Error::CLASSES,
        json::Error::CLASSES,
        DecodeError::CLASSES,
        EncodeError::CLASSES,
        MalformedJson::CLASSES,
        DatastoreError::CLASSES,
        ReadError::CLASSES,
        AnswerError::CLASSES,
        KeyError::CLASSES,
        ConfigError::CLASSES,
        #[cfg(feature = "surrealdb")]
        teammy_surreal::OpenError::CLASSES,
        #[cfg(not(feature = "surrealdb"))]
        &[],
    ];
    let config = config::Error::CODES.iter().map(|code| ErrorClass::new(code, ErrorKind::Invalid));
    let parsed = ["database-url", "llm-url", "size"].map(|code| ErrorClass::new(code, ErrorKind::Invalid));
    // What a store or a client that an embedder opens fails with, and what a node of an earlier version answers.
    let others = ["not-opened", "unknown"].map(|code| ErrorClass::new(code, ErrorKind::Internal));
    // A lease that has ended is an error of a node's start, too.
    let leases = [ErrorClass::new("lease-ended", ErrorKind::Gone)];
    let mut codes = BTreeMap::new();
    for class in
        tables.iter().copied().flatten().copied().chain(config).chain(parsed).chain(others).chain(leases)
    {
        let kind = *codes.entry(class.code()).or_insert(class.kind());
        assert_eq!(kind, class.kind(), "the code {} has two kinds", class.code());
    }
    codes
}

#[test]
fn codes_are_words_with_hyphens() {
    for code in codes().into_keys() {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        assert!(code.split('-').all(is_word), "{code}");
    }
}

/// The rows of the guide's table of codes: code, kind, whether to retry.
fn documented() -> Vec<(String, String, String)> {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/embedding.md");
    let guide = std::fs::read_to_string(guide).expect("the guide can be read");
    let rows = guide.lines().skip_while(|line| !line.starts_with("| code | kind | retry |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned());
        let mut cell = || cells.next().expect("a row has four cells");
        (cell(), cell(), cell())
    })
    .collect()
}

/// Programs rely on codes: one that is missing here was renamed.
#[test]
fn the_guide_lists_each_code_with_its_kind() {
    let documented = documented();
    let retry = |kind: ErrorKind| if kind.can_retry() { "yes" } else { "no" };
    let mut missing: BTreeSet<String> = documented.iter().map(|(code, ..)| code.clone()).collect();
    assert_eq!(missing.len(), documented.len(), "the guide lists a code twice");
    for (code, kind) in codes() {
        let row = (code.to_owned(), kind.to_string(), retry(kind).to_owned());
        assert!(documented.contains(&row), "docs/embedding.md lacks | `{}` | {} | {} |", row.0, row.1, row.2);
        missing.remove(code);
    }
    // It has the kind of whatever error it stands for.
    missing.remove("of-another-node");
    if cfg!(not(feature = "cluster")) {
        missing.retain(|code| {
            !["database-not-shared", "node-name", "no-certificates", "links-not-started"]
                .contains(&code.as_str())
        });
    }
    if cfg!(not(feature = "surrealdb")) {
        missing.retain(|code| !code.starts_with("database-"));
    }
    assert!(missing.is_empty(), "docs/embedding.md lists codes that do not exist: {missing:?}");
}

fn answers(error: &(impl Classified + 'static)) -> (String, ErrorKind, bool) {
    (error.code().to_owned(), error.kind(), error.can_retry())
}

#[test]
fn an_error_that_holds_another_answers_as_that_one_does() {
    let id = || teammy_kernel::MeetingId::new("m").unwrap();
    let unavailable = || store::Error::Unavailable { doing: "reading".to_owned(), cause: "gone".into() };
    let expected = ("store-unavailable".to_owned(), ErrorKind::Unavailable, true);
    let read = || meeting::Error::Read { meeting: id(), cause: std::sync::Arc::new(unavailable()) };
    assert_eq!(answers(&unavailable()), expected);
    assert_eq!(answers(&read()), expected);
    assert_eq!(answers(&node::Error::Store(unavailable())), expected);
    assert_eq!(answers(&node::Error::from(read())), expected);
    assert_eq!(answers(&admin::Error::from(read())), expected);
    assert_eq!(answers(&Error::from(admin::Error::from(node::Error::Store(unavailable())))), expected);
    assert_eq!(
        answers(&PublishError::Read { meeting: id(), cause: std::sync::Arc::new(unavailable()) }),
        expected
    );

    let gone = ("no-meeting".to_owned(), ErrorKind::NotFound, false);
    for error in [
        Error::from(admin::Error::NoMeeting(id())),
        Error::from(node::Error::NoMeeting(id())),
        Error::from(store::Error::NotFound(id())),
        Error::from(admin::Error::from(node::Error::NoMeeting(id()))),
    ] {
        assert_eq!(answers(&error), gone);
    }
    let config = config::Config::from_toml("nonsense = 1").unwrap_err();
    assert_eq!(
        answers(&node::Error::Config(config)),
        ("config-invalid".to_owned(), ErrorKind::Invalid, false)
    );
    let size = "x".parse::<config::Size>().unwrap_err();
    assert_eq!(answers(&size), ("size".to_owned(), ErrorKind::Invalid, false));
}

#[test]
fn one_error_takes_all_in_a_function() {
    fn parse(text: &str) -> Result<teammy_kernel::Publish, Error> {
        config::Config::from_toml("")?;
        let parsed = json::parse(text)?;
        Ok(teammy_kernel::Publish::json(parsed.publish.source, &1)?)
    }
    assert!(parse(r#"{"source":"chat","payload":1}"#).is_ok());
    let error = parse(r#"{"source":"chat"}"#).unwrap_err();
    assert_eq!((error.code(), error.can_retry()), ("not-a-packet", false));
    assert!(error.to_string().starts_with("missing payload"), "{error}");
    // A hook takes it as it takes every error.
    let in_a_hook = teammy_kernel::Error::from(error);
    assert!(!in_a_hook.is_reject());
}
