//! The certificate of the server API: read from files, or made on first start.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use ruma::ServerName;

use crate::config::Config;

/// Where the certificate and its key are.
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// The configured files, or a self-signed certificate in the data directory, which is made
    /// if it is not there yet.
    pub(crate) fn find(config: &Config) -> anyhow::Result<Self> {
        let tls = &config.federation.tls;
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            return Ok(Self { certificate: certificate.clone(), key: key.clone() });
        }
        let own = Self {
            certificate: config.data_dir.join("federation.crt"),
            key: config.data_dir.join("federation.key"),
        };
        if !own.certificate.exists() || !own.key.exists() {
            own.make(&config.server_name).context("cannot make a self-signed certificate")?;
        }
        Ok(own)
    }

    /// Reads the files for listeners.
    pub(crate) async fn load(&self) -> anyhow::Result<RustlsConfig> {
        let (certificate, key) = self.read()?;
        RustlsConfig::from_pem(certificate, key).await.with_context(|| self.complaint())
    }

    /// Reads the files again; new connections get the new certificate.
    pub(crate) async fn reload(&self, running: &RustlsConfig) -> anyhow::Result<()> {
        let (certificate, key) = self.read()?;
        running.reload_from_pem(certificate, key).await.with_context(|| self.complaint())
    }

    fn read(&self) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn complaint(&self) -> String {
        format!("cannot use {} with {}", self.certificate.display(), self.key.display())
    }

    fn make(&self, server_name: &ServerName) -> anyhow::Result<()> {
        let host = server_name.host().trim_start_matches('[').trim_end_matches(']');
        let made = rcgen::generate_simple_self_signed(names_of(host))?;
        write(&self.key, 0o600, &made.signing_key.serialize_pem())?;
        write(&self.certificate, 0o644, &made.cert.pem())
    }
}

/// A server called `localhost` is reached by its loopback addresses as well.
fn names_of(host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    if host == "localhost" {
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    names
}

/// Writes a file that is there wholly or not at all, and that only its owner could ever read when
/// `mode` says so.
fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_added_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(fs::rename(unfinished, path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(directory: &Path) -> Config {
        Config { data_dir: directory.to_owned(), ..Config::default() }
    }

    #[tokio::test]
    async fn the_first_start_makes_a_certificate_and_the_second_keeps_it() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let first = Certificate::find(&config(directory.path())).unwrap();
        first.load().await.unwrap();
        let pem = fs::read(&first.certificate).unwrap();
        assert_eq!(fs::metadata(&first.key).unwrap().permissions().mode() & 0o777, 0o600);
        let second = Certificate::find(&config(directory.path())).unwrap();
        assert_eq!(fs::read(second.certificate).unwrap(), pem);
    }

    #[tokio::test]
    async fn a_certificate_that_does_not_fit_its_key_is_refused() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = Certificate::find(&config(one.path())).unwrap();
        let other = Certificate::find(&config(other.path())).unwrap();
        let running = one.load().await.unwrap();
        let mixed = Certificate { certificate: one.certificate.clone(), key: other.key.clone() };
        let error = format!("{:#}", mixed.reload(&running).await.unwrap_err());
        assert!(error.contains("federation.key"), "{error}");
    }
}
