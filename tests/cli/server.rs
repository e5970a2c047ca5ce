//! Meetings in a SurrealDB server: the server is unavailable for a while, and two processes claim the same
//! meeting.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use teammy::{MeetingId, config::Config};

use crate::{
    Place, Ran,
    crash::contents::{Contents, contents_at},
    said,
    surrealdb_server::{ROOT, Server},
};

const PLUGINS: &str = r#"
    [[plugin]]
    name = "talk-time"
    config = { every = 3 }
    [[plugin]]
    name = "watch-list"
    config = { terms = ["word"] }
"#;

/// A database in a server, and a recording to play into it.
struct Hosted {
    place: Place,
    server: Server,
}

impl Hosted {
    /// `None` if there is no server program.
    fn new(packets: u32, settings: &str) -> Option<Self> {
        let server = Server::start()?;
        let place = Place::new();
        place.file("m.jsonl", (0..packets).map(|n| said(n, &format!("word {n}"))).collect::<String>());
        place.file("teammy.toml", format!("{PLUGINS}\n{settings}"));
        Some(Self { place, server })
    }

    fn database(&self) -> String {
        format!("[database]\nurl = {:?}\nusername = \"{ROOT}\"\npassword = \"{ROOT}\"\n", self.server.url())
    }

    fn replay(&self, speed: &str) -> Command {
        let mut command = self.place.teammy(&["replay", "m.jsonl", "--json", "--all", "--speed", speed]);
        command.env("TEAMMY_DATABASE__URL", self.server.url());
        command.env("TEAMMY_DATABASE__USERNAME", ROOT).env("TEAMMY_DATABASE__PASSWORD", ROOT);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn contents(&self) -> Contents {
        contents_at(&self.database(), &["m"]).remove(0)
    }

    /// What an undisturbed run stores.
    fn undisturbed(&self) -> Contents {
        let whole = self.place.path().join("whole");
        let url = format!("surrealkv://{}", whole.display());
        self.place.run(&["replay", "m.jsonl", "--db", &url]).ends_with(0);
        contents_at(&format!("database.url = {url:?}"), &["m"]).remove(0)
    }
}

/// Reads this many lines.
fn lines(child: &mut Child, count: usize) -> BufReader<ChildStdout> {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..count {
        assert!(out.read_line(&mut String::new()).unwrap() > 0, "the replay printed a line");
    }
    out
}

fn ran(child: Child, out: BufReader<ChildStdout>) -> Ran {
    let rest = std::thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ran { code: output.status.code(), stdout: rest.join().unwrap(), stderr }
}

#[test]
fn a_server_that_is_away_for_a_while_costs_nothing_but_time() {
    // How long the server is unavailable, in the middle of the meeting.
    const AWAY: Duration = Duration::from_secs(10);
    // The backlog is so small that the publisher has to wait.
    let bounds = "[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n";
    let Some(mut hosted) = Hosted::new(200, bounds) else { return };
    let undisturbed = hosted.undisturbed();
    let mut child = hosted.replay("50x").spawn().unwrap();
    let out = lines(&mut child, 20);
    hosted.server.kill();
    let (_sender, nothing) = mpsc::channel::<()>();
    assert_eq!(nothing.recv_timeout(AWAY), Err(mpsc::RecvTimeoutError::Timeout));
    assert_eq!(child.try_wait().unwrap(), None, "the replay waits");
    hosted.server.start_again();
    let ran = ran(child, out).ends_with(0);
    assert_eq!(ran.summary()["packets"], 200, "{ran:#?}");
    hosted.contents().assert_is(&undisturbed);
}

#[test]
fn two_processes_that_take_a_meeting_from_each_other_put_out_nothing_twice() {
    const CLAIMS: u32 = 100;
    let Some(hosted) = Hosted::new(3600, "") else { return };
    let undisturbed = hosted.undisturbed();
    let mut first = hosted.replay("5x").spawn().unwrap();
    let mut first_out = lines(&mut first, 1);
    for claim in 1..=CLAIMS {
        // Fast enough to end within the test, slow enough to still run when the next process starts.
        let mut second = hosted.replay(if claim == CLAIMS { "max" } else { "5x" }).spawn().unwrap();
        let second_out = lines(&mut second, 1);
        // The second process has stored something, so the first is fenced, and stops by itself.
        let fenced = ran(first, first_out).ends_with(1);
        let why = "meeting m is no longer run by this node: another owner has taken it over";
        assert!(fenced.stderr.contains(why), "claim {claim}: {fenced:#?}");
        (first, first_out) = (second, second_out);
    }
    ran(first, first_out).ends_with(0);
    let store = Config::from_toml(&hosted.database()).unwrap();
    let epoch = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = teammy::open_store(&store.database).await.unwrap();
        store.meeting(MeetingId::new("m").unwrap()).await.unwrap().unwrap().epoch.0
    });
    assert_eq!(epoch, u64::from(CLAIMS) + 1, "each process claimed the meeting once");
    hosted.contents().assert_is(&undisturbed);
}
