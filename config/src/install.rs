//! `[install]`: where the manifest of an installation is.

use std::path::PathBuf;

use crate::{Error, asked::Fallback, places, reader::Reader, takes::FilePath};

/// `[install]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Install {
    /// The file that `teammy install` writes. [`Loader::load`](crate::Loader::load) fills it in where there
    /// is a data directory; elsewhere `None` stands for the default, which
    /// [`Install::effective_manifest`] finds.
    pub manifest: Option<PathBuf>,
}

impl Install {
    /// The file, or else the default: `teammy/installed.json` under the user's data directory.
    ///
    /// # Errors
    /// [`Error::NoManifestDirectory`] if it is the default that counts and there is no such directory.
    pub fn effective_manifest(&self) -> Result<PathBuf, Error> {
        match &self.manifest {
            Some(path) => Ok(path.clone()),
            None => places::data_directory(None)
                .map(|data| places::manifest(&data))
                .map_err(Error::NoManifestDirectory),
        }
    }
    pub(crate) fn read(reader: &mut Reader) -> Self {
        let words = "`teammy/installed.json` under the user's data directory";
        let fallback = Fallback::Words(words.to_owned());
        Self { manifest: reader.take_optional("install.manifest", &FilePath, fallback) }
    }
}
