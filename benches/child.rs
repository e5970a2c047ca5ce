//! Child processes of the bench, which end with it: also if it is killed, because then their input ends.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// The bench's own program in another role.
pub struct Role(Child);

impl Role {
    /// Starts the bench's own program with these arguments. It is to end when its input ends.
    pub fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::of(command)
    }

    /// Starts another program, which is to end when its input ends.
    pub fn of(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map(Self)
    }

    /// The process' id.
    #[allow(dead_code, reason = "not every bench reads what the system counts of it")]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the next line that it prints.
    pub fn line(&mut self) -> io::Result<String> {
        let output = self.0.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        for _ in 0..50 {
            if self.has_ended() {
                return;
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until this process' input ends.
pub fn wait_for_the_end() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// Runs another program until this process' input ends. What it prints goes to the file `log`.
#[allow(dead_code, reason = "not every bench runs a program that does not end with its input")]
pub fn keep(log: &str, program: &str, arguments: &[String]) -> io::Result<()> {
    let log = File::create(log)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn()?;
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        wait_for_the_end();
        ended.send(())
    });
    while child.try_wait()?.is_none() {
        if end.recv_timeout(Duration::from_millis(50)) != Err(RecvTimeoutError::Timeout) {
            child.kill()?;
            child.wait()?;
        }
    }
    Ok(())
}
