//! Which certificate authorities vouch for other servers.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use rustls_pki_types::pem::PemObject as _;

/// Why no TLS configuration could be made; the administrator has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A configured file cannot be read or holds something else than certificates.
    #[error("cannot use the certificate authorities in {file}: {reason}")]
    AuthorityFile {
        /// The file as configured.
        file: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// A TLS configuration that trusts the platform's authorities and those in `authority_files`.
///
/// Offers HTTP/2 and HTTP/1.1. The process must have installed rustls' crypto provider.
///
/// # Errors
///
/// [`TlsError::AuthorityFile`] when a configured file is unusable. A platform without authorities
/// is no error: it is logged, and certificates of those in the files are still accepted.
pub fn client_config(authority_files: &[PathBuf]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = platform_roots();
    for file in authority_files {
        add_file(&mut roots, file)?;
    }
    if roots.is_empty() {
        tracing::warn!("No certificate authority is trusted: no other server can be reached");
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn platform_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "Some of the platform's certificate authorities cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "Loaded the platform's certificate authorities");
    roots
}

fn add_file(roots: &mut RootCertStore, file: &PathBuf) -> Result<(), TlsError> {
    let refuse = |reason: String| TlsError::AuthorityFile { file: file.clone(), reason };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(error.to_string()))?;
    if certificates.is_empty() {
        return Err(refuse("there is no certificate in it".to_owned()));
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{Authority, install_crypto};

    #[test]
    fn a_file_with_an_authority_is_accepted() {
        install_crypto();
        let dir = tempfile::tempdir().unwrap();
        assert!(client_config(&[Authority::new().file(&dir)]).is_ok());
    }

    #[test]
    fn a_missing_or_empty_file_is_named_in_the_error() {
        install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.pem");
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        for file in [missing, empty] {
            let error = client_config(std::slice::from_ref(&file)).unwrap_err();
            assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        }
    }
}
