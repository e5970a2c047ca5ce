//! Embedded databases whose process dies during a write, or after the log was repaired.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use teammy_kernel::{
    Payload, Seq, Store,
    store::{Outcome, PacketQuery},
};

use super::{commit, create, meeting, open_directory};

/// Copies a directory's files as they are, which is what a crash at this moment would leave.
fn copy_as_crashed(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_as_crashed(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_stored_after_a_repair_survives_the_next_crash() {
    let place = tempfile::tempdir().unwrap();
    let path = |crashes: u64| place.path().join(crashes.to_string());
    let mut store = open_directory(&path(0)).await;
    create(&store, "m").await;
    for crashes in 1..5 {
        let number = crashes * 2 - 1;
        assert_eq!(store.commit(&[commit("m", number, number, 1)]).await.unwrap(), [Outcome::Applied]);
        // This record has several blocks of the engine's log, and is cut off within the second.
        let mut long = commit("m", number + 1, number + 1, 1);
        Arc::make_mut(&mut long.packets[0]).payload = Payload::Text("x".repeat(150_000).into());
        assert_eq!(store.commit(&[long.clone()]).await.unwrap(), [Outcome::Applied]);
        copy_as_crashed(&path(crashes - 1), &path(crashes));
        let segments = fs::read_dir(path(crashes).join("wal")).unwrap().map(|entry| entry.unwrap().path());
        let newest = fs::File::options().write(true).open(segments.max().unwrap()).unwrap();
        newest.set_len(newest.metadata().unwrap().len() - 90_000).unwrap();

        store = open_directory(&path(crashes)).await;
        let row = store.meeting(meeting("m")).await.unwrap().unwrap();
        assert_eq!(row.commit, number, "all but the record that was cut off");
        assert_eq!(
            store.commit(&[long]).await.unwrap(),
            [Outcome::Applied],
            "the lost commit can be sent again"
        );
    }
    let packets = store.packets(meeting("m"), PacketQuery::default()).await.unwrap();
    let seqs: Vec<u64> = packets.iter().map(|packet| packet.seq.0).collect();
    assert_eq!(seqs, (1..=8).collect::<Vec<_>>());
}

/// The variable that names the directory into which the process below writes.
const WRITES_TO: &str = "CRASH_WRITES_TO";
const KILLS: usize = 20;

/// Not a test: the process that the next test kills. It commits, and prints the number of each acknowledged
/// commit.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(WRITES_TO) else { return };
    let store = open_directory(Path::new(&path)).await;
    let row = store.meeting(meeting("m")).await.unwrap().unwrap();
    for number in row.commit + 1.. {
        // Every third record has several blocks of the engine's log.
        let mut next = commit("m", number, number, 1);
        if number % 3 == 0 {
            Arc::make_mut(&mut next.packets[0]).payload = Payload::Text("x".repeat(100_000).into());
        }
        assert_eq!(store.commit(&[next]).await.unwrap(), [Outcome::Applied]);
        writeln!(std::io::stdout(), "stored {number}").unwrap();
    }
}

#[tokio::test]
async fn commits_that_were_acknowledged_survive_kills() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let store = open_directory(&path).await;
    create(&store, "m").await;
    store.close().await.unwrap();
    let mut last = 0;
    for kill in 1..=KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::the_process_that_is_killed", "--nocapture"])
            .env(WRITES_TO, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let stored = |line: String| line.strip_prefix("stored ").map(|number| number.parse().unwrap());
        // Each kill comes after another number of commits, while the process writes the next one.
        let mut acknowledged: u64 = lines.by_ref().filter_map(stored).nth(kill * 7 % 23).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = lines.filter_map(stored).last().unwrap_or(acknowledged);

        let store = open_directory(&path).await;
        let row = store.meeting(meeting("m")).await.unwrap().unwrap();
        assert!(
            (acknowledged..=acknowledged + 1).contains(&row.commit),
            "{acknowledged} commits were acknowledged, {} are stored",
            row.commit
        );
        assert!(row.commit > last);
        last = row.commit;
        let packets = store.packets(meeting("m"), PacketQuery::default()).await.unwrap();
        let seqs: Vec<Seq> = packets.iter().map(|packet| packet.seq).collect();
        assert_eq!(seqs, (1..=row.commit).map(Seq).collect::<Vec<_>>());
        // Every other round goes on from the files of an open database, as a killed process leaves them.
        if kill.is_multiple_of(2) {
            store.close().await.unwrap();
        } else {
            let copy = place.path().join(kill.to_string());
            copy_as_crashed(&path, &copy);
            store.close().await.unwrap();
            fs::remove_dir_all(&path).unwrap();
            fs::rename(&copy, &path).unwrap();
        }
    }
}
