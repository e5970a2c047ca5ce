//! Checks that writes still reach the directory that a restart will open.
//!
//! A process can go on writing to files that were removed. So a commit to a directory that is gone would
//! succeed, and be lost when the process ends. Therefore the directory is checked after each write; the check
//! is two calls of the file system, and the write waits for the disk anyway.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

/// The directory of an open database.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    last_seen: Mutex<LastSeen>,
}

#[derive(Debug, Default)]
struct LastSeen {
    folder: Option<FileId>,
    /// `None` from when the engine was opened until the next check.
    segment: Option<Segment>,
}

/// The newest segment of the engine's log, into which it writes. Numbers of segments only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    number: u64,
    file: FileId,
}

impl Segment {
    /// Finds the newest segment of the database in a directory; `None` if it has none yet.
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

    /// Whether `newest` is this segment or a later one, so that an engine that had this one open writes to
    /// it.
    pub(super) fn continues_in(self, newest: Option<Self>) -> bool {
        newest.is_some_and(|newest| newest == self || newest.number > self.number)
    }
}

/// The directory or its log is not the one that was opened.
#[derive(Debug, thiserror::Error)]
#[error("the database directory {} was removed or replaced while it was in use", path.display())]
pub(super) struct DirectoryReplaced {
    path: PathBuf,
    #[source]
    cause: Option<io::Error>,
}

/// Tells a file from another one that has taken its name.
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

    /// On other systems a file in use can't be removed, so it is enough that it exists.
    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Self {
        Self {}
    }
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last_seen: Mutex::default() }
    }

    /// Forgets the log's segment, because opening the engine may replace it.
    pub(super) fn forget_segment(&self) {
        self.last_seen.lock().segment = None;
    }

    /// Checks that the directory is the one that the first check saw.
    pub(super) fn check_folder(&self) -> Result<(), DirectoryReplaced> {
        let replaced = |cause| DirectoryReplaced { path: self.path.clone(), cause };
        let metadata = fs::metadata(&self.path).map_err(|error| replaced(Some(error)))?;
        let found = FileId::of(&metadata);
        match self.last_seen.lock().folder.get_or_insert(found) {
            first if *first == found => Ok(()),
            _ => Err(replaced(None)),
        }
    }

    /// Checks that the log continues in the directory, so that what was just written is there after a
    /// restart.
    pub(super) fn check(&self) -> Result<(), DirectoryReplaced> {
        self.check_folder()?;
        let newest = Segment::newest(&self.path);
        let newest =
            newest.map_err(|error| DirectoryReplaced { path: self.path.clone(), cause: Some(error) })?;
        let mut last_seen = self.last_seen.lock();
        if newest.is_none() || last_seen.segment.is_some_and(|segment| !segment.continues_in(newest)) {
            return Err(DirectoryReplaced { path: self.path.clone(), cause: None });
        }
        last_seen.segment = newest;
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
        // Made while the old one is there, so that it can't get the same inode.
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
