//! Whether what is written still gets into the directory that a restart will open.
//!
//! Files that were removed take writes as if nothing had happened, so a commit to a directory that is gone
//! would succeed, and be nowhere after the process ends. After each write it is looked at: two calls of the
//! file system beside a write that waits for the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

/// A directory with a database in it that is open.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    folder: Option<FileId>,
    segment: Option<Segment>,
}

/// The newest segment of the engine's log, which is where a write goes. Numbers only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    number: u64,
    file: FileId,
}

impl Segment {
    /// That of a database in a directory, if it has any yet.
    pub(super) fn newest(directory: &Path) -> io::Result<Option<Self>> {
        let mut newest: Option<(u64, fs::DirEntry)> = None;
        let entries = match fs::read_dir(directory.join("wal")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".wal")?.parse().ok());
            if let Some(number) = number
                && newest.as_ref().is_none_or(|(newest, _)| number > *newest)
            {
                newest = Some((number, entry));
            }
        }
        let Some((number, entry)) = newest else { return Ok(None) };
        Ok(Some(Self { number, file: FileId::of(&entry.metadata()?) }))
    }

    /// Whether whoever had the newest segment open still has what is now the newest, or a later one.
    pub(super) fn goes_on_in(self, newest: Option<Self>) -> bool {
        newest.is_some_and(|newest| newest == self || newest.number > self.number)
    }
}

/// The directory is not what it was when it was opened.
#[derive(Debug, thiserror::Error)]
#[error("the database directory {} was removed or replaced while it was in use", path.display())]
pub(super) struct Gone {
    path: PathBuf,
    #[source]
    cause: Option<io::Error>,
}

/// What tells a file from another that has taken its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Elsewhere a file in use can't be removed, so that it is there is enough.
    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Self {
        Self {}
    }
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// The engine was opened anew: its log may have, too.
    pub(super) fn opened(&self) {
        self.known.lock().segment = None;
    }

    /// Whether the directory is the one that was there when this was first asked.
    pub(super) fn check_folder(&self) -> Result<(), Gone> {
        let gone = |cause| Gone { path: self.path.clone(), cause };
        let metadata = fs::metadata(&self.path).map_err(|error| gone(Some(error)))?;
        let found = FileId::of(&metadata);
        match self.known.lock().folder.get_or_insert(found) {
            known if *known == found => Ok(()),
            _ => Err(gone(None)),
        }
    }

    /// Whether the newest segment of the log is in it: what was written just now is there after a restart.
    pub(super) fn check(&self) -> Result<(), Gone> {
        self.check_folder()?;
        let newest = Segment::newest(&self.path);
        let newest = newest.map_err(|error| Gone { path: self.path.clone(), cause: Some(error) })?;
        let mut known = self.known.lock();
        if newest.is_none() || known.segment.is_some_and(|known| !known.goes_on_in(newest)) {
            return Err(Gone { path: self.path.clone(), cause: None });
        }
        known.segment = newest;
        Ok(())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("db/wal")).unwrap();
        fs::write(place.path().join("db/wal/0003.wal"), "").unwrap();
        let directory = Directory::new(place.path().join("db"));
        directory.check().unwrap();
        (place, directory)
    }

    #[test]
    fn a_log_may_go_on_in_another_segment() {
        let (place, directory) = database();
        let log = place.path().join("db/wal");
        fs::write(log.join("0004.wal"), "").unwrap();
        directory.check().unwrap();
        fs::remove_file(log.join("0003.wal")).unwrap();
        fs::write(log.join("0003.wal.repair"), "").unwrap();
        directory.check().unwrap();
    }

    #[test]
    fn what_was_removed_or_replaced_is_gone() {
        let (place, directory) = database();
        let log = place.path().join("db/wal");
        fs::remove_file(log.join("0003.wal")).unwrap();
        assert!(directory.check().is_err(), "the log without its newest segment");
        directory.check_folder().unwrap();

        let (place, directory) = database();
        let log = place.path().join("db/wal");
        // Made beside it, so that it can't be given the same inode.
        fs::write(log.join("new"), "").unwrap();
        fs::rename(log.join("new"), log.join("0003.wal")).unwrap();
        assert!(directory.check().is_err(), "another file under its name");

        let (place, directory) = database();
        fs::rename(place.path().join("db"), place.path().join("moved")).unwrap();
        let error = directory.check().unwrap_err();
        assert!(error.to_string().ends_with("db was removed or replaced while it was in use"), "{error}");
        fs::create_dir_all(place.path().join("db/wal")).unwrap();
        fs::write(place.path().join("db/wal/0003.wal"), "").unwrap();
        assert!(directory.check_folder().is_err(), "another directory under its name");
    }
}
