//! Installs plugins: once per machine, when its image is built, instead of at every start.
//!
//! [`install`] runs a plugin's `on_install`. The [`Manifest`] lists the installed plugins with their version
//! and metadata. A plugin that is not in it, or that is of another build, must be installed again. Another
//! build is recognised by the version of Teammy, the plugin's version and its metadata: if only `on_install`
//! changes, give the plugin another version.

use std::{
    collections::BTreeMap,
    fs, io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use futures::FutureExt;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Factory, Name, error_classes,
    plugin::{ConfigError, PluginHost},
};

/// Why a plugin could not be installed, or a manifest could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plugin's hooks are invalid, so it has no metadata.
    #[error("plugin {kind} cannot be installed: {problem}")]
    Metadata {
        /// The plugin.
        kind: String,
        /// What is wrong.
        problem: String,
    },
    /// `on_install` failed.
    #[error("installing plugin {kind} failed: {cause}")]
    Failed {
        /// The plugin.
        kind: String,
        /// The error that it returned, or that it panicked.
        cause: String,
    },
    /// The manifest cannot be read.
    #[error("cannot read the manifest of installed plugins, {}", .path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The manifest cannot be written.
    #[error("cannot write the manifest of installed plugins, {}", .path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

error_classes!(Error {
    Self::Metadata { .. } => "faulty-hooks" Invalid,
    Self::Failed { .. } => "not-installed" Internal,
    Self::Read { .. } => "manifest-unreadable" Internal,
    Self::Write { .. } => "manifest-unwritable" Internal,
});

/// The plugins that are installed on a machine. Its file is JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of Teammy that wrote it.
    teammy: String,
    /// The plugins: by kind, or of a host by kind and instance.
    plugins: BTreeMap<String, Installed>,
    /// What hosts have prepared, by kind and instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prepared: BTreeMap<String, serde_json::Value>,
}

/// An installed plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Installed {
    /// Its version when it was installed.
    pub version: String,
    /// Its metadata when it was installed: [`InCallPluginMetadata`](teammy_kernel::InCallPluginMetadata) as
    /// JSON.
    pub metadata: serde_json::Value,
}

/// Why a plugin must be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotInstalled {
    /// It is not in the manifest of this version of Teammy.
    Missing,
    /// Another version of it is installed, or one with other metadata.
    OtherBuild,
}

impl Default for Manifest {
    /// A manifest without plugins.
    fn default() -> Self {
        let teammy = env!("CARGO_PKG_VERSION").to_owned();
        Self { teammy, plugins: BTreeMap::new(), prepared: BTreeMap::new() }
    }
}

impl Manifest {
    /// Reads a manifest. If there is none, or it is damaged or was written by another version of Teammy,
    /// returns one without plugins.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::Read { path: path.to_owned(), error }),
        };
        let manifest: Option<Self> = serde_json::from_slice(&text).ok();
        let empty = Self::default();
        Ok(manifest.filter(|manifest| manifest.teammy == empty.teammy).unwrap_or(empty))
    }

    /// Replaces the file atomically. Creates missing directories and follows a symbolic link.
    ///
    /// # Errors
    /// [`Error::Write`], also if the path is not a file but a directory or a device, which stays.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let write = || {
            let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            if fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path exists and is not a file"));
            }
            let path = target.as_path();
            let directory =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::create_dir_all(directory)?;
            // Two processes may write it at the same time.
            let partial = path.with_extension(format!("{}.tmp", std::process::id()));
            let mut text = serde_json::to_string_pretty(self)?;
            text.push('\n');
            let written = fs::write(&partial, text).and_then(|()| fs::rename(&partial, path));
            if written.is_err() {
                // The error of the write is reported; a partial file that stays does no harm.
                let _ = fs::remove_file(&partial);
            }
            written
        };
        write().map_err(|error| Error::Write { path: path.to_owned(), error })
    }

    /// What a host has prepared for an instance of its kind.
    pub fn prepared(&self, kind: &str, instance: &str) -> Option<&serde_json::Value> {
        self.prepared.get(&hosted_key(kind, instance))
    }

    /// The factory of an instance's own plugin, as a host has prepared it; none if it has not. Of a kind without a host,
    /// `factory` itself.
    ///
    /// # Errors
    /// What is wrong with the instance's table.
    pub fn factory_of(
        &self,
        factory: &Factory,
        instance: &Name,
        table: &serde_json::Value,
    ) -> Result<Option<Factory>, ConfigError> {
        if factory.as_host().is_none() {
            return Ok(Some(factory.clone()));
        }
        let prepared = self.prepared(factory.kind(), instance.as_str());
        prepared.map(|prepared| factory.of_instance(instance, table, prepared)).transpose()
    }

    /// The installed plugins: by kind, or of a host by `KIND/INSTANCE`.
    pub fn plugins(&self) -> impl Iterator<Item = (&str, &Installed)> {
        self.plugins.iter().map(|(kind, installed)| (kind.as_str(), installed))
    }

    /// Why a plugin must be installed; `None` if it is installed.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    pub fn not_installed(&self, factory: &Factory) -> Result<Option<NotInstalled>, Error> {
        let current = entry(factory)?;
        Ok(match self.plugins.get(&key(factory)) {
            None => Some(NotInstalled::Missing),
            Some(installed) if *installed != current => Some(NotInstalled::OtherBuild),
            Some(_) => None,
        })
    }
}

/// Runs a plugin's `on_install` and adds the plugin to the manifest.
///
/// # Errors
/// [`Error::Metadata`] and [`Error::Failed`]; the manifest is then without the plugin.
pub async fn install(factory: &Factory, manifest: &mut Manifest) -> Result<(), Error> {
    let key = key(factory);
    manifest.plugins.remove(&key);
    let installed = entry(factory)?;
    let failed = |cause| Error::Failed { kind: key.clone(), cause };
    match AssertUnwindSafe(factory.install()).catch_unwind().await {
        Ok(done) => done.map_err(|error| failed(error.chain()))?,
        Err(_) => return Err(failed("it panicked".to_owned())),
    }
    manifest.plugins.insert(key, installed);
    Ok(())
}

/// Has a host prepare the plugin of one of its instances, unless the manifest has what is still current. Returns
/// whether it did.
///
/// # Errors
/// [`Error::Failed`]; the manifest is then without the plugin.
pub async fn prepare(
    host: &dyn PluginHost,
    kind: &str,
    instance: &Name,
    table: &serde_json::Value,
    manifest: &mut Manifest,
) -> Result<bool, Error> {
    let key = hosted_key(kind, instance.as_str());
    if manifest.prepared.get(&key).is_some_and(|prepared| host.is_current(instance, table, prepared)) {
        return Ok(false);
    }
    manifest.prepared.remove(&key);
    manifest.plugins.remove(&key);
    let prepared = host.prepare(instance, table).await;
    let prepared = prepared.map_err(|error| Error::Failed { kind: key.clone(), cause: error.chain() })?;
    manifest.prepared.insert(key, prepared);
    Ok(true)
}

/// A plugin's key in the manifest.
fn key(factory: &Factory) -> String {
    if factory.is_hosted() { hosted_key(factory.kind(), factory.name()) } else { factory.kind().to_owned() }
}

fn hosted_key(kind: &str, instance: &str) -> String {
    format!("{kind}/{instance}")
}

/// The manifest's entry for a plugin as it is in this build.
fn entry(factory: &Factory) -> Result<Installed, Error> {
    let kind = factory.kind();
    let metadata =
        factory.metadata().map_err(|problem| Error::Metadata { kind: kind.to_owned(), problem })?;
    let metadata = serde_json::to_value(metadata).map_err(|error| Error::Metadata {
        kind: kind.to_owned(),
        problem: format!("its metadata has no JSON form: {error}"),
    })?;
    Ok(Installed { version: factory.version().to_owned(), metadata })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use teammy_kernel::{Error as HookError, Hooks, InCallPlugin, StartupCx};

    use super::*;

    static INSTALLED: AtomicU32 = AtomicU32::new(0);

    struct Probe<const VERSION: u8>;

    impl<const VERSION: u8> InCallPlugin for Probe<VERSION> {
        type Config = ();
        type State = ();
        type Scratch = ();
        type Output = String;
        const KIND: &'static str = "probe";
        const VERSION: &'static str = if VERSION == 1 { "1.0.0" } else { "2.0.0" };

        async fn on_install() -> Result<(), HookError> {
            INSTALLED.fetch_add(1, Ordering::Relaxed);
            match VERSION {
                8 => Err(HookError::reject("no disk")),
                9 => panic!("a plugin's panic"),
                _ => Ok(()),
            }
        }

        async fn on_startup((): (), _: &StartupCx) -> Result<Self, HookError> {
            Ok(Self)
        }

        fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
            hooks
        }
    }

    fn probe<const VERSION: u8>() -> Factory {
        Factory::of::<Probe<VERSION>>("probe")
    }

    #[tokio::test]
    async fn a_manifest_lists_what_is_installed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/installed.json");
        let mut manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.not_installed(&probe::<1>()).unwrap(), Some(NotInstalled::Missing));

        let before = INSTALLED.load(Ordering::Relaxed);
        install(&probe::<1>(), &mut manifest).await.unwrap();
        assert!(INSTALLED.load(Ordering::Relaxed) > before, "on_install has run");
        manifest.write(&path).unwrap();

        let manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.not_installed(&probe::<1>()).unwrap(), None);
        assert_eq!(manifest.not_installed(&probe::<2>()).unwrap(), Some(NotInstalled::OtherBuild));
        let (kind, installed) = manifest.plugins().next().unwrap();
        assert_eq!((kind, installed.version.as_str()), ("probe", "1.0.0"));
        assert_eq!(installed.metadata["name"], "probe");
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[tokio::test]
    async fn a_plugin_whose_installation_fails_is_not_in_the_manifest() {
        let mut manifest = Manifest::default();
        install(&probe::<1>(), &mut manifest).await.unwrap();
        let error = install(&probe::<8>(), &mut manifest).await.unwrap_err();
        assert_eq!(error.to_string(), "installing plugin probe failed: no disk");
        assert_eq!(manifest, Manifest::default());
        let error = install(&probe::<9>(), &mut manifest).await.unwrap_err();
        assert_eq!(error.to_string(), "installing plugin probe failed: it panicked");
    }

    #[test]
    fn a_damaged_manifest_or_one_of_another_version_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("installed.json");
        let entry = r#"{"probe": {"version": "1.0.0", "metadata": null}}"#;
        for text in
            [format!(r#"{{"teammy": "0.0.0", "plugins": {entry}}}"#), "oops".to_owned(), String::new()]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(Manifest::read(&path).unwrap(), Manifest::default());
        }
        assert!(matches!(Manifest::read(directory.path()), Err(Error::Read { .. })));
        assert!(matches!(Manifest::default().write(directory.path()), Err(Error::Write { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_write_keeps_a_socket_and_follows_a_link() {
        use std::os::unix::fs::FileTypeExt;

        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(Manifest::default().write(&socket), Err(Error::Write { .. })));
        assert!(fs::metadata(&socket).unwrap().file_type().is_socket());

        let (file, link) = (directory.path().join("installed.json"), directory.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Manifest::default().write(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(Manifest::read(&file).unwrap(), Manifest::default());
        assert_ne!(fs::read_to_string(&file).unwrap(), "");
    }
}
