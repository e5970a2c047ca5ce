//! Crash tests: the process is killed at kill points and at random moments, and started again until it is
//! done. What is stored then must equal what an undisturbed run stores.
//!
//! Seqs differ from run to run, so packets are compared by their identity: a published packet by its producer
//! and number, an output by its instance and its causes. The variables `CRASH_KILLS` and `CRASH_SEED` set the
//! number of kills and the seed, as `just torture` does; a run prints its seed.

#[path = "crash/contents.rs"]
pub(crate) mod contents;
#[path = "crash/many.rs"]
mod many;
#[path = "crash/models.rs"]
mod models;
#[path = "crash/timers.rs"]
mod timers;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use teammy::kill_points::KillPoint;

use crate::{Place, read, repository};
use contents::{Contents, contents};

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// A chain of two instances: `echo` takes only the outputs of `watch-list`, so that the order of its inputs
/// is the same in every run.
const SETTINGS: &str = r#"
    [[plugin]]
    name = "talk-time"
    config = { every = 3 }
    [[plugin]]
    name = "watch-list"
    config = { terms = ["the", "a", "you", "we", "it", "to", "and", "ok"] }
    [[plugin]]
    name = "echo"
    kind = "watch-list"
    sources = { transcription = "watch-list", chat = "silence" }
    config = { terms = ["and", "we"] }
    [[source]]
    name = "silence"
"#;

/// About how long a paced run plays.
const PACED: Duration = Duration::from_millis(1200);

/// How many kills at random moments there are in all.
fn kills() -> u32 {
    std::env::var("CRASH_KILLS").map_or(20, |kills| kills.parse().expect("CRASH_KILLS is a number"))
}

fn random() -> fastrand::Rng {
    let given = std::env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("CRASH_SEED is a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("CRASH_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Real meetings where their folder exists, or else the samples.
fn recordings() -> Vec<PathBuf> {
    let real = fs::read_dir(repository("../shared/data/meetings"));
    let found = real.or_else(|_| fs::read_dir(repository("samples"))).unwrap();
    let files = found.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    files
}

/// When a run is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// The process dies by itself when it passes a kill point for the n-th time.
    At(KillPoint, u32),
    /// The process is killed this long after it was started.
    After(Duration),
    Never,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    Done,
}

/// Runs a program, and kills it or lets it kill itself.
fn run(command: &mut Command, kill: Kill) -> End {
    if let Kill::At(point, passage) = kill {
        command.env("KILL_POINT", format!("{point}:{passage}"));
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (status, said) = match kill {
        Kill::After(moment) => wait(&mut child, moment),
        _ => wait(&mut child, Duration::MAX),
    };
    match (kill, status.signal()) {
        (Kill::After(_), Some(SIGKILL)) => End::Killed,
        (Kill::At(point, _), Some(SIGABRT)) => {
            assert!(said.contains(&format!("killed at {point}")), "it died of something else: {said}");
            End::Killed
        }
        (_, None) if status.success() => {
            // The storage engine may log that the end of its log is broken: the killed process wrote it in
            // part, and never acknowledged it.
            for word in ["panicked", "ERROR teammy"] {
                assert!(!said.contains(word), "{said}");
            }
            End::Done
        }
        _ => panic!("{kill:?}: it ended with {status}: {said}"),
    }
}

/// Waits for a process to end, and kills it at the given moment. Returns its status and its stderr.
fn wait(child: &mut Child, moment: Duration) -> (ExitStatus, String) {
    let (over, is_over) = mpsc::channel::<()>();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // Both pipes are read until the process ends, which closes them.
    let drained = std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).count();
        drop(over);
    });
    let said = std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
    });
    if is_over.recv_timeout(moment) == Err(mpsc::RecvTimeoutError::Timeout) {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    drained.join().unwrap();
    (status, said.join().unwrap())
}

/// A recording, and the program that plays it repeatedly.
struct Played {
    place: Place,
    file: PathBuf,
    meeting: String,
    speed: String,
}

impl Played {
    fn new(file: &Path) -> Self {
        Self::with(file, SETTINGS)
    }

    fn with(file: &Path, settings: &str) -> Self {
        let place = Place::new();
        place.file("teammy.toml", settings);
        let time = |packet: &serde_json::Value| -> teammy::Timestamp {
            packet["timestamp"].as_str().unwrap().parse().unwrap()
        };
        let packets = read(file);
        let lasts = time(packets.last().unwrap()).duration_since(time(&packets[0])).as_secs_f64();
        let speed = format!("{}x", (lasts / PACED.as_secs_f64()).ceil().max(1.0));
        let meeting = file.file_stem().unwrap().to_str().unwrap().to_owned();
        Self { place, file: file.to_owned(), meeting, speed }
    }

    fn replay(&self, database: &str, speed: &str) -> Command {
        let file = self.file.to_str().unwrap();
        self.place.teammy(&["replay", file, "--db", database, "--speed", speed, "--json"])
    }

    fn run(&self, kill: Kill) -> End {
        run(&mut self.replay("surrealkv://db", &self.speed), kill)
    }

    fn contents(&self, database: &str) -> Contents {
        contents(&self.place.path().join(database), &[&self.meeting]).remove(0)
    }

    /// What an undisturbed run stores.
    fn undisturbed(&self) -> Contents {
        assert_eq!(run(&mut self.replay("surrealkv://whole", "max"), Kill::Never), End::Done);
        self.contents("whole")
    }

    /// Lets the replay finish, compares what is stored, and deletes the database.
    fn finish_and_compare(&self, undisturbed: &Contents) {
        assert_eq!(self.run(Kill::Never), End::Done);
        let found = self.contents("db");
        if found != *undisturbed {
            eprintln!("FOUND {found:?}");
        }
        found.assert_is(undisturbed);
        fs::remove_dir_all(self.place.path().join("db")).unwrap();
    }
}

#[test]
fn a_process_that_dies_at_the_worst_moments_loses_and_doubles_nothing() {
    let played = Played::new(&repository("samples/standup.jsonl"));
    let undisturbed = played.undisturbed();
    let mut random = random();
    for point in KillPoint::ALL {
        // No model is asked here; `models` has these.
        if matches!(point, KillPoint::ModelAnswered | KillPoint::AnswerStored) {
            continue;
        }
        let is_of_another_owner = matches!(point, KillPoint::Claimed | KillPoint::Resumed);
        // The first passage, and a later one where there are many. Each kill point must be passed.
        let passages: &[u32] = match point {
            KillPoint::Appended | KillPoint::HookEnded | KillPoint::EffectsApplied => &[1, random.u32(2..40)],
            KillPoint::CommitBefore | KillPoint::CommitAfter | KillPoint::CommitHeard => {
                &[1, random.u32(2..20)]
            }
            KillPoint::InstanceEnded => &[1, 2, 3],
            _ => &[1],
        };
        for &passage in passages {
            if is_of_another_owner {
                assert_eq!(played.run(Kill::At(KillPoint::Appended, 20)), End::Killed);
            }
            // How often a kill point is passed depends on the machine: a slow one stores more at once.
            let mut passage = passage;
            println!("{point}:{passage}");
            while played.run(Kill::At(point, passage)) == End::Done {
                assert!(passage > 1, "{point} is passed");
                fs::remove_dir_all(played.place.path().join("db")).unwrap();
                passage /= 2;
                println!("{point}:{passage}");
            }
            played.finish_and_compare(&undisturbed);
        }
    }
}

#[test]
fn a_process_that_dies_at_any_moment_loses_and_doubles_nothing() {
    let mut random = random();
    let mut recordings = recordings();
    random.shuffle(&mut recordings);
    let (mut killed, wanted) = (0, kills());
    // Another meeting each time, until there were enough kills.
    for file in recordings.iter().cycle() {
        if killed >= wanted {
            break;
        }
        let played = Played::new(file);
        let undisturbed = played.undisturbed();
        loop {
            let moment = PACED.mul_f64(random.f64());
            let kill = match random.u32(0..3) {
                0 => Kill::At(random.choice(KillPoint::ALL).unwrap(), random.u32(1..60)),
                _ => Kill::After(moment),
            };
            match played.run(kill) {
                End::Killed => killed += 1,
                End::Done => break,
            }
        }
        println!("{}: {killed} kills so far", played.meeting);
        played.finish_and_compare(&undisturbed);
    }
}
