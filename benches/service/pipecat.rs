//! Pipecat's pipeline, if it is there: `pipecat_server.py` beside this file, run by the Python that the variable `PIPECAT` names.

use std::{io, path::Path, process::Command};

use crate::{child::Role, steps::Server};

fn python() -> Option<String> {
    std::env::var("PIPECAT").ok().filter(|python| !python.is_empty())
}

/// The version of Pipecat.
///
/// # Errors
/// Why it cannot be measured.
pub fn version() -> Result<String, String> {
    let python =
        python().ok_or("set PIPECAT to a Python that has pipecat-ai; benches/service.rs says how")?;
    let show = "import importlib.metadata, sys; print(importlib.metadata.version('pipecat-ai'), 'on Python', sys.version.split()[0])";
    let output = Command::new(&python).args(["-c", show]).output();
    let output = output.map_err(|error| format!("cannot run {python}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{python} has no pipecat-ai"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts its server.
pub fn start() -> io::Result<Server> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("service/pipecat_server.py");
    let mut command = Command::new(python().ok_or(io::ErrorKind::NotFound)?);
    // It greets on stderr.
    command.env("LOGURU_LEVEL", "ERROR");
    command.args(["-W", "ignore::DeprecationWarning"]).arg(script);
    Role::of(command).and_then(Server::new)
}
