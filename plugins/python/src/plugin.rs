//! The host of kind `python`: prepares plugins, and makes their factories.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{FutureExt, future::BoxFuture};
use schemars::{Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teammy_kernel::{
    Error, Factory, Name, StartupCx,
    plugin::{ConfigError, DynamicPlugin, DynamicSpec, PluginHost},
};

use crate::{
    host::{Host, Loaded, Plan},
    instance::Instance,
    package,
    protocol::Described,
    settings::{Settings, Table},
    venv,
};

/// The kind of instances whose plugins are Python packages.
pub const KIND: &str = "python";

/// The factory of kind `python`. Each instance's table names its plugin.
pub fn factory() -> Factory {
    Factory::host(KIND, env!("CARGO_PKG_VERSION"), Python)
}

struct Python;

/// What is known of a plugin on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Prepared {
    /// A digest of the settings and files that this was found with.
    digest: String,
    interpreter: String,
    python: String,
    plugin: Described,
}

#[derive(Debug, thiserror::Error)]
enum Unprepared {
    #[error("{} is not a folder; `path` names the plugin's", .0.display())]
    NoFolder(PathBuf),
    #[error("the path of the interpreter, {}, is not UTF-8", .0.display())]
    Path(OsString),
}

impl PluginHost for Python {
    fn prepare<'a>(&'a self, instance: &'a Name, table: &'a Value) -> BoxFuture<'a, Result<Value, Error>> {
        async move {
            let settings = Settings::read(table).map_err(Error::reject)?;
            if !settings.path.is_dir() {
                return Err(Error::reject(Unprepared::NoFolder(settings.path)));
            }
            let asked = settings.clone();
            let interpreter = tokio::task::spawn_blocking(move || venv::interpreter(&asked)).await?;
            let interpreter = interpreter.map_err(Error::reject)?;
            let plan = plan(instance, &settings, interpreter.clone());
            let Loaded { plugin, python, .. } = Loaded::start(Arc::new(plan)).await.map_err(Error::reject)?;
            let interpreter =
                interpreter.into_string().map_err(|path| Error::reject(Unprepared::Path(path)))?;
            // Importing a plugin may write files beside it.
            let digest = digest(&settings)?;
            Ok(serde_json::to_value(Prepared { digest, interpreter, python, plugin })?)
        }
        .boxed()
    }

    fn is_current(&self, _: &Name, table: &Value, prepared: &Value) -> bool {
        let (Ok(settings), Ok(prepared)) = (Settings::read(table), Prepared::deserialize(prepared)) else {
            return false;
        };
        digest(&settings).is_ok_and(|digest| digest == prepared.digest)
    }

    fn plugin(&self, instance: &Name, table: &Value, prepared: &Value) -> Result<Factory, ConfigError> {
        let settings = Settings::read(table)?;
        let prepared = Prepared::deserialize(prepared).map_err(|_| {
            ConfigError::new("", "what was prepared for it is of another version: run `teammy install`")
        })?;
        let name = instance.as_str().to_owned();
        Ok(Factory::dynamic(name, Plugin { instance: instance.clone(), settings, prepared }))
    }

    fn config_schema(&self) -> Schema {
        schema_for!(Table)
    }
}

/// A digest of what decides how a plugin is prepared: its settings, this program's part of it, and its files.
fn digest(settings: &Settings) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(package::digest().as_bytes());
    add(settings.path.as_os_str().as_encoded_bytes());
    add(settings.python.as_deref().unwrap_or_default().as_encoded_bytes());
    let mut files = Vec::new();
    for name in ["pyproject.toml", "requirements.txt", "uv.lock", "plugin.py", "src/plugin.py"] {
        files.push(settings.path.join(name));
    }
    for package in ["plugin", "src/plugin"] {
        sources(&settings.path.join(package), &mut files)?;
    }
    files.sort();
    for file in files {
        if let Ok(text) = fs::read(&file) {
            add(file.as_os_str().as_encoded_bytes());
            add(&text);
        }
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

/// The Python files in a folder and below it.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            files.push(path);
        }
    }
    Ok(())
}

/// One instance's plugin.
struct Plugin {
    instance: Name,
    settings: Settings,
    prepared: Prepared,
}

fn plan(instance: &Name, settings: &Settings, python: OsString) -> Plan {
    Plan {
        instance: instance.clone(),
        python,
        path: settings.path.clone(),
        memory: settings.memory,
        stall: settings.stall,
        start: settings.start,
        json: settings.json,
    }
}

impl Plugin {
    fn plan(&self) -> Plan {
        plan(&self.instance, &self.settings, self.prepared.interpreter.clone().into())
    }
}

impl DynamicPlugin for Plugin {
    type Instance = Instance;

    fn spec(&self) -> DynamicSpec {
        let Described { version, sources, .. } = &self.prepared.plugin;
        let spec = DynamicSpec::new(KIND, version.clone()).config_schema(schema_for!(Table));
        let spec = if self.settings.needs_llm { spec.needs_llm() } else { spec };
        sources.iter().fold(spec, |spec, source| spec.on(source))
    }

    fn check_config(&self, table: &Value) -> Result<(), ConfigError> {
        Settings::read(table).map(drop)
    }

    async fn on_install(&self) -> Result<(), Error> {
        let mut loaded = Loaded::start(Arc::new(self.plan())).await.map_err(Error::reject)?;
        loaded.install().await.map_err(Error::reject)
    }

    async fn on_startup(&self, _: Value, _: &StartupCx) -> Result<Instance, Error> {
        let host = Host::start(self.plan(), self.settings.config.clone()).await.map_err(Error::reject)?;
        Ok(Instance::new(host))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_of_the_plugin_makes_what_was_prepared_outdated() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("src/plugin");
        fs::create_dir_all(package.join("parts")).unwrap();
        fs::write(package.join("__init__.py"), "a = 1").unwrap();
        let settings = Settings::read(&json!({"path": folder.path()})).unwrap();
        let mut last = digest(&settings).unwrap();
        assert_eq!(digest(&settings).unwrap(), last);
        for (file, text) in [("__init__.py", "a = 2"), ("parts/more.py", ""), ("../../pyproject.toml", "")] {
            fs::write(package.join(file), text).unwrap();
            let now = digest(&settings).unwrap();
            assert_ne!(now, last, "{file}");
            last = now;
        }
        fs::write(package.join("notes.txt"), "x").unwrap();
        assert_eq!(digest(&settings).unwrap(), last);
        let with = Settings::read(&json!({"path": folder.path(), "python": "python3.12"})).unwrap();
        assert_ne!(digest(&with).unwrap(), last);
    }
}
