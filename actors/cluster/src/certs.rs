//! Certificates for the links between nodes: an authority of one's own, in a folder, and one certificate a node.
//!
//! ```text
//! ca.pem  ca-key.pem  north.pem  north-key.pem  south.pem  south-key.pem
//! ```
//! Each node gets `ca.pem` and its own two files. `ca-key.pem` makes more of them: it belongs on no node.
//!
//! # Examples
//! ```
//! use teammy_cluster::certs::{Authority, Validity};
//! use teammy_kernel::Name;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let authority = Authority::open(folder.path())?;
//! let files = authority.add(&Name::new("north")?, Validity::days(365))?;
//! assert!(files.cert.ends_with("north.pem") && files.key.ends_with("north-key.pem"));
//! # Ok(())
//! # }
//! ```

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use teammy_kernel::{Name, Timestamp};

use crate::transport::tcp::tls::server_name;

/// How long an authority is valid.
const AUTHORITY_DAYS: u32 = 3650;

/// How much the clocks of two nodes may differ where a certificate is new.
const SKEW: Duration = Duration::from_hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertsError {
    /// Nothing is overwritten.
    #[error(
        "{} is there already: remove it first, if nothing uses it any more, or choose another folder",
        .0.display()
    )]
    Exists(PathBuf),
    /// An authority is two files.
    #[error(
        "{} is there without {}: bring the other back, or choose an empty folder for a new authority",
        found.display(), missing.display()
    )]
    HalfAnAuthority {
        /// The file that is there.
        found: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
    /// The name cannot be in a certificate.
    #[error(
        "{0} cannot be in a certificate: use a node's name that can be a host's, with at most 63 characters from dot to dot, \
         no dash before or after a dot, no dot at the end, and a last part that is not only digits"
    )]
    Name(Name),
    /// The authority's own files have this name.
    #[error("{0} is the name of the authority's own files: give the node another name")]
    Reserved(Name),
    /// A file or the folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The authority's files hold something else, or the certificate cannot be made.
    #[error("cannot make a certificate by {}", path.display())]
    Certificate {
        /// The file of the authority.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: rcgen::Error,
    },
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
}

impl Validity {
    /// From an hour ago, for clocks that differ, and for so many days from now.
    pub fn days(days: u32) -> Self {
        let now = Timestamp::now();
        let length = Duration::from_hours(u64::from(days) * 24);
        Self {
            from: now.checked_sub(SKEW).unwrap_or(Timestamp::MIN),
            until: now.checked_add(length).unwrap_or(Timestamp::MAX),
        }
    }
}

impl Default for Validity {
    /// 365 days.
    fn default() -> Self {
        Self::days(365)
    }
}

/// The files of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFiles {
    /// Its certificate.
    pub cert: PathBuf,
    /// Its key, which only the owner of the file can read.
    pub key: PathBuf,
    /// The authority's certificate.
    pub ca: PathBuf,
}

/// An authority, which makes the certificates of nodes.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    is_new: bool,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of this folder, or a new one for ten years if the folder holds none. The folder is made if it is missing.
    ///
    /// # Errors
    /// Those of [`CertsError`].
    pub fn open(folder: &Path) -> Result<Self, CertsError> {
        fs::create_dir_all(folder).map_err(|cause| CertsError::File { path: folder.to_owned(), cause })?;
        let (cert, key) = (folder.join("ca.pem"), folder.join("ca-key.pem"));
        match (cert.exists(), key.exists()) {
            (true, true) => Self::read(folder, &cert, &key),
            (false, false) => Self::new(folder, &cert, &key),
            (true, false) => Err(CertsError::HalfAnAuthority { found: cert, missing: key }),
            (false, true) => Err(CertsError::HalfAnAuthority { found: key, missing: cert }),
        }
    }

    fn read(folder: &Path, cert: &Path, key: &Path) -> Result<Self, CertsError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|cause| CertsError::File { path: path.to_owned(), cause })
        };
        let pair = KeyPair::from_pem(&read(key)?).map_err(failed(key))?;
        let issuer = Issuer::from_ca_cert_pem(&read(cert)?, pair).map_err(failed(cert))?;
        Ok(Self { folder: folder.to_owned(), issuer, is_new: false })
    }

    fn new(folder: &Path, cert: &Path, key: &Path) -> Result<Self, CertsError> {
        let pair = KeyPair::generate().map_err(failed(key))?;
        let mut params = params(Validity::days(AUTHORITY_DAYS), "Teammy cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params.self_signed(&pair).map_err(failed(cert))?;
        write_both(cert, &made.pem(), key, &pair.serialize_pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, pair), is_new: true })
    }

    /// Whether this call has made it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Makes a node's certificate and key.
    ///
    /// # Errors
    /// Those of [`CertsError`]; nothing is left of a certificate that was not made.
    pub fn add(&self, node: &Name, validity: Validity) -> Result<NodeFiles, CertsError> {
        if server_name(node).is_none() {
            return Err(CertsError::Name(node.clone()));
        }
        let files = NodeFiles {
            cert: self.folder.join(format!("{node}.pem")),
            key: self.folder.join(format!("{node}-key.pem")),
            ca: self.folder.join("ca.pem"),
        };
        let mut params = params(validity, node.as_str());
        let host = node.as_str().try_into().map_err(failed(&files.cert))?;
        params.subject_alt_names = vec![rcgen::SanType::DnsName(host)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().map_err(failed(&files.key))?;
        let made = params.signed_by(&pair, &self.issuer).map_err(failed(&files.cert))?;
        write_both(&files.cert, &made.pem(), &files.key, &pair.serialize_pem())?;
        Ok(files)
    }
}

/// Whether a node of this name can have a certificate.
///
/// # Errors
/// [`CertsError::Name`] and [`CertsError::Reserved`].
pub fn check(node: &Name) -> Result<(), CertsError> {
    if matches!(node.as_str(), "ca" | "ca-key") {
        return Err(CertsError::Reserved(node.clone()));
    }
    server_name(node).map(drop).ok_or_else(|| CertsError::Name(node.clone()))
}

fn failed(path: &Path) -> impl FnOnce(rcgen::Error) -> CertsError {
    let path = path.to_owned();
    move |cause| CertsError::Certificate { path, cause }
}

fn params(validity: Validity, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    params.not_before = epoch + at(validity.from);
    params.not_after = epoch + at(validity.until);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes both or none.
fn write_both(cert: &Path, cert_pem: &str, key: &Path, key_pem: &str) -> Result<(), CertsError> {
    write(key, key_pem, 0o600)?;
    write(cert, cert_pem, 0o644).inspect_err(|_| {
        // The error says what went wrong; the key is of no use to anybody.
        let _ = fs::remove_file(key);
    })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AlreadyExists => CertsError::Exists(path.to_owned()),
        _ => CertsError::File { path: path.to_owned(), cause },
    };
    let mut file = options.open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A part of a file is of no use, and would be in the way of the next try.
    written.inspect_err(|_| drop(fs::remove_file(path))).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_keys() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let files = Authority::open(folder.path()).unwrap().add(&node("north"), Validity::default()).unwrap();
        for key in [files.key, folder.path().join("ca-key.pem")] {
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "{key:?}");
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        assert!(authority.is_new());
        let files = authority.add(&node("north"), Validity::default()).unwrap();
        let before = [fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap()];
        for name in ["north", "ca"] {
            let error = authority.add(&node(name), Validity::default()).unwrap_err();
            assert!(matches!(&error, CertsError::Exists(_)), "{error}");
        }
        assert_eq!([fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap()], before);
        // A certificate that is there keeps the key from being made, too.
        fs::write(folder.path().join("south.pem"), "mine").unwrap();
        assert!(matches!(authority.add(&node("south"), Validity::default()), Err(CertsError::Exists(_))));
        assert!(!folder.path().join("south-key.pem").exists());
        assert_eq!(fs::read(folder.path().join("south.pem")).unwrap(), b"mine");
    }

    #[test]
    fn an_authority_is_used_again_and_never_half() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path()).unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        assert!(!authority.is_new());
        authority.add(&node("north"), Validity::default()).unwrap();
        fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        let error = Authority::open(folder.path()).unwrap_err();
        assert!(matches!(&error, CertsError::HalfAnAuthority { .. }), "{error}");
    }

    #[test]
    fn a_name_that_no_host_has_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        assert!(matches!(authority.add(&node("7"), Validity::default()), Err(CertsError::Name(_))));
        assert!(matches!(authority.add(&node("a."), Validity::default()), Err(CertsError::Name(_))));
        authority.add(&node("north_1.eu"), Validity::default()).unwrap();
        assert!(matches!(check(&node("7")), Err(CertsError::Name(_))));
        for name in ["ca", "ca-key"] {
            assert!(matches!(check(&node(name)), Err(CertsError::Reserved(_))));
        }
        check(&node("north_1.eu")).unwrap();
    }
}
