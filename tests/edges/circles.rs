//! Inside a crate, no two files know each other in a circle.
//!
//! Files in a circle can only be read, tested and changed together. A file uses another file if a `use` or a
//! path in it names an item that the other defines. Re-exports are followed to the file that defines the
//! item; a re-export alone is no use. Items that only tests compile don't count, nor do methods, which no
//! path names.

use std::collections::BTreeSet;

use crate::{
    graph::{Crate, Sources, Use, circles},
    nothing_wrong, sources,
};

/// The roots of the crates in `src` folders. Tests and benches are crates of their own, and left out.
fn roots(sources: &Sources) -> Vec<&str> {
    let root = |path: &&str| {
        let mut names = path.rsplit('/');
        let file = names.next();
        [Some("lib.rs"), Some("main.rs")].contains(&file)
            && names.next() == Some("src")
            && !names.any(|folder| ["tests", "benches"].contains(&folder))
    };
    sources.keys().map(String::as_str).filter(root).collect()
}

/// Whether a source is for tests by its name: `tests.rs`, `combiner_tests.rs`, or in a folder `tests`.
fn is_for_tests(path: &str) -> bool {
    let mut names = path.rsplit('/');
    let by_file = |name: &str| name == "tests.rs" || name.ends_with("_tests.rs");
    names.next().is_some_and(by_file) || names.any(|folder| folder == "tests")
}

/// Says which files of a crate form a circle, and what to do about it.
fn advice(root: &str, circle: &[&Use<'_>]) -> String {
    let first = format!(
        "in {root}, {} files know each other in a circle: \
         move the shared item below both, or put a small trait between them",
        circle.len()
    );
    let edges = circle.iter().map(|edge| format!("  {edge}"));
    [first].into_iter().chain(edges).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_files_know_each_other_in_a_circle() {
    let sources = sources();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for root in roots(&sources) {
        let uses = Crate::read(root, &sources).uses();
        seen += uses.len();
        wrong.extend(circles(&uses).iter().map(|circle| advice(root, circle)));
    }
    assert!(seen >= 500, "the sources show {seen} uses between files: this test looks at the wrong thing");
    nothing_wrong(&wrong);
}

#[test]
fn every_file_of_a_crate_is_read_except_tests_and_benches() {
    let sources = sources();
    let roots = roots(&sources);
    for root in
        ["kernel/src/lib.rs", "config/src/lib.rs", "actors/runtime/src/lib.rs", "src/lib.rs", "src/main.rs"]
    {
        assert!(roots.contains(&root), "{root} is not among {roots:?}");
    }
    let crates: Vec<_> = roots.iter().map(|root| Crate::read(root, &sources)).collect();
    let files: BTreeSet<_> = crates.iter().flat_map(Crate::files).collect();
    let folders: BTreeSet<_> =
        roots.iter().filter_map(|root| root.rfind('/').map(|slash| &root[..=slash])).collect();
    let in_a_crate = |path: &&str| folders.iter().any(|folder| path.starts_with(folder));
    let mut wrong = Vec::new();
    for path in sources.keys().map(String::as_str).filter(in_a_crate) {
        if is_for_tests(path) && files.contains(path) {
            wrong.push(format!("{path} has a test's name: declare it under `#[cfg(test)]`, or rename it"));
        }
        if !is_for_tests(path) && !files.contains(path) {
            wrong.push(format!("no `mod` declaration leads to {path}: the search for circles misses it"));
        }
    }
    wrong.extend(
        files
            .iter()
            .filter(|path| path.contains("benches/"))
            .map(|path| format!("{path} is a benchmark's: `roots` should leave its crate out")),
    );
    nothing_wrong(&wrong);
}

#[test]
fn a_file_for_tests_is_known_by_its_name() {
    for path in ["src/log/tests.rs", "src/meeting/combiner_tests.rs", "src/tests/model.rs", "tests/cli.rs"] {
        assert!(is_for_tests(path), "{path}");
    }
    for path in ["src/testing.rs", "src/latest.rs", "src/contests.rs", "src/testing/clock.rs"] {
        assert!(!is_for_tests(path), "{path}");
    }
}

#[test]
fn a_circle_is_reported_use_by_use() {
    let files = [
        ("src/lib.rs", "mod a;\nmod b;\npub use a::Left;\n"),
        ("src/a.rs", "pub struct Left(crate::b::Right);\n"),
        ("src/b.rs", "use crate::Left;\n\npub struct Right(Box<Left>);\n"),
    ];
    let sources: Sources = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let uses = Crate::read("src/lib.rs", &sources).uses();
    let reports: Vec<_> = circles(&uses).iter().map(|circle| advice("src/lib.rs", circle)).collect();
    assert_eq!(
        reports,
        ["in src/lib.rs, 2 files know each other in a circle: \
          move the shared item below both, or put a small trait between them\
          \n  src/a.rs:1 uses Right of src/b.rs\
          \n  src/b.rs:1 uses Left of src/a.rs"]
    );
}
