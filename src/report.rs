//! The error of a `main` function.

use std::{error::Error, fmt};

/// Any error, for `fn main() -> Result<(), Report>`: Rust prints a `main`'s error with `Debug`, and this one's is
/// the error with its causes, as [`chain`](crate::chain) shows them.
///
/// # Examples
/// ```
/// use teammy::{MeetingId, Report, config::Config};
///
/// fn start() -> Result<(), Report> {
///     MeetingId::new("standup")?;
///     Config::from_toml("hooks.trys = 5")?;
///     Ok(())
/// }
///
/// let report = start().unwrap_err();
/// assert!(format!("{report:?}").ends_with("did you mean hooks.tries?"));
/// ```
pub struct Report(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Report {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&teammy_kernel::chain(&*self.0))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
