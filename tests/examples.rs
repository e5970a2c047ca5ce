//! The examples compile and run unchanged.

#[allow(unreachable_pub, reason = "an example's main is its whole program")]
#[path = "../examples/embed.rs"]
mod embed;

#[allow(dead_code, unreachable_pub, reason = "an example's main is its whole program")]
#[path = "../examples/reminder.rs"]
mod reminder;

#[allow(dead_code, unreachable_pub, reason = "an example's main is its whole program")]
#[path = "../examples/backend.rs"]
mod backend;

#[allow(dead_code, unreachable_pub, reason = "an example's main is its whole program")]
#[path = "../examples/audio.rs"]
mod audio;

#[tokio::test]
async fn audio_is_heard_and_reading_goes_on_where_it_stopped() {
    let config = teammy::config::Config::from_toml("database.url = \"mem://\"").unwrap();
    // The start, and an output for each of three frames.
    assert_eq!(audio::run(config).await.unwrap().0, 7);
}

#[tokio::test]
async fn reminders_come_in_time() {
    let config = teammy::config::Config::from_toml("database.url = \"mem://\"").unwrap();
    assert_eq!(reminder::run(config).await.unwrap(), ["09:06: time for tea"]);
}

#[test]
fn embedding_takes_less_than_a_page_and_runs() {
    embed::main().expect("the example runs");
    let lines = include_str!("../examples/embed.rs").lines().count();
    assert!(lines < 60, "{lines} lines");
}

#[cfg(feature = "talk-time")]
#[tokio::test]
async fn a_backend_does_what_the_guide_says() {
    let config = teammy::config::Config::from_toml(backend::SETTINGS).unwrap();
    let shown = backend::run(config).await.unwrap();
    let recaps: Vec<_> = shown.iter().filter(|line| line.starts_with("recap: ")).collect();
    assert_eq!(recaps, ["recap: The map is done, but for the legend."]);
    assert_eq!(shown.len(), 3, "a table after two turns, and one at the end: {shown:?}");
}
