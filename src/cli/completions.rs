//! `teammy completions`: prints a script with which a shell completes command lines.

use std::io::{self, Write};

use clap_complete::Shell;

use super::error::Error;

const EXAMPLES: &str = "\
Examples:
  teammy completions bash > ~/.local/share/bash-completion/completions/teammy
  teammy completions zsh > \"${fpath[1]}/_teammy\"
  teammy completions fish > ~/.config/fish/completions/teammy.fish";

/// Print a script with which a shell completes this program's command lines
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script for a command line.
pub(crate) fn run(args: &Args, mut command: clap::Command, name: &str) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script).map_err(Error::Output)
}
