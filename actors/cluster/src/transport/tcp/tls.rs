//! TLS by files that are read again when they change, so that certificates are renewed without a restart.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use teammy_kernel::{Name, Timestamp};
use tracing::{info, warn};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// When a file was changed, and its length.
type Stamp = Option<(Timestamp, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?.try_into().ok()?, metadata.len()))
}

/// What the files say: how to accept and how to dial.
#[derive(Clone)]
pub(super) struct Configs {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

/// The files, and what they said when they were last read.
pub(super) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    me: Name,
    current: RwLock<(Configs, [Stamp; 3])>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// The name of a node as a host's, which is what certificates know. None if it cannot be one.
pub(crate) fn server_name(node: &Name) -> Option<ServerName<'static>> {
    match ServerName::try_from(node.as_str().to_owned()) {
        // A certificate's name has no dot at its end.
        Ok(name @ ServerName::DnsName(_)) if !node.as_str().ends_with('.') => Some(name),
        _ => None,
    }
}

/// The hosts that a certificate is for.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    webpki::EndEntityCert::try_from(certificate)
        .map(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Whether one of these names is the node's. Patterns such as `*.example` are for no node.
pub(super) fn is_for(names: &[String], node: &Name) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(node.as_str()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| failed(path, error))?;
    if certificates.is_empty() {
        return Err(failed(path, io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate")));
    }
    Ok(certificates)
}

fn failed(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError { path: path.to_owned(), cause: cause.into() }
}

fn read(cert: &Path, key: &Path, ca: &Path, me: &Name) -> Result<Configs, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| failed(ca, error))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(cert)?;
    let names = chain.first().map(names).unwrap_or_default();
    if !is_for(&names, me) {
        return Err(failed(cert, format!("it is for {names:?} and not for this node, {me}")));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error))?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| failed(cert, error))?
        .with_client_cert_verifier(clients.map_err(|error| failed(ca, error))?)
        .with_single_cert(chain.clone(), private.clone_key())
        .map_err(|error| failed(key, error))?;
    // A session that is resumed shows no certificate.
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| failed(cert, error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, private)
        .map_err(|error| failed(key, error))?;
    client.resumption = Resumption::disabled();
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], too if the certificate is not for this node.
    pub(super) fn open(cert: PathBuf, key: PathBuf, ca: PathBuf, me: Name) -> Result<Self, TlsError> {
        let stamps = [stamp(&cert), stamp(&key), stamp(&ca)];
        let current = RwLock::new((read(&cert, &key, &ca, &me)?, stamps));
        Ok(Self { cert, key, ca, me, current })
    }

    /// What the files say now. If they cannot be used, or do not fit together because one of them is written later, it is what
    /// they said before.
    pub(super) fn configs(&self) -> Configs {
        let stamps = [stamp(&self.cert), stamp(&self.key), stamp(&self.ca)];
        let current = self.current.read().clone();
        if current.1 == stamps {
            return current.0;
        }
        match read(&self.cert, &self.key, &self.ca, &self.me) {
            Ok(new) => {
                info!("the certificates of the links have changed");
                *self.current.write() = (new.clone(), stamps);
                new
            }
            Err(error) => {
                warn!(error = %teammy_kernel::chain(&error), "the certificates of the links stay as they were");
                self.current.write().1 = stamps;
                current.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_a_hosts_name_can_have_a_certificate() {
        for (node, is_host) in
            [("north", true), ("north_1.eu-x", true), ("1", false), ("10.0.0.1", false), ("a..b", false)]
        {
            assert_eq!(server_name(&Name::new(node).unwrap()).is_some(), is_host, "{node}");
        }
        let names = ["North".to_owned(), "*.eu".to_owned()];
        assert!(is_for(&names, &Name::new("nORTH").unwrap()));
        assert!(!is_for(&names, &Name::new("a.eu").unwrap()));
    }
}
