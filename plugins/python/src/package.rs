//! The Python package `teammy`, which is part of this program: where its files are on this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use etcetera::BaseStrategy;

/// The package's files: their paths inside of it, and their texts.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/package.rs"));

/// A digest of the package, in hexadecimal digits.
pub(crate) fn digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        for (path, text) in FILES {
            for part in [path, text] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    })
}

/// The folder that holds the package, for `sys.path`: in the user's cache, or where that cannot be written in a folder
/// for temporary files. Writes what is not there.
pub(crate) fn folder() -> io::Result<PathBuf> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder.clone());
    }
    let name = format!("python-host-{}", digest());
    let cache = etcetera::choose_base_strategy().ok().map(|base| base.cache_dir().join("teammy").join(&name));
    let folder = if let Some(Ok(folder)) = cache.map(|folder| write(&folder).map(|()| folder)) {
        folder
    } else {
        // Others may write where temporary files are, so the name is not to be guessed.
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random)?;
        let folder = std::env::temp_dir().join(format!("teammy-{name}-{}", blake3::hash(&random).to_hex()));
        write(&folder)?;
        folder
    };
    Ok(FOLDER.get_or_init(|| folder).clone())
}

/// Writes the files that are not there, or that are others, each at once.
fn write(folder: &Path) -> io::Result<()> {
    for (path, text) in FILES {
        let path = folder.join("teammy").join(path);
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Two programs may write at once.
        let partial = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&partial, text)?;
        fs::rename(&partial, &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_written_once_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let init = folder.path().join("teammy/api/plugin.py");
        let written = fs::read_to_string(&init).unwrap();
        assert!(written.contains("class InCallPlugin"));
        fs::write(&init, "oops").unwrap();
        write(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&init).unwrap(), written);
        let is_of_it = |path: &str| Path::new(path).extension().is_some_and(|it| it == "py" || it == "typed");
        assert!(FILES.iter().all(|(path, _)| is_of_it(path)));
        assert!(FILES.iter().any(|(path, _)| *path == "_host/bootstrap.py"));
    }
}
