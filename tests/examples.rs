//! The examples run as they stand.

#[allow(unreachable_pub, reason = "an example's main is its whole program")]
#[path = "../examples/embed.rs"]
mod embed;

#[test]
fn embedding_takes_less_than_a_page_and_runs() {
    embed::main().expect("the example runs");
    let lines = include_str!("../examples/embed.rs").lines().count();
    assert!(lines < 60, "{lines} lines");
}
