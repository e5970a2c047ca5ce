//! TLS with the crypto provider that the rest of the workspace uses.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::error::Error;

/// TLS that trusts the machine's certificate authorities, or Mozilla's if the machine has none, as in a bare container. Without
/// `is_used` it trusts nobody, and reads no files.
pub(super) fn config(is_used: bool) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    if is_used {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setup(Box::new(error)))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
