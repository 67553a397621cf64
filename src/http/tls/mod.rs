//! HTTPS: handshakes, with the certificate that is in its files now.

mod files;
mod self_signed;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::wire::Wire;
use crate::config::Tls;
use files::{Files, Seen};

/// How soon a renewed certificate is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The first byte of every TLS connection.
const HANDSHAKE_RECORD: u8 = 0x16;
/// How much of a plain request is read before it is told where it is, and for how long.
const PLAIN_BYTES: usize = 64 * 1024;
const PLAIN_TIME: Duration = Duration::from_secs(1);

/// A cheap handle: turns connections into HTTPS connections.
#[derive(Clone)]
pub struct Acceptor(Arc<Shared>);

struct Shared {
    files: Files,
    self_signed: bool,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// SHA-256 of the certificate.
    fingerprint: String,
    /// The files as they were when they were last read, with or without success.
    seen: Seen,
    looked: Instant,
}

impl Acceptor {
    pub fn new(tls: &Tls, state_dir: &Path) -> anyhow::Result<Self> {
        let (files, self_signed) = match tls {
            Tls::Files { certificate, key } => {
                (Files { certificate: certificate.clone(), key: key.clone() }, false)
            }
            Tls::SelfSigned => (self_signed::ready(&state_dir.join("tls"))?, true),
        };
        let seen = files.look();
        let (config, fingerprint) = load(&files)?;
        let current = Current { config, fingerprint, seen, looked: Instant::now() };
        Ok(Self(Arc::new(Shared { files, self_signed, current: Mutex::new(current) })))
    }

    /// For the terminal: which certificate this is, and what to do with one that nobody knows.
    pub fn description(&self) -> String {
        let path = self.certificate().display();
        let fingerprint = &self.0.current.lock().unwrap().fingerprint;
        match self.0.self_signed {
            true => format!(
                "HTTPS with a certificate of its own: {path}\nSHA-256 {fingerprint}\nhint: clients have to be told to \
                 trust it, such as by `curl --cacert {path}`, or AWS_CA_BUNDLE for boto3"
            ),
            false => format!("HTTPS with the certificate {path}\nSHA-256 {fingerprint}"),
        }
    }

    pub fn certificate(&self) -> &PathBuf {
        &self.0.files.certificate
    }

    /// `None`: it came to nothing, and the client has been told as far as it could be. Whoever calls sets
    /// a limit to that.
    pub(super) async fn accept(&self, mut stream: Wire) -> Option<TlsStream<Wire>> {
        let mut first = [0];
        if stream.stream().peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first[0] != HANDSHAKE_RECORD {
            let _ = tokio::time::timeout(PLAIN_TIME, answer_in_plain(&mut stream)).await;
            return None;
        }
        let acceptor = TlsAcceptor::from(self.config());
        let accepted = acceptor.accept(stream).await;
        accepted.inspect_err(|error| tracing::debug!("TLS handshake: {error}")).ok()
    }

    /// Read again when the files are others: whoever renews a certificate need not stop anything.
    fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.0.current.lock().unwrap();
        if current.looked.elapsed() >= LOOK_AGAIN {
            current.looked = Instant::now();
            let seen = self.0.files.look();
            if seen != current.seen {
                current.seen = seen;
                match load(&self.0.files) {
                    Ok((config, fingerprint)) => {
                        tracing::info!("new certificate: SHA-256 {fingerprint}");
                        (current.config, current.fingerprint) = (config, fingerprint);
                    }
                    Err(error) => tracing::warn!("HTTPS goes on with the former certificate: {error:#}"),
                }
            }
        }
        current.config.clone()
    }
}

fn load(files: &Files) -> anyhow::Result<(Arc<ServerConfig>, String)> {
    let key = Arc::new(files.load()?);
    let fingerprint = fingerprint(key.cert.first().map_or(&[], |certificate| certificate.as_ref()));
    let resolver = rustls::sign::SingleCertAndKey::from(key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), fingerprint))
}

/// Whether that is what the two sides have agreed on.
pub(super) fn speaks_http1(stream: &TlsStream<Wire>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"http/1.1")
}

/// What the two sides have agreed on, in the names that AWS uses.
pub(super) fn encryption(stream: &TlsStream<Wire>) -> Option<super::Encryption> {
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version()? {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let suite = format!("{:?}", connection.negotiated_cipher_suite()?.suite());
    Some(super::Encryption { version: version.to_owned(), cipher_suite: suite.replace("TLS13_", "TLS_") })
}

fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// `AB:CD:...`, as browsers and openssl show it.
fn fingerprint(certificate: &[u8]) -> String {
    let hash = Sha256::digest(certificate);
    hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Somebody speaks HTTP where HTTPS is spoken, or something else altogether.
async fn answer_in_plain(stream: &mut Wire) -> std::io::Result<()> {
    const TEXT: &str = "This port speaks HTTPS: write https:// (or wss://) in place of http:// (or ws://).\n";
    let mut request = Vec::new();
    while request.len() < PLAIN_BYTES && !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{TEXT}",
        TEXT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // A connection closed on unread bytes is reset, and the client may never see the answer.
    let rest = stream.take(PLAIN_BYTES as u64);
    tokio::io::copy(&mut { rest }, &mut tokio::io::sink()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_its_own_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let first = Acceptor::new(&Tls::SelfSigned, folder.path()).unwrap();
        let again = Acceptor::new(&Tls::SelfSigned, folder.path()).unwrap();
        assert_eq!(first.description(), again.description());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("tls")), 0o700);
        assert_eq!(mode(&folder.path().join("tls/key.pem")), 0o600);
        // Half of it is no certificate.
        std::fs::remove_file(folder.path().join("tls/key.pem")).unwrap();
        let other = Acceptor::new(&Tls::SelfSigned, folder.path()).unwrap();
        assert_ne!(first.description(), other.description());
        std::fs::write(folder.path().join("tls/certificate.pem"), "damaged").unwrap();
        assert_ne!(
            Acceptor::new(&Tls::SelfSigned, folder.path()).unwrap().description(),
            other.description()
        );
    }

    #[test]
    fn renewed_files_are_read_again_and_broken_ones_change_nothing() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let acceptor = Acceptor::new(&Tls::SelfSigned, folder.path()).unwrap();
        Acceptor::new(&Tls::SelfSigned, other.path()).unwrap();
        let look = || {
            let before = Instant::now().checked_sub(LOOK_AGAIN).unwrap();
            acceptor.0.current.lock().unwrap().looked = before;
            acceptor.config();
            acceptor.description()
        };
        let former = look();
        for file in ["certificate.pem", "key.pem"] {
            let renewed = other.path().join("tls").join(file);
            std::fs::copy(renewed, folder.path().join("tls").join(file)).unwrap();
            // After the first of them they do not belong together.
            assert_eq!(look() == former, file == "certificate.pem");
        }
        let renewed = look();
        std::fs::write(folder.path().join("tls/certificate.pem"), "damaged").unwrap();
        assert_eq!(look(), renewed);
        std::fs::remove_file(folder.path().join("tls/key.pem")).unwrap();
        assert_eq!(look(), renewed);
    }

    #[test]
    fn fingerprints_look_as_elsewhere() {
        assert!(fingerprint(b"abc").starts_with("BA:78:16:BF:8F:01:CF:EA:"));
    }
}
