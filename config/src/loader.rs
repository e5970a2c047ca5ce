//! Puts the layers together: defaults, a file, variables, options.

#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use figment::Figment;

use crate::{
    Config, Error, Setting, database,
    error::{DataDirectoryError, Problem},
    keys,
    layer::Layer,
    reader::Reader,
    show,
};

/// The file that is read where none is given, if it is there.
const FILE: &str = "teammy.toml";

/// Where the configuration is read from. The default reads `teammy.toml` in the working directory, if there is one.
///
/// The environment is handed in, so that the program decides what is read of it:
/// ```no_run
/// use teammy_config::Loader;
/// let variables = std::env::vars_os().filter_map(|(name, value)| {
///     Some((name.into_string().ok()?, value.into_string().ok()?))
/// });
/// let loaded = Loader::default().env(variables).load()?;
/// for setting in loaded.settings() {
///     println!("{} = {} ({})", setting.key, setting.value, setting.origin);
/// }
/// # Ok::<(), teammy_config::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Loader {
    file: File,
    variables: Vec<(String, String)>,
    options: Vec<(String, String, String)>,
    data_directory: Option<PathBuf>,
}

#[derive(Clone, Default)]
enum File {
    #[default]
    IfThere,
    Given(PathBuf),
    Text {
        origin: String,
        text: String,
    },
    None,
}

/// A configuration, and where each of its values comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    settings: Vec<Setting>,
}

impl Loaded {
    /// Every key with its value and its origin, in the order of `default.toml`; secrets are masked.
    pub fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }
}

impl Loader {
    /// Reads this file instead; it must be there.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = File::Given(path.into());
        self
    }

    /// Reads no file.
    #[must_use]
    pub fn no_file(mut self) -> Self {
        self.file = File::None;
        self
    }

    /// Reads this text instead of a file; messages call it `origin`.
    #[must_use]
    pub fn text(mut self, origin: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = File::Text { origin: origin.into(), text: text.into() };
        self
    }

    /// Reads these environment variables; those that don't start with `TEAMMY_` are left alone.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.variables
            .extend(variables.into_iter().filter(|(name, _)| name.starts_with(keys::VARIABLE_PREFIX)));
        self.variables.sort();
        self
    }

    /// Sets one key over everything else, as an option of the program does; messages call it `origin`.
    #[must_use]
    pub fn set(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
        origin: impl Into<String>,
    ) -> Self {
        self.options.push((key.into(), value.into(), origin.into()));
        self
    }

    /// Puts the default database under this directory instead of the user's data directory.
    #[must_use]
    pub fn data_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_directory = Some(directory.into());
        self
    }

    /// Reads and checks it all.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Read`], [`Error::NotUtf8`] or [`Error::Syntax`] for the file;
    /// [`Error::Invalid`] with everything that is wrong with keys and values; [`Error::NoDataDirectory`].
    pub fn load(&self) -> Result<Loaded, Error> {
        let (mut config, mut settings) = self.read()?;
        if config.database.url.is_none() {
            let url = default_database(self.data_directory.as_deref())?;
            for setting in settings.iter_mut().filter(|setting| setting.key == "database.url") {
                setting.value = show::quoted(&url.to_string());
                "default".clone_into(&mut setting.origin);
            }
            config.database.url = Some(url);
        }
        Ok(Loaded { config, settings })
    }

    /// All but finding the default database, for which the environment is needed.
    pub(crate) fn read(&self) -> Result<(Config, Vec<Setting>), Error> {
        let mut problems = Vec::new();
        let defaults = Figment::from(Layer::toml("default", crate::REFERENCE, &mut problems)?);
        let mut merged = defaults.clone();
        if let Some((origin, text)) = self.file.read()? {
            merged = merged.merge(Layer::toml(&origin, &text, &mut problems)?);
        }
        for (name, value) in &self.variables {
            if let Some(layer) = variable(name, value, &mut problems) {
                merged = merged.merge(layer);
            }
        }
        for (key, value, origin) in &self.options {
            if keys::KEYS.contains(&key.as_str()) {
                merged = merged.merge(Layer::text(origin, key, value.clone()));
            } else {
                problems.push(Problem::new(origin, key.as_str(), keys::unknown(key)));
            }
        }

        let mut reader = Reader::new(defaults, merged, problems);
        let config = Config::read(&mut reader);
        if reader.problems.is_empty() {
            Ok((config, reader.settings))
        } else {
            Err(Error::Invalid(reader.problems))
        }
    }
}

/// Variables may hold secrets, so none is shown.
impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

impl File {
    /// The text and what messages call it.
    fn read(&self) -> Result<Option<(String, String)>, Error> {
        let (path, must_exist) = match self {
            Self::None => return Ok(None),
            Self::Text { origin, text } => return Ok(Some((origin.clone(), text.clone()))),
            Self::IfThere => (Path::new(FILE), false),
            Self::Given(path) => (path.as_path(), true),
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if must_exist { Err(Error::Missing { path: path.to_owned() }) } else { Ok(None) };
            }
            Err(error) => return Err(Error::Read { path: path.to_owned(), error }),
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((path.display().to_string(), text))),
            Err(error) => {
                let right = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = right.split(|byte| *byte == b'\n').count();
                Err(Error::NotUtf8 { path: path.to_owned(), line })
            }
        }
    }
}

fn variable(name: &str, value: &str, problems: &mut Vec<Problem>) -> Option<Layer> {
    let origin = format!("environment variable {}", show::cut(name));
    if let Some(key) = keys::KEYS.iter().find(|key| keys::variable(key) == name) {
        return Some(Layer::text(&origin, key, value.to_owned()));
    }
    let rest = name.strip_prefix(keys::VARIABLE_PREFIX).unwrap_or(name).to_lowercase();
    let first = rest.split("__").next().unwrap_or_default();
    let is_list = keys::LISTS.iter().any(|list| first == *list || first.strip_suffix('s') == Some(list));
    let problem = if is_list {
        format!(
            "cannot be used: plugins and sources are listed in a file, as [[plugin]] and [[source]] in {FILE}"
        )
    } else {
        keys::unknown_variable(name)
    };
    problems.push(Problem::new(&origin, "", problem));
    None
}

/// `teammy/db` under a directory, by default the user's data directory.
pub(crate) fn default_database(data_directory: Option<&Path>) -> Result<database::Url, Error> {
    let data = match data_directory {
        Some(directory) => directory.to_owned(),
        None => etcetera::choose_base_strategy()
            .map_err(|_| Error::NoDataDirectory(DataDirectoryError::NoHome))?
            .data_dir(),
    };
    database::Url::embedded(data.join("teammy").join("db"))
        .map_err(|error| Error::NoDataDirectory(DataDirectoryError::Path(error)))
}
