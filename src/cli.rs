//! The command line: parses arguments, loads the configuration, and runs the command.
//!
//! Results go to stdout, as one JSON object a line with `--json`. What is only for people (progress, the
//! table at the end, warnings, the log) goes to stderr. [`error`] lists the exit codes.

mod client;
mod completions;
mod config;
mod dead_letters;
mod error;
mod forget;
mod history;
mod host;
mod install;
mod logs;
mod meetings;
mod metrics;
mod output;
mod pace;
mod packets;
mod plugins;
mod recording;
mod replay;
mod resume;
mod select;
mod signal;
mod status;
mod summary;
mod text;

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use indicatif::MultiProgress;
use teammy::config::{Loaded, Loader};

use error::Error;
use output::{Form, Output};

const AFTER_HELP: &str = "\
Examples:
  teammy replay standup.vtt --db mem://   play a transcript, and keep nothing
  teammy history standup --last 20        what is stored of a meeting
  teammy plugins                          the plugins of this build

Exit codes: 0 done; 1 failed; 2 bad usage, configuration or input; 130 and 143 stopped by Ctrl-C or SIGTERM; \
141 the reader of the output closed it.

Configuration: teammy.toml in the working directory or the file given to --config, then TEAMMY_… environment \
variables; `teammy config` shows every key, its value and where it comes from.";

/// Hosts in-call plugins for online meetings.
#[derive(Debug, Parser)]
#[command(name = "teammy", version, after_help = AFTER_HELP)]
struct Args {
    /// Read this configuration instead of teammy.toml in the working directory
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Log more to stderr: once for the main events, twice for details; otherwise log.filter decides what is
    /// logged
    #[arg(short, long, action = ArgAction::Count, global = true, value_parser = clap::value_parser!(u8).range(..=2))]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a recorded meeting through the plugins, and print what they put out
    Replay(replay::Args),
    /// Print what is stored of a meeting
    History(history::Args),
    /// List the meetings in the database, the newest first
    Meetings(meetings::Args),
    /// Resume a meeting that was cut off: its instances finish with what is stored
    Resume(resume::Args),
    /// Print the packets of a meeting that instances gave up, or deliver them again
    DeadLetters(dead_letters::Args),
    /// Forget a meeting: delete all that is stored of it
    Forget(forget::Args),
    /// Show the status of the node that runs on this machine
    Status(status::Args),
    /// Show the plugins and the configured instances
    Plugins(plugins::Args),
    /// Show every setting, and where its value comes from
    Config(config::Args),
    /// Prepare every plugin of this build on this machine, and write a manifest of it
    Install(install::Args),
    /// Print a script with which a shell completes this program's command lines
    Completions(completions::Args),
}

impl Command {
    fn form(&self) -> Form {
        let json = match self {
            Self::Replay(args) => args.json,
            Self::History(args) => args.json,
            Self::Meetings(args) => args.json,
            Self::Resume(args) => args.json,
            Self::DeadLetters(args) => args.json,
            Self::Forget(args) => args.json,
            Self::Status(args) => args.json,
            Self::Plugins(args) => args.json,
            Self::Config(args) => args.json,
            Self::Install(args) => args.json,
            Self::Completions(_) => false,
        };
        if json { Form::Json } else { Form::Text }
    }

    fn database(&self) -> Option<&str> {
        match self {
            Self::Replay(args) => args.db.as_deref(),
            Self::History(args) => args.db.as_deref(),
            Self::Meetings(args) => args.db.as_deref(),
            Self::Resume(args) => args.db.as_deref(),
            Self::DeadLetters(args) => args.db.as_deref(),
            Self::Forget(args) => args.db.as_deref(),
            Self::Status(_)
            | Self::Plugins(_)
            | Self::Config(_)
            | Self::Install(_)
            | Self::Completions(_) => None,
        }
    }
}

/// Runs the command of the command line.
pub(crate) fn main() -> ExitCode {
    logs::install_panic_hook();
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
}

fn run(args: &Args) -> Result<(), Error> {
    if let Command::Completions(of) = &args.command {
        // Completions do not depend on the configuration.
        reject_configuration_options(args)?;
        return completions::run(of, Args::command());
    }
    if let Command::Config(config::Args { reference: true, .. }) = &args.command {
        reject_configuration_options(args)?;
        return config::reference(&Output::new(Form::Text, MultiProgress::new()));
    }
    let loaded = load(args)?;
    let bars = MultiProgress::new();
    logs::to_stderr(&loaded.config.log.filter, &bars)?;
    for ignored in loaded.warnings() {
        tracing::warn!("{ignored}");
    }
    let output = Output::new(args.command.form(), bars);
    match &args.command {
        Command::Replay(args) => replay::run(args, loaded.config, &output),
        Command::History(args) => history::run(args, &loaded.config, &output),
        Command::Meetings(args) => meetings::run(args, &loaded.config, &output),
        Command::Resume(args) => resume::run(args, loaded.config, &output),
        Command::DeadLetters(args) => dead_letters::run(args, loaded.config, &output),
        Command::Forget(args) => forget::run(args, &loaded.config, &output),
        Command::Status(_) => status::run(&loaded.config, &output),
        Command::Plugins(_) => plugins::run(loaded.config, &output),
        Command::Config(_) => config::run(&loaded, &output),
        Command::Install(_) => install::run(&loaded.config, &output),
        Command::Completions(of) => completions::run(of, Args::command()),
    }
}

/// Rejects the options about the configuration, for a command that does not read it.
fn reject_configuration_options(args: &Args) -> Result<(), Error> {
    match args {
        Args { config: Some(_), .. } => Err(Error::NoEffect("--config")),
        Args { verbose: 1.., .. } => Err(Error::NoEffect("--verbose")),
        _ => Ok(()),
    }
}

fn load(args: &Args) -> Result<Loaded, Error> {
    // A variable that is not UTF-8 matters only if its name is one of ours.
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with("TEAMMY_") => return Err(Error::Variable(name)),
            _ => {}
        }
    }
    let mut loader = Loader::default().env(variables);
    if let Some(file) = &args.config {
        loader = loader.file(file);
    }
    if let Some(url) = args.command.database() {
        if url.trim().is_empty() {
            return Err(Error::BlankDatabase);
        }
        loader = loader.set("database.url", url, "--db");
    }
    match args.verbose {
        0 => {}
        1 => loader = loader.set("log.filter", "warn,teammy=info", "--verbose"),
        _ => loader = loader.set("log.filter", "warn,teammy=debug", "--verbose"),
    }
    Ok(loader.load()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Args::command().debug_assert();
    }
}
