//! An HTTPS server with a certificate authority of its own, for tests.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tempfile::TempDir;

/// Makes rustls usable in this test process, however many tests ask for it.
pub(crate) fn install_crypto() {
    // It fails when another test was first, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A certificate authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Writes the authority's certificate to a file in `dir`.
    pub(crate) fn file(&self, dir: &TempDir) -> PathBuf {
        let file = dir.path().join("authority.pem");
        std::fs::write(&file, &self.pem).unwrap();
        file
    }

    /// Serves `router` on a free loopback port with a certificate for `names` (or IP addresses),
    /// until the test ends.
    pub(crate) fn serve(&self, names: &[&str], router: Router) -> SocketAddr {
        self.serve_protocols(names, router, &["h2", "http/1.1"])
    }

    /// The same, offering only these protocols (ALPN).
    pub(crate) fn serve_protocols(
        &self,
        names: &[&str],
        router: Router,
        protocols: &[&str],
    ) -> SocketAddr {
        install_crypto();
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let config = RustlsConfig::from_config(Arc::new(self.server_config(names, protocols)));
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        tokio::spawn(server.serve(router.into_make_service_with_connect_info::<SocketAddr>()));
        address
    }

    fn server_config(&self, names: &[&str], protocols: &[&str]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate =
            CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}
