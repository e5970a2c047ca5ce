//! A real SurrealDB server that tests can start, kill and start again.
//!
//! Its program is a crate of its own, `tests/surrealdb-server`, which `just server` builds. If it is not
//! built, tests print that they are skipped. The variable `SURREALDB_SERVER` can name another program, which
//! must exist then.

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

/// The name and the password of the server's user.
pub(crate) const ROOT: &str = "root";

/// A server on a port of this machine, with a directory of its own. Dropping it kills the server.
pub(crate) struct Server {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    process: Option<ServerProcess>,
}

/// A shell that runs the server and kills it when the shell's input ends. The input ends with this process,
/// however that ends.
struct ServerProcess {
    shell: Child,
    leash: ChildStdin,
}

/// Runs the server in the background, and kills it when the input ends.
const WATCHED: &str = r#"
    exec 3<&0
    "$0" "$@" >"$SERVER_LOG" 2>&1 </dev/null 3<&- & server=$!
    echo $server >"$SERVER_LOG.pid"
    { read -r _ <&3; kill -9 $server; } 2>/dev/null &
    wait $server
"#;

impl Server {
    /// Starts a server with an empty database. If its program is missing, prints so on stderr and returns
    /// `None`.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            // Written directly, because the test harness hides what `eprintln!` prints.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: there is no SurrealDB server; `just server` builds one"
            );
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self { program, directory, port: 0, process: None };
        // Another process may take the free port before the server does.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.run() {
                return Some(server);
            }
        }
        panic!("the SurrealDB server does not start:\n{}", server.log());
    }

    /// The URL to connect to.
    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    #[allow(dead_code, reason = "not every test program has a proxy before its server")]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server as a crash would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(ServerProcess { mut shell, leash }) = self.process.take() {
            drop(leash);
            shell.wait().unwrap();
        }
    }

    /// Starts the server again on the same port and directory.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        assert!(self.run(), "the SurrealDB server does not start again:\n{}", self.log());
    }

    /// Suspends the server, as if its machine hung, or resumes it.
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

    /// Starts the server and waits until it answers or has ended; returns whether it answers.
    fn run(&mut self) -> bool {
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
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
        self.process = Some(ServerProcess { shell, leash });
        // Without a limit: the server answers or ends.
        loop {
            let is_up = self.is_up();
            if self.process.as_mut().unwrap().shell.try_wait().unwrap().is_some() {
                break;
            }
            if is_up {
                return true;
            }
            // Waits for the whole interval, because nothing is sent.
            let (_sender, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(POLL_INTERVAL);
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
        assert!(named.is_file(), "SURREALDB_SERVER is {}, which does not exist", named.display());
        return Some(named);
    }
    let built = "tests/surrealdb-server/target/debug/surrealdb-server";
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join(built)).find(|program| program.is_file())
}
