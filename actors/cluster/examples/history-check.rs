//! Checks what a cluster's publishers, subscribers and store say: `history-check FILE…`.
//!
//! Each file holds a JSON document a line, as [`history`] describes them. Prints each violation, and ends with exit code 1 if
//! there is one, and 2 if a file cannot be read.

use std::{fs, process::ExitCode};

use teammy_cluster::testing::history::{self, Record};

fn read(path: &str) -> Result<Vec<Record>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| serde_json::from_str(line).map_err(|error| format!("{path}:{number}: {error}")))
        .collect()
}

fn main() -> ExitCode {
    let mut records = Vec::new();
    for path in std::env::args().skip(1) {
        match read(&path) {
            Ok(read) => records.extend(read),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    let violations = history::check(&records);
    for violation in &violations {
        println!("{violation}");
    }
    println!("{} records, {} violations", records.len(), violations.len());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
