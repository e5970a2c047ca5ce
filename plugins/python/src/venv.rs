//! The interpreter of a plugin, and the virtual environment that is made for one with dependencies.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The file that tells a virtual environment that was made here from one of the plugin's author.
const MARK: &str = "teammy.json";

/// Why there is no interpreter for a plugin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{what} does not run: is it installed?")]
    Program {
        what: String,
        #[source]
        error: io::Error,
    },
    #[error("`{command}` failed: {says}")]
    Failed { command: String, says: String },
    #[error(
        "Python {0} is too old for plugins: name one of version 3.10 or later with `python` in the instance's table"
    )]
    TooOld(String),
    #[error(
        "the plugin's dependencies are locked in uv.lock, and `uv` is not installed; install it, or write them to \
         requirements.txt with `uv export --format requirements-txt`"
    )]
    NoUv,
    #[error("pyproject.toml cannot be read: {0}")]
    Project(String),
    #[error("{}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

/// What a virtual environment was made of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    requirements: String,
    is_complete: bool,
}

/// What a plugin's folder says of its dependencies.
#[derive(Debug, Default)]
struct Said {
    uv_lock: Option<String>,
    requirements: Option<String>,
    project: Option<String>,
}

/// How dependencies are installed: the arguments of pip, or of uv.
#[derive(Debug, PartialEq, Eq)]
enum Install {
    /// There are none.
    Nothing,
    /// As uv's lock says.
    Locked,
    /// From requirements.txt; with hashes if each has one, which pip and uv find out by themselves.
    Requirements,
    /// These, out of pyproject.toml.
    Listed(Vec<String>),
    /// The project as a whole, by the program that builds it.
    Project,
}

/// The part of a pyproject.toml that matters here.
#[derive(Deserialize)]
struct PyProject {
    project: Option<Project>,
    #[serde(rename = "build-system")]
    build: Option<toml::Table>,
}

#[derive(Deserialize)]
struct Project {
    dependencies: Option<Vec<String>>,
}

impl Said {
    fn read(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::File { path, error }),
            }
        };
        Ok(Self {
            uv_lock: read("uv.lock")?,
            requirements: read("requirements.txt")?,
            project: read("pyproject.toml")?,
        })
    }

    /// How the dependencies are installed.
    fn install(&self) -> Result<Install, Error> {
        if self.uv_lock.is_some() {
            return Ok(Install::Locked);
        }
        if let Some(requirements) = &self.requirements {
            let lines = requirements.lines().map(str::trim);
            let has_any = lines.into_iter().any(|line| !line.is_empty() && !line.starts_with('#'));
            return Ok(if has_any { Install::Requirements } else { Install::Nothing });
        }
        let Some(project) = &self.project else { return Ok(Install::Nothing) };
        let project: PyProject =
            toml::from_str(project).map_err(|error| Error::Project(error.message().to_owned()))?;
        Ok(match project.project.and_then(|project| project.dependencies) {
            Some(listed) => {
                // The host brings the package `teammy`. Another project has that name on PyPI.
                let others: Vec<String> = listed.into_iter().filter(|line| name(line) != "teammy").collect();
                if others.is_empty() { Install::Nothing } else { Install::Listed(others) }
            }
            None if project.build.is_some() => Install::Project,
            None => Install::Nothing,
        })
    }

    /// A digest of all that decides what is installed.
    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.uv_lock, &self.requirements, &self.project] {
            // 0 is for a file that is not there.
            hasher.update(&text.as_ref().map_or(0, |text| text.len() as u64 + 1).to_le_bytes());
            hasher.update(text.as_deref().unwrap_or_default().as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

/// The name of the project that a requirement is for, as PEP 503 compares them.
fn name(requirement: &str) -> String {
    let end = requirement.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    let name = requirement[..end.unwrap_or(requirement.len())].to_ascii_lowercase();
    name.replace(['_', '.'], "-")
}

/// The interpreter of a plugin. Makes the virtual environment if the plugin has dependencies and none is named.
/// Blocks, for as long as it takes to install them.
pub(crate) fn interpreter(settings: &Settings) -> Result<OsString, Error> {
    if let Some(named) = &settings.python {
        return Ok(named.clone());
    }
    let venv = settings.path.join(".venv");
    let python = venv.join("bin/python");
    let said = Said::read(&settings.path)?;
    let digest = said.digest();
    match (mark(&venv), python.exists()) {
        // It is the author's own.
        (None, true) => return Ok(python.into()),
        (Some(mark), true) if mark == (Mark { requirements: digest.clone(), is_complete: true }) => {
            return Ok(python.into());
        }
        _ => {}
    }
    let install = said.install()?;
    if install == Install::Nothing {
        return Ok("python3".into());
    }
    if venv.exists() && mark(&venv).is_some() {
        fs::remove_dir_all(&venv).map_err(|error| Error::File { path: venv.clone(), error })?;
    }
    let uv = run(OsStr::new("uv"), &["--version"], &settings.path).is_ok();
    if install == Install::Locked && !uv {
        return Err(Error::NoUv);
    }
    make(&settings.path, &venv, &install, uv, &digest)?;
    Ok(python.into())
}

fn mark(venv: &Path) -> Option<Mark> {
    serde_json::from_slice(&fs::read(venv.join(MARK)).ok()?).ok()
}

/// Makes the virtual environment and installs the dependencies.
fn make(folder: &Path, venv: &Path, install: &Install, uv: bool, requirements: &str) -> Result<(), Error> {
    let says =
        run(OsStr::new("python3"), &["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], folder)?;
    let version = says.trim();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (3, 10) {
        return Err(Error::TooOld(version.to_owned()));
    }
    let venv_text = venv.to_string_lossy().into_owned();
    if uv {
        run(OsStr::new("uv"), &["venv", "--quiet", &venv_text], folder)?;
    } else {
        run(OsStr::new("python3"), &["-m", "venv", &venv_text], folder)?;
    }
    let write = |is_complete| {
        let path = venv.join(MARK);
        let text = serde_json::to_vec(&Mark { requirements: requirements.to_owned(), is_complete });
        fs::write(&path, text.unwrap_or_default()).map_err(|error| Error::File { path, error })
    };
    write(false)?;
    let python = venv.join("bin/python");
    let python_text = python.to_string_lossy().into_owned();
    let (program, mut arguments): (&OsStr, Vec<&str>) = if uv {
        (OsStr::new("uv"), vec!["pip", "install", "--quiet", "--python", &python_text])
    } else {
        (
            python.as_os_str(),
            vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"],
        )
    };
    match install {
        Install::Nothing => {}
        Install::Locked => {
            arguments = vec![
                "sync",
                "--quiet",
                "--frozen",
                "--no-dev",
                "--no-install-project",
                "--python",
                &python_text,
            ];
        }
        Install::Requirements => arguments.extend(["-r", "requirements.txt"]),
        Install::Listed(listed) => arguments.extend(listed.iter().map(String::as_str)),
        Install::Project => arguments.push("."),
    }
    run(program, &arguments, folder)?;
    write(true)
}

/// Runs a program; returns what it printed.
fn run(program: &OsStr, arguments: &[&str], folder: &Path) -> Result<String, Error> {
    let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    // uv would take the environment of whoever runs this program.
    command.env_remove("VIRTUAL_ENV");
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| Error::Program { what: name.clone(), error })?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&stderr);
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let errors: Vec<&str> =
        lines.clone().filter(|line| line.to_ascii_lowercase().starts_with("error")).collect();
    let says = match &*errors {
        [] => lines.next_back().unwrap_or("it said nothing").to_owned(),
        errors => errors.join("; "),
    };
    Err(Error::Failed { command: format!("{name} {}", arguments.join(" ")), says })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(uv_lock: Option<&str>, requirements: Option<&str>, project: Option<&str>) -> Said {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Said { uv_lock: owned(uv_lock), requirements: owned(requirements), project: owned(project) }
    }

    #[test]
    fn the_folder_says_how_dependencies_are_installed() {
        let install = |said: Said| said.install().unwrap();
        assert_eq!(install(said(None, None, None)), Install::Nothing);
        assert_eq!(install(said(Some(""), Some("numpy"), None)), Install::Locked);
        assert_eq!(install(said(None, Some("# none\n\n"), None)), Install::Nothing);
        assert_eq!(
            install(said(None, Some("numpy==2.0 --hash=sha256:0"), Some("oops"))),
            Install::Requirements
        );
        let project = "[project]\nname = \"p\"\ndependencies = [\"teammy\", \"Teammy>=0.2\", \"numpy>=2\"]";
        assert_eq!(install(said(None, None, Some(project))), Install::Listed(vec!["numpy>=2".to_owned()]));
        assert_eq!(install(said(None, None, Some("[project]\ndependencies = []"))), Install::Nothing);
        assert_eq!(install(said(None, None, Some("[tool.pytest.ini_options]"))), Install::Nothing);
        let poetry = "[tool.poetry]\nname = \"p\"\n[build-system]\nrequires = [\"poetry-core\"]";
        assert_eq!(install(said(None, None, Some(poetry))), Install::Project);
        assert!(matches!(said(None, None, Some("[project")).install(), Err(Error::Project(_))));
    }

    #[test]
    fn a_change_of_any_file_changes_the_digest() {
        let digests: std::collections::BTreeSet<String> = [
            said(None, None, None),
            said(Some(""), None, None),
            said(None, Some(""), None),
            said(None, None, Some("")),
            said(None, Some("a"), None),
        ]
        .iter()
        .map(Said::digest)
        .collect();
        assert_eq!(digests.len(), 5);
    }

    #[test]
    fn names_of_requirements_are_compared_without_their_versions() {
        for (requirement, is) in
            [("teammy", "teammy"), ("Teammy>=1", "teammy"), ("a_b.c[x]==1; x", "a-b-c"), ("t @ x", "t")]
        {
            assert_eq!(name(requirement), is);
        }
    }
}
