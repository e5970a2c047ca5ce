//! Default places of files: in `teammy` under the user's data directory.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::{
    database,
    error::{DataDirectoryError, Error},
};

/// The given directory, or else the user's data directory.
pub(crate) fn data_directory(given: Option<&Path>) -> Result<PathBuf, DataDirectoryError> {
    match given {
        Some(directory) => Ok(directory.to_owned()),
        None => match etcetera::choose_base_strategy() {
            Ok(user) => Ok(user.data_dir()),
            Err(_) => Err(DataDirectoryError::NoHome),
        },
    }
}

pub(crate) fn database(data: Result<PathBuf, DataDirectoryError>) -> Result<database::Url, Error> {
    data.and_then(|data| {
        database::Url::embedded(data.join("teammy").join("db")).map_err(DataDirectoryError::Path)
    })
    .map_err(Error::NoDataDirectory)
}

pub(crate) fn socket() -> Result<PathBuf, DataDirectoryError> {
    let user = etcetera::choose_base_strategy().map_err(|_| DataDirectoryError::NoHome)?;
    let directory = user.runtime_dir().unwrap_or_else(|| user.data_dir());
    Ok(directory.join("teammy").join("node.sock"))
}

pub(crate) fn manifest(data: &Path) -> PathBuf {
    data.join("teammy").join("installed.json")
}
