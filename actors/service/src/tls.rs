//! TLS by files that are read again when they change, so that a certificate is renewed without a restart.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use teammy_kernel::Timestamp;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::error::Error;

/// When a file was changed, and its length.
type Stamp = Option<(Timestamp, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?.try_into().ok()?, metadata.len()))
}

/// A certificate and its key, from files.
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<(Arc<CertifiedKey>, [Stamp; 2])>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let failed = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| Error::Tls {
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| failed(chain, error.into()))?;
    if certificates.is_empty() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate");
        return Err(failed(chain, error.into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.into()))?;
    CertifiedKey::from_der(certificates, private, &ring::default_provider())
        .map_err(|error| failed(key, error.into()))
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub(crate) fn open(chain: &Path, key: &Path) -> Result<Arc<Self>, Error> {
        let stamps = [stamp(chain), stamp(key)];
        let current = RwLock::new((Arc::new(read(chain, key)?), stamps));
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current }))
    }

    /// Reads the files again if one of them has changed. If they do not fit together, because one of them is written later,
    /// the certificate stays as it was.
    pub(crate) fn refresh(&self) {
        let stamps = [stamp(&self.chain), stamp(&self.key)];
        if stamps == self.current.read().1 {
            return;
        }
        match read(&self.chain, &self.key) {
            Ok(new) => {
                *self.current.write() = (Arc::new(new), stamps);
                info!("the certificate has changed");
            }
            Err(error) => {
                self.current.write().1 = stamps;
                warn!(error = %teammy_kernel::chain(&error), "the certificate stays as it was");
            }
        }
    }

    /// Accepts connections with it.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder =
            builder.map_err(|error| Error::Tls { path: self.chain.clone(), source: error.into() })?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().0.clone())
    }
}
