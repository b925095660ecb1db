//! A certificate authority for the services of a test and their clients.

use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    },
};

/// An authority for certificates, with its files.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl TestCa {
    /// A new one, trusted by no client yet.
    ///
    /// # Panics
    /// If there is no room for files.
    pub fn fresh() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let directory = TempDir::new().expect("room for files");
        fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("room for a file");
        Self { issuer, directory }
    }

    /// The file with this authority's certificate, for clients that trust it.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A client's certificate and its key, as files.
    ///
    /// # Panics
    /// If there is no room for files.
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ClientAuth);
        let path = |name: &str| self.directory.path().join(name);
        fs::write(path("client.pem"), certificate.pem()).expect("room for a file");
        fs::write(path("client.key"), key.serialize_pem()).expect("room for a file");
        (path("client.pem"), path("client.key"))
    }

    /// What makes a server at 127.0.0.1, which may want certificates of its clients.
    ///
    /// # Panics
    /// Never: all parts are ours.
    pub fn server(&self, wants_certificates: bool) -> TlsAcceptor {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).expect("our certificate");
        let builder = ServerConfig::builder();
        let builder = if wants_certificates {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.expect("there is a root"))
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("our key");
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("they fit")))
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }
}
