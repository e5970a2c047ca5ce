//! `teammy install`: runs the plugins' installation, once for a machine or an image.
//!
//! Commands that run plugins prepare and install those that the manifest lacks ([`prepared`], [`missing`]), so that
//! nobody needs to run this command. In an image in which it has run, they start without that delay.

use std::path::PathBuf;

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
    // If a later plugin fails, the manifest still names those that are installed.
    let keep = |manifest: &Manifest, installed: Result<(), Error>| {
        manifest.write(&path)?;
        installed
    };
    for factory in bundle.iter().filter(|factory| factory.as_host().is_none()) {
        let installed = runtime.block_on(install::install(factory, &mut manifest));
        keep(&manifest, installed.map_err(Error::from))?;
    }
    for (host, instance) in hosted(bundle, config.plugins.iter().flatten()) {
        let installed = runtime.block_on(install_hosted(host, instance, &mut manifest));
        keep(&manifest, installed)?;
    }
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

/// The instances whose kind has a host, with it.
fn hosted<'a>(
    bundle: &'a Bundle,
    instances: impl Iterator<Item = &'a InstanceConfig>,
) -> impl Iterator<Item = (&'a Factory, &'a InstanceConfig)> {
    instances.filter_map(|instance| {
        let host = bundle.iter().find(|factory| factory.kind() == instance.kind)?;
        host.as_host().map(|_| (host, instance))
    })
}

/// Has the host of an instance's kind prepare its plugin. Returns whether there was anything to do.
async fn prepare(host: &Factory, instance: &InstanceConfig, manifest: &mut Manifest) -> Result<bool, Error> {
    let Some(hosting) = host.as_host() else { return Ok(false) };
    let name = Name::new(&instance.name).map_err(Error::Source)?;
    Ok(install::prepare(hosting, host.kind(), &name, &instance.config, manifest).await?)
}

/// Prepares and installs an instance's plugin.
async fn install_hosted(
    host: &Factory,
    instance: &InstanceConfig,
    manifest: &mut Manifest,
) -> Result<(), Error> {
    prepare(host, instance, manifest).await?;
    let (name, kind) = (Name::new(&instance.name).map_err(Error::Source)?, instance.kind.clone());
    let own = match manifest.factory_of(host, &name, &instance.config) {
        Ok(Some(own)) => own,
        Ok(None) => return Err(graph::Error::NotPrepared { instance: name, kind }.into()),
        Err(error) => return Err(graph::Error::Config { instance: name, kind, error }.into()),
    };
    Ok(install::install(&own, manifest).await?)
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
        for (host, instance) in hosted(bundle, selection.config.plugins.iter().flatten()) {
            if prepare(host, instance, &mut manifest).await? {
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
