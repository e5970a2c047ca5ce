//! `teammy install`: runs the plugins' installation, once for a machine or an image.
//!
//! Commands that run plugins install those that the manifest lacks ([`missing`]), so that nobody needs to run
//! this command. In an image in which it has run, they start without that delay.

use std::path::PathBuf;

use serde::Serialize;
use teammy::{
    Factory, chain,
    config::{Config, Install},
    graph::Bundle,
    install::{self, Manifest, NotInstalled},
};
use tokio::runtime::Runtime;
use tracing::info;

use super::{
    error::Error,
    output::{Form, Output},
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
    for factory in bundle.iter() {
        let installed = runtime.block_on(install::install(factory, &mut manifest));
        // If a later plugin fails, the manifest still names those that are installed.
        manifest.write(&path)?;
        installed?;
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

/// Installs the plugins that the manifest lacks. If the manifest cannot be written, it prints a warning: the
/// plugins are installed again the next time.
pub(crate) async fn missing<'a>(
    factories: impl IntoIterator<Item = &'a Factory>,
    config: &Install,
    output: &Output,
) -> Result<(), Error> {
    let warn = |error: &(dyn std::error::Error + 'static)| {
        output.note(&format!("warning: {}; plugins are installed again each time", chain(error)));
    };
    let path = config.effective_manifest();
    let read = match &path {
        Ok(path) => Manifest::read(path),
        Err(_) => Ok(Manifest::default()),
    };
    let mut manifest = match read {
        Ok(manifest) => manifest,
        Err(error) => {
            warn(&error);
            Manifest::default()
        }
    };
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
    match path {
        Ok(path) if changed => manifest.write(&path).unwrap_or_else(|error| warn(&error)),
        Ok(_) => {}
        Err(error) => warn(&error),
    }
    Ok(())
}
