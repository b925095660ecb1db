//! Certificates: for verifying a server, and for identifying this client to it.

use std::{fs, io, path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use redis::{ClientTlsConfig, TlsCertificates};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use crate::Error;

/// Certificates for a connection to `amqps://` or `rediss://`, each a file in PEM. They are read
/// when the connection is set up; nothing of it matters for an address without TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that may vouch for the server, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, for servers that want one; it needs a `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// The private key of our certificate.
    pub key_file: Option<PathBuf>,
}

/// A certificate and its key, in PEM.
type Identity = (Vec<u8>, Vec<u8>);

impl Tls {
    pub(crate) fn for_amqp(&self) -> Result<OwnedTLSConfig, Error> {
        let authorities = match self.authorities()? {
            Some(authorities) => String::from_utf8_lossy(&authorities).into_owned(),
            None => system_authorities()?,
        };
        let identity = self.identity()?.map(|(pem, key)| OwnedIdentity::PKCS8 { pem, key });
        Ok(OwnedTLSConfig { identity, cert_chain: Some(authorities) })
    }

    pub(crate) fn for_redis(&self) -> Result<TlsCertificates, Error> {
        let identity = self.identity()?;
        let client_tls =
            identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        // Without authorities the library takes the system's.
        Ok(TlsCertificates { client_tls, root_cert: self.authorities()? })
    }

    /// TLS over `stream` to the server called `host`. The files are read now.
    ///
    /// # Errors
    /// What is wrong with them, or with the server's certificate.
    pub async fn wrap(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.for_rustls()?));
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        connector.connect(name, stream).await
    }

    fn for_rustls(&self) -> io::Result<ClientConfig> {
        let authorities = match self.authorities().map_err(io::Error::other)? {
            Some(authorities) => authorities,
            None => system_authorities().map_err(io::Error::other)?.into_bytes(),
        };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&authorities) {
            roots.add(authority.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let Some((certificate, key)) = self.identity().map_err(io::Error::other)? else {
            return Ok(config.with_no_client_auth());
        };
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(io::Error::other)?;
        config
            .with_client_auth_cert(chain.map_err(io::Error::other)?, key)
            .map_err(io::Error::other)
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, Error> {
        read("ca_file", &self.ca_file, "CERTIFICATE")
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let certificate = read("certificate_file", &self.certificate_file, "CERTIFICATE")?;
        let key = read("key_file", &self.key_file, "PRIVATE KEY")?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            _ => Err(Error::InvalidConfig {
                setting: "certificate_file",
                reason: "a certificate and its key belong together; name both or neither".into(),
            }),
        }
    }
}

/// The content of a PEM file that has to hold a `kind`.
fn read(
    setting: &'static str,
    file: &Option<PathBuf>,
    kind: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(path) = file else { return Ok(None) };
    let refuse = |reason: String| Error::InvalidConfig { setting, reason };
    let content = fs::read(path)
        .map_err(|error| refuse(format!("{}: cannot be read: {error}", path.display())))?;
    let text = String::from_utf8_lossy(&content);
    if !text.contains("-----BEGIN ") || !text.contains(&format!("{kind}-----")) {
        return Err(refuse(format!("{} holds no {kind} in PEM", path.display())));
    }
    Ok(Some(content))
}

/// What this machine trusts, in the form in which the library wants it.
fn system_authorities() -> Result<String, Error> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(Error::InvalidConfig {
            setting: "ca_file",
            reason: "this machine trusts no authority (/etc/ssl/certs is empty); install \
                     ca-certificates, or name a file"
                .into(),
        });
    }
    let pem = |certificate: &[u8]| {
        let content = BASE64_STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n")
    };
    Ok(found.certs.iter().map(|certificate| pem(certificate)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_its_name() {
        let path = std::env::temp_dir().join(format!("sandfleet-tls-{}", std::process::id()));
        fs::write(&path, "a password").expect("room for a file");
        let tls = Tls { ca_file: Some(path.clone()), ..Tls::default() };
        let error = tls.for_redis().expect_err("no certificate").to_string();
        assert!(error.starts_with("ca_file: ") && !error.contains("password"), "{error}");
        fs::remove_file(&path).expect("ours");
        let error = tls.for_amqp().expect_err("no file").to_string();
        assert!(error.contains("cannot be read"), "{error}");
        let tls = Tls { key_file: None, certificate_file: None, ca_file: None };
        assert!(tls.for_redis().expect("nothing to read").root_cert.is_none());
    }
}
