//! The program: every command of `teammy`, for a binary of your own with plugins of your own.
//!
//! ```no_run
//! use std::{convert::Infallible, process::ExitCode};
//!
//! use teammy::{Factory, Hooks, InCallPlugin, StartupCx, cli::Program, plugin::Error};
//!
//! /// Does nothing.
//! struct Idle;
//!
//! impl InCallPlugin for Idle {
//!     type Config = ();
//!     type State = ();
//!     type Scratch = ();
//!     type Output = Infallible;
//!     const KIND: &'static str = "idle";
//!     const VERSION: &'static str = "1.0.0";
//!     async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!     fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
//!         hooks
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Program::new("meetings", env!("CARGO_PKG_VERSION"))
//!         .plugins(teammy::plugins::bundle())
//!         .plugin(Factory::of::<Idle>("idle"))
//!         .main()
//! }
//! ```
//!
//! Results go to stdout, as one JSON object a line with `--json`. What is only for people (progress, the
//! table at the end, warnings, the log) goes to stderr. The help text lists the exit codes.

#[cfg(feature = "cluster")]
mod certs;
mod client;
#[cfg(feature = "cluster")]
mod cluster;
mod completions;
mod config;
mod dead_letters;
mod error;
mod failures;
mod forget;
mod history;
mod host;
mod install;
mod keys;
mod logs;
mod meetings;
mod metrics;
mod new;
#[cfg(feature = "service")]
mod node;
mod output;
mod pace;
mod packets;
mod plugin_set;
mod plugins;
mod recording;
mod replay;
mod resume;
mod select;
mod signal;
mod status;
mod summary;
mod text;
mod traces;
mod usage;

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, builder::StyledStr};
use indicatif::MultiProgress;
use teammy::{
    Builder, Factory,
    config::{Loaded, Loader},
    graph::Bundle,
};

use error::Error;
use output::{Form, Output};
use plugin_set::PluginSet;

/// The name in the texts of this crate.
const NAME: &str = "teammy";

const AFTER_HELP: &str = "\
Examples:
  teammy replay standup.vtt --db mem://   play a transcript, and keep nothing
  teammy history standup --last 20        what is stored of a meeting
  teammy plugins                          the plugins of this build

Exit codes: 0 done; 1 failed; 2 bad usage, configuration or input; 3 a replay was played, but instances failed or \
its outputs are not the expected ones; 130 and 143 stopped by Ctrl-C or SIGTERM; \
141 the reader of the output closed it.

Configuration: teammy.toml in the working directory or the file given to --config, then TEAMMY_… environment \
variables; `teammy config` shows every key, its value and where it comes from.";

/// Hosts in-call plugins for online meetings.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP)]
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
    /// Serve meetings over the network until a signal stops it
    #[cfg(feature = "service")]
    Node(node::Args),
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
    /// Show what requests to language models have cost
    Usage(usage::Args),
    /// Make, show, rotate and revoke the keys of the network API
    Key(keys::Args),
    /// Show the status of the node that runs on this machine
    Status(status::Args),
    /// Show the nodes of the cluster that the node on this machine is part of
    #[cfg(feature = "cluster")]
    Cluster(cluster::ShowArgs),
    /// Have a node of the cluster hand its meetings over to the others and take none
    #[cfg(feature = "cluster")]
    Drain(cluster::DrainArgs),
    /// Have a meeting run on another node of the cluster
    #[cfg(feature = "cluster")]
    Move(cluster::MoveArgs),
    /// Make certificates for the links between nodes
    #[cfg(feature = "cluster")]
    Certs(certs::Args),
    /// Show the plugins and the configured instances
    Plugins(plugins::Args),
    /// Show every setting, and where its value comes from
    Config(config::Args),
    /// Prepare every plugin of this build on this machine, and write a manifest of it
    Install(install::Args),
    /// Write a plugin to begin with, in Python or in Rust
    New(new::Args),
    /// Print a script with which a shell completes this program's command lines
    Completions(completions::Args),
}

impl Command {
    fn form(&self) -> Form {
        let json = match self {
            Self::Replay(args) => args.json,
            #[cfg(feature = "service")]
            Self::Node(args) => args.json,
            Self::History(args) => args.json,
            Self::Meetings(args) => args.json,
            Self::Resume(args) => args.json,
            Self::DeadLetters(args) => args.json,
            Self::Forget(args) => args.json,
            Self::Usage(args) => args.json,
            Self::Key(args) => args.json,
            Self::Status(args) => args.json,
            #[cfg(feature = "cluster")]
            Self::Cluster(args) => args.json,
            #[cfg(feature = "cluster")]
            Self::Drain(args) => args.json,
            #[cfg(feature = "cluster")]
            Self::Move(args) => args.json,
            #[cfg(feature = "cluster")]
            Self::Certs(args) => args.json,
            Self::Plugins(args) => args.json,
            Self::Config(args) => args.json,
            Self::Install(args) => args.json,
            Self::New(args) => args.json,
            Self::Completions(_) => false,
        };
        if json { Form::Json } else { Form::Text }
    }

    /// Whether hooks may run, of which traces tell.
    fn runs_meetings(&self) -> bool {
        match self {
            Self::Replay(_) | Self::Resume(_) | Self::DeadLetters(_) => true,
            #[cfg(feature = "service")]
            Self::Node(_) => true,
            _ => false,
        }
    }

    fn database(&self) -> Option<&str> {
        match self {
            Self::Replay(args) => args.db.as_deref(),
            #[cfg(feature = "service")]
            Self::Node(args) => args.db.as_deref(),
            Self::History(args) => args.db.as_deref(),
            Self::Meetings(args) => args.db.as_deref(),
            Self::Resume(args) => args.db.as_deref(),
            Self::DeadLetters(args) => args.db.as_deref(),
            Self::Forget(args) => args.db.as_deref(),
            Self::Usage(args) => args.db.as_deref(),
            Self::Key(args) => args.db.as_deref(),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) | Self::Drain(_) | Self::Move(_) | Self::Certs(_) => None,
            Self::Status(_)
            | Self::Plugins(_)
            | Self::Config(_)
            | Self::Install(_)
            | Self::New(_)
            | Self::Completions(_) => None,
        }
    }
}

/// Runs the command of the command line, with these plugins, under the name of the binary and Teammy's version.
/// [`Program`] says more.
pub fn main(plugins: impl Into<Bundle>) -> ExitCode {
    let binary = std::env::args_os().next().map(PathBuf::from);
    let name = binary.as_deref().and_then(|path| path.file_stem()?.to_str()).unwrap_or(NAME);
    Program::new(name, env!("CARGO_PKG_VERSION")).plugins(plugins).main()
}

/// A program with every command of `teammy`: replay, node (with feature `service`), history, meetings, resume, dead letters, forget, usage,
/// key, status, cluster, drain, move and certs (with feature `cluster`), plugins, config, install, new, completions.
///
/// It reads `teammy.toml` and `TEAMMY_…` variables as `teammy` does. It logs to stderr, installs a panic hook that
/// leaves out what a message may quote, and handles signals: one process runs one program.
pub struct Program {
    name: String,
    version: String,
    plugins: PluginSet,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("plugins", self.plugins.bundle())
            .finish_non_exhaustive()
    }
}

impl Program {
    /// A program without plugins. Its help and its hints call it by this name, which is the binary's.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), plugins: Bundle::default().into() }
    }

    /// Adds plugins, such as all that ship with Teammy ([`plugins::bundle`](crate::plugins::bundle)).
    #[must_use]
    pub fn plugins(mut self, bundle: impl Into<Bundle>) -> Self {
        self.plugins.bundle = std::mem::take(&mut self.plugins.bundle).and(bundle);
        self
    }

    /// Adds a plugin.
    #[must_use]
    pub fn plugin(self, factory: Factory) -> Self {
        self.plugins([factory])
    }

    /// Prepares each node further, before it starts: with [resources](Builder::resource) for its plugins, or a
    /// [language model](Builder::llm) of your own. A later call replaces an earlier one.
    #[must_use]
    pub fn node(mut self, prepare: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        self.plugins.prepare = Box::new(prepare);
        self
    }

    /// Runs the command of the process's command line, prints its results and errors, and returns the exit code.
    /// It does not return where the command line is wrong or asks for help.
    pub fn main(self) -> ExitCode {
        logs::install_panic_hook();
        let args = Args::from_arg_matches(&self.command().get_matches());
        let args = args.unwrap_or_else(|error| error.exit());
        match self.run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.exit(&self.name),
        }
    }

    /// The command line, under the program's name.
    fn command(&self) -> clap::Command {
        named(Args::command(), &self.name).name(self.name.clone()).version(self.version.clone())
    }

    fn run(&self, args: &Args) -> Result<(), Error> {
        if let Command::Completions(of) = &args.command {
            // Completions do not depend on the configuration.
            reject_configuration_options(args)?;
            return completions::run(of, self.command(), &self.name);
        }
        if let Command::Config(config::Args { reference: true, .. }) = &args.command {
            reject_configuration_options(args)?;
            let output = Output::new(Form::Text, MultiProgress::new());
            return config::reference(self.plugins.bundle(), &output);
        }
        let loaded = load(args, &self.name)?;
        let bars = MultiProgress::new();
        let log = &loaded.config.log;
        let export = if args.command.runs_meetings() { traces::export(&loaded.config.traces)? } else { None };
        let (spans, _exporter) = export.unzip();
        logs::to_stderr(&log.filter, log.format, &bars, spans)?;
        for ignored in loaded.warnings() {
            tracing::warn!("{ignored}");
        }
        let output = Output::new(args.command.form(), bars);
        match &args.command {
            Command::Replay(args) => replay::run(args, &self.plugins, loaded.config, &output),
            #[cfg(feature = "service")]
            Command::Node(args) => node::run(args, &self.plugins, loaded.config, &output),
            Command::History(args) => history::run(args, &loaded.config, &output),
            Command::Meetings(args) => meetings::run(args, &loaded.config, &output),
            Command::Resume(args) => resume::run(args, &self.plugins, loaded.config, &output),
            Command::DeadLetters(args) => dead_letters::run(args, &self.plugins, loaded.config, &output),
            Command::Forget(args) => forget::run(args, &loaded.config, &output),
            Command::Usage(args) => usage::run(args, &loaded.config, &output),
            Command::Key(args) => keys::run(args, &loaded.config, &output),
            Command::Status(_) => status::run(&loaded.config, &output),
            #[cfg(feature = "cluster")]
            Command::Cluster(_) => cluster::show(&loaded.config, &output),
            #[cfg(feature = "cluster")]
            Command::Drain(args) => cluster::drain(args, &loaded.config, &output),
            #[cfg(feature = "cluster")]
            Command::Move(args) => cluster::move_to(args, &loaded.config, &output),
            #[cfg(feature = "cluster")]
            Command::Certs(args) => certs::run(args, &output),
            Command::Plugins(_) => plugins::run(&self.plugins, loaded.config, &output),
            Command::Config(_) => config::run(&loaded, &output),
            Command::Install(_) => install::run(self.plugins.bundle(), &loaded.config, &output),
            Command::New(args) => new::run(args, &output),
            Command::Completions(of) => completions::run(of, self.command(), &self.name),
        }
    }
}

/// Calls the program by this name in the help of a command and of those below it.
fn named(mut command: clap::Command, name: &str) -> clap::Command {
    let of_shells = command.get_name() == "completions";
    let renamed = |text: Option<&StyledStr>| {
        let text = text?.to_string();
        // Elsewhere the name alone is a part of other names, such as that of the configuration's file.
        Some(if of_shells { text.replace(NAME, name) } else { text.replace("teammy ", &format!("{name} ")) })
    };
    if let Some(help) = renamed(command.get_after_help()) {
        command = command.after_help(help);
    }
    if let Some(about) = renamed(command.get_about()) {
        command = command.about(about);
    }
    command = command.mut_args(|argument| match renamed(argument.get_help()) {
        Some(help) => argument.help(help),
        None => argument,
    });
    command.mut_subcommands(|command| named(command, name))
}

/// Rejects the options about the configuration, for a command that does not read it.
fn reject_configuration_options(args: &Args) -> Result<(), Error> {
    match args {
        Args { config: Some(_), .. } => Err(Error::NoEffect("--config")),
        Args { verbose: 1.., .. } => Err(Error::NoEffect("--verbose")),
        _ => Ok(()),
    }
}

fn load(args: &Args, program: &str) -> Result<Loaded, Error> {
    // A variable that is not UTF-8 matters only if its name is one of ours.
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            // It is no setting: a replay into nodes reads it.
            #[cfg(feature = "cluster")]
            (Ok(name), Ok(_)) if name == replay::KEY_VARIABLE => {}
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
    let level = match args.verbose {
        0 => None,
        1 => Some("info"),
        _ => Some("debug"),
    };
    if let Some(level) = level {
        // The plugins of another program log under its crate's name.
        let own =
            if program == NAME { String::new() } else { format!(",{}={level}", program.replace('-', "_")) };
        loader = loader.set("log.filter", format!("warn,teammy={level}{own}"), "--verbose");
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

    #[test]
    fn a_program_is_called_by_its_name() {
        let mut command = Program::new("meetings", "1.2.3").command();
        command.build();
        let help = command.render_long_help().to_string();
        assert!(help.contains("meetings replay standup.vtt --db mem://"), "{help}");
        assert!(help.contains("teammy.toml in the working directory") && !help.contains("teammy "), "{help}");
        assert_eq!(command.render_version(), "meetings 1.2.3\n");
        for subcommand in command.get_subcommands_mut() {
            let help = subcommand.render_long_help().to_string();
            assert!(!help.contains("teammy ") && !help.contains("_teammy"), "{help}");
        }
    }
}
