//! `teammy install`: runs the plugins' installation, once for a machine or an image.
//!
//! Commands that run plugins prepare and install those that the manifest lacks ([`prepared`], [`missing`]), so that
//! nobody needs to run this command. In an image in which it has run, they start without that delay.

use std::path::{Path, PathBuf};

use serde::Serialize;
use teammy::{
    Factory, Name, chain,
    config::{Config, Install, InstanceConfig},
    graph::{self, Bundle},
    install::{self, Manifest, NotInstalled},
};
use tokio::runtime::Runtime;
use tracing::info;

use super::{
    error::Error,
    output::{Form, Output},
    select::select,
};

const EXAMPLES: &str = "\
Examples:
  teammy install
  TEAMMY_INSTALL__MANIFEST=/opt/teammy/installed.json teammy install

`teammy replay` installs what is missing by itself; give it the same variable.";

/// Prepare every plugin of this build on this machine, and write a manifest of it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print JSON lines, each with a "type": the plugins with their metadata, and the manifest's path
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Installed<'a> {
    r#type: &'static str,
    kind: &'a str,
    version: &'a str,
    metadata: &'a serde_json::Value,
}

#[derive(Serialize)]
struct ManifestLine {
    r#type: &'static str,
    path: PathBuf,
}

pub(crate) fn run(bundle: &Bundle, config: &Config, output: &Output) -> Result<(), Error> {
    let path = config.install.effective_manifest()?;
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let mut manifest = Manifest::default();
    let installed = runtime.block_on(all(bundle, config, &mut manifest, &path));
    // If a plugin fails, the manifest names those that are installed.
    manifest.write(&path)?;
    installed?;
    match output.form() {
        Form::Json => {
            for (kind, installed) in manifest.plugins() {
                let (version, metadata) = (installed.version.as_str(), &installed.metadata);
                output.object(&Installed { r#type: "installed", kind, version, metadata })?;
            }
            output.object(&ManifestLine { r#type: "manifest", path })
        }
        Form::Text => {
            for (kind, installed) in manifest.plugins() {
                output.text(&format!("installed {kind} {}", installed.version))?;
            }
            output.text(&format!("manifest: {}", path.display()))
        }
    }
}

/// Installs all plugins of this build, and those of the instances that have a plugin of their own.
async fn all(bundle: &Bundle, config: &Config, manifest: &mut Manifest, path: &Path) -> Result<(), Error> {
    let hosts = |factory: &&Factory| factory.as_host().is_some();
    for factory in bundle.iter().filter(|factory| !hosts(factory)) {
        install::install(factory, manifest).await?;
        manifest.write(path)?;
    }
    for instance in config.plugins.iter().flatten() {
        let Some(factory) = bundle.iter().find(|factory| hosts(factory) && factory.kind() == instance.kind)
        else {
            continue;
        };
        prepare(factory, instance, manifest).await?;
        install::install(&own(factory, instance, manifest)?, manifest).await?;
        manifest.write(path)?;
    }
    Ok(())
}

/// Has the host of an instance's kind prepare its plugin. Returns whether there was anything to do.
async fn prepare(
    factory: &Factory,
    instance: &InstanceConfig,
    manifest: &mut Manifest,
) -> Result<bool, Error> {
    let Some(host) = factory.as_host() else { return Ok(false) };
    let name = Name::new(&instance.name).map_err(Error::Source)?;
    Ok(install::prepare(host, factory.kind(), &name, &instance.config, manifest).await?)
}

/// The factory of an instance's plugin, which is prepared.
fn own(factory: &Factory, instance: &InstanceConfig, manifest: &Manifest) -> Result<Factory, Error> {
    let name = Name::new(&instance.name).map_err(Error::Source)?;
    let prepared = manifest.prepared(&instance.kind, &instance.name).unwrap_or(&serde_json::Value::Null);
    let own = factory.of_instance(&name, &instance.config, prepared);
    Ok(own.map_err(|error| graph::Error::Config { instance: name, kind: instance.kind.clone(), error })?)
}

/// What the manifest has, and what hosts prepare for the instances that they lack in it: all of the configuration, or
/// the `wanted` ones and those whose outputs they take. If the manifest cannot be written, it prints a warning: that is
/// done again the next time.
pub(crate) async fn prepared(
    config: &Config,
    wanted: Option<&[String]>,
    bundle: &Bundle,
    output: &Output,
) -> Result<Manifest, Error> {
    let mut manifest = read(&config.install, output);
    if bundle.iter().all(|factory| factory.as_host().is_none()) {
        return Ok(manifest);
    }
    let mut has_changed = false;
    loop {
        // What a plugin takes, and so which others are needed, is known once it is prepared. A mistake in what is
        // wanted is told by whoever selects next.
        let Ok(selection) = select(config.clone(), wanted, bundle, &manifest) else { break };
        let mut is_new = false;
        for instance in selection.config.plugins.iter().flatten() {
            if let Some(factory) = bundle.iter().find(|factory| factory.kind() == instance.kind)
                && prepare(factory, instance, &mut manifest).await?
            {
                info!(instance = instance.name, kind = instance.kind, "prepared");
                is_new = true;
            }
        }
        has_changed |= is_new;
        if !is_new {
            break;
        }
    }
    if has_changed {
        write(&manifest, &config.install, output);
    }
    Ok(manifest)
}

fn warn(error: &(dyn std::error::Error + 'static), output: &Output) {
    output.note(&format!("warning: {}; plugins are installed again each time", chain(error)));
}

/// The manifest. One that cannot be read is empty, with a warning.
fn read(config: &Install, output: &Output) -> Manifest {
    let Ok(path) = config.effective_manifest() else { return Manifest::default() };
    Manifest::read(&path).unwrap_or_else(|error| {
        warn(&error, output);
        Manifest::default()
    })
}

fn write(manifest: &Manifest, config: &Install, output: &Output) {
    match config.effective_manifest() {
        Ok(path) => manifest.write(&path).unwrap_or_else(|error| warn(&error, output)),
        Err(error) => warn(&error, output),
    }
}

/// Installs the plugins that the manifest lacks. If the manifest cannot be written, it prints a warning: the
/// plugins are installed again the next time.
pub(crate) async fn missing<'a>(
    factories: impl IntoIterator<Item = &'a Factory>,
    mut manifest: Manifest,
    config: &Install,
    output: &Output,
) -> Result<(), Error> {
    let mut changed = false;
    for factory in factories {
        let Some(reason) = manifest.not_installed(factory)? else { continue };
        let because = match reason {
            NotInstalled::OtherBuild => "it was installed by another build",
            _ => "it was not installed yet",
        };
        info!(plugin = factory.kind(), version = factory.version(), because, "installing");
        install::install(factory, &mut manifest).await?;
        changed = true;
    }
    if changed || config.effective_manifest().is_err() {
        write(&manifest, config, output);
    }
    Ok(())
}
