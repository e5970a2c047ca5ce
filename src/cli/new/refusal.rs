//! Why no plugin is written.

use std::{io, path::PathBuf};

use crate::cli::text::shell_word;

/// Why no plugin is written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewError {
    #[error(
        "a plugin cannot be called {}: its name is made of lower-case letters and digits, begins with a letter, and may have \
         hyphens between its words",
        shell_word(.0)
    )]
    Name(String),
    #[error(
        "a plugin cannot be called {0}, which is a word of the language or of the API; choose a longer name"
    )]
    Taken(String),
    #[error("{} is there already; choose another folder with --out", .0.display())]
    There(PathBuf),
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}
