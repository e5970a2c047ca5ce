//! Merges the layers: a file, variables, options. A key that none of them gives has its default.

#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use figment::Figment;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    error::{DataDirectoryError, Error, Problem},
    known_keys::KnownKeys,
    layer::Layer,
    places,
    reader::{Reader, Setting, Variables},
    section::VARIABLE_PREFIX,
    sections::Config,
    show,
    variables::{Ignored, IgnoredVariables, VariableUse},
};

/// The file that is read by default, if it exists.
const FILE: &str = "teammy.toml";

/// Where the configuration is read from; by default from `teammy.toml` in the working directory, if there is
/// one.
///
/// The caller passes the environment, and so decides which variables count:
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
    variables: Variables,
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

/// A configuration, with the origin of each value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    settings: Vec<Setting>,
    warnings: Vec<IgnoredVariables>,
}

impl Loaded {
    /// Every key with its value and its origin, in the order of `default.toml`; secrets are masked.
    pub fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    /// The environment variables that were ignored although they start with `TEAMMY_`. Nothing else reports
    /// them: log them.
    pub fn warnings(&self) -> &[IgnoredVariables] {
        &self.warnings
    }

    /// Fills in the default database and manifest, which are in the user's data directory. A user without a
    /// home has none; then the command that needs one of them reports it.
    fn find_places(&mut self, data: Result<PathBuf, DataDirectoryError>) -> Result<(), Error> {
        let Ok(data) = data else { return Ok(()) };
        let mut fill = |key: &str, value: String| {
            let setting = self.settings.iter_mut().filter(|setting| setting.key == key);
            setting.for_each(|setting| {
                setting.value.clone_from(&value);
                "default".clone_into(&mut setting.origin);
            });
        };
        if self.config.install.manifest.is_none() {
            let path = places::manifest(&data);
            fill("install.manifest", show::quoted(&path.display()));
            self.config.install.manifest = Some(path);
        }
        if self.config.database.url.is_none() {
            let url = places::database(Ok(data))?;
            fill("database.url", show::quoted(&url));
            self.config.database.url = Some(url);
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::from_toml("").expect("invariant: the defaults are valid")
    }
}

impl Config {
    /// The defaults with this text over them. It reads no file and no environment.
    ///
    /// # Errors
    /// [`Error::Syntax`], [`Error::Invalid`].
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Loader::default().text("configuration", text).read().map(|loaded| loaded.config)
    }
}

impl Loader {
    /// Reads this file instead; it must exist.
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

    /// Reads this text instead of a file. Messages name it `origin`.
    #[must_use]
    pub fn text(mut self, origin: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = File::Text { origin: origin.into(), text: text.into() };
        self
    }

    /// Reads these environment variables. Those that start with `TEAMMY_` set keys: `TEAMMY_HOOKS__TRIES` sets
    /// `hooks.tries`. If one sets no key, it is
    /// - an error if its first word is a table of the configuration (`TEAMMY_HOOKS__TRYS`, `TEAMMY_HOOKS_TRIES`),
    ///   or if it is nearly a key's variable (`TEAMMY_HOKS__TRIES`);
    /// - ignored otherwise, with a [warning](Loaded::warnings), because another program may have set it. So are
    ///   all that Kubernetes sets for a service, whatever their first word: `TEAMMY_SERVICE_HOST`,
    ///   `TEAMMY_NODE_PORT_80_TCP_ADDR`.
    ///
    /// Of the other variables, only those that the configuration names count, such as a model's `api_key_env`.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name, SecretString::from(value))));
        self
    }

    /// Sets one key over everything else, as an option of the program does. Messages name it `origin`.
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

    /// Puts the default database and manifest under this directory instead of the user's data directory.
    #[must_use]
    pub fn data_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_directory = Some(directory.into());
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Read`], [`Error::NotUtf8`] or [`Error::Syntax`] for the file;
    /// [`Error::Invalid`] with everything that is wrong with keys and values; [`Error::NoDataDirectory`].
    pub fn load(&self) -> Result<Loaded, Error> {
        let mut loaded = self.read()?;
        loaded.find_places(places::data_directory(self.data_directory.as_deref()))?;
        Ok(loaded)
    }

    /// Reads everything but the user's data directory, which the environment decides.
    pub(crate) fn read(&self) -> Result<Loaded, Error> {
        let mut problems = Vec::new();
        let known = KnownKeys::new(Config::sections());
        let mut merged = Figment::new();
        if let Some((origin, text)) = self.file.read()? {
            merged = merged.merge(Layer::toml(&origin, &text, &known, &mut problems)?);
        }
        let mut ignored = Ignored::default();
        for (name, value) in self.variables.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)) {
            let origin = format!("environment variable {}", show::cut(name));
            let value = value.expose_secret();
            match VariableUse::of(name, value, &known) {
                VariableUse::Key(key) => merged = merged.merge(Layer::untyped(&origin, &key, value)),
                VariableUse::Mistake(problem) => problems.push(Problem::new(&origin, "", problem)),
                VariableUse::Service(service) => ignored.service(service, name),
                VariableUse::Foreign(reason) => ignored.other(name, reason),
            }
        }
        for (key, value, origin) in &self.options {
            if known.is_key(key) {
                merged = merged.merge(Layer::untyped(origin, key, value));
            } else {
                problems.push(Problem::new(origin, key.as_str(), known.unknown(key)));
            }
        }

        let mut reader = Reader::new(merged, self.variables.clone(), problems);
        let config = Config::read(&mut reader);
        if reader.problems.is_empty() {
            Ok(Loaded { config, settings: reader.settings, warnings: ignored.warnings() })
        } else {
            Err(Error::Invalid(reader.problems))
        }
    }
}

/// Shows no variable, since any may hold a secret.
impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

impl File {
    /// The origin for messages, and the text.
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
