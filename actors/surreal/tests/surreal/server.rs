//! A real SurrealDB server, for tests that want one: started, killed and started again.
//!
//! Its program is a crate of its own, `tests/surrealdb-server`, which `just server` builds; without it such a
//! test says that it is skipped. Where it is elsewhere, the variable `SURREALDB_SERVER` says so, and then it
//! must be there.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use tempfile::TempDir;

/// The user whom the server knows, and the password.
pub(crate) const ROOT: &str = "root";

/// A server on a port of this machine, with a directory of its own. It goes with its last owner.
pub(crate) struct Server {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    running: Option<Running>,
}

/// The server's process is watched by a shell that waits for its own input to end, which it does with this
/// process, however that ends; then it kills the server.
struct Running {
    shell: Child,
    leash: ChildStdin,
}

/// The server runs in the background, and whoever reads the leash's end first kills it.
const WATCHED: &str = r#"
    exec 3<&0
    "$0" "$@" >"$SERVER_LOG" 2>&1 </dev/null 3<&- & server=$!
    echo $server >"$SERVER_LOG.pid"
    { read -r _ <&3; kill -9 $server; } 2>/dev/null &
    wait $server
"#;

impl Server {
    /// Starts a server with an empty database. `None` if there is no program for it, which is said on stderr.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            // Past the test harness, which would keep it to itself.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: there is no SurrealDB server; `just server` builds one"
            );
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self { program, directory, port: 0, running: None };
        // A port that was free may be taken when the server comes to it.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.run() {
                return Some(server);
            }
        }
        panic!("the SurrealDB server does not start:\n{}", server.log());
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(Running { mut shell, leash }) = self.running.take() {
            drop(leash);
            shell.wait().unwrap();
        }
    }

    /// Starts it again where it was, with what it had stored.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        assert!(self.run(), "the SurrealDB server does not start again:\n{}", self.log());
    }

    /// Stops it in its tracks, or lets it go on: as a machine that hangs.
    #[allow(dead_code, reason = "not every test program hangs its server")]
    pub(crate) fn freeze(&self, freeze: bool) {
        let pid = fs::read_to_string(self.log_file().with_extension("pid")).unwrap();
        let signal = if freeze { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Starts it and waits until it answers; says whether it does.
    fn run(&mut self) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let database = format!("surrealkv://{}", self.directory.path().join("db").display());
        let bind = format!("127.0.0.1:{}", self.port);
        let mut shell = Command::new("sh")
            .args(["-c", WATCHED])
            .arg(&self.program)
            .args([
                "start",
                "--user",
                ROOT,
                "--pass",
                ROOT,
                "--log",
                "warn",
                "--no-banner",
                "--bind",
                &bind,
                &database,
            ])
            .env("SERVER_LOG", self.log_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let leash = shell.stdin.take().unwrap();
        self.running = Some(Running { shell, leash });
        // As long as it takes: it is up, or it is dead.
        loop {
            let is_up = self.is_up();
            if self.running.as_mut().unwrap().shell.try_wait().unwrap().is_some() {
                break;
            }
            if is_up {
                return true;
            }
            // A wait that is over early only if somebody sends something, and nobody can.
            let (_sender, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(LOOK_EVERY);
        }
        self.kill();
        false
    }

    fn is_up(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /health HTTP/1.0\r\n\r\n");
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.contains(" 200 ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SURREALDB_SERVER") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "SURREALDB_SERVER is {}, which is not there", named.display());
        return Some(named);
    }
    let built = "tests/surrealdb-server/target/debug/surrealdb-server";
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join(built)).find(|program| program.is_file())
}
