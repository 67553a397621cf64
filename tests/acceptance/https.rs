//! HTTPS on the port of the routes: certificates, HTTP/2, and everything that may be wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::commands::{self, Ended};
use crate::harness::{PATIENCE, TestServer, TestServerBuilder, program};
use crate::raw_http;

const SCHEME: &str = r#"
def lambda_handler(event, context):
    return {"statusCode": 200, "body": event["requestContext"]["http"]["protocol"]}
"#;

fn builder() -> TestServerBuilder {
    TestServerBuilder::new().handler("scheme", SCHEME)
}

async fn server() -> TestServer {
    builder().argument("--tls").start().await
}

fn certificate(server: &TestServer) -> PathBuf {
    server.state_dir().join("tls/certificate.pem")
}

/// The host part of its address.
fn authority(server: &TestServer) -> String {
    server.http.strip_prefix("https://").expect("HTTPS is announced").to_owned()
}

fn curl(arguments: &[&str]) -> Ended {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]);
    commands::run(curl.args(arguments), "")
}

/// Body, HTTP version and status.
fn fetched(server: &TestServer, more: &[&str]) -> String {
    let certificate = certificate(server);
    let url = format!("{}/scheme", server.http);
    let base = ["--cacert", certificate.to_str().unwrap(), "-w", " %{http_version} %{http_code}"];
    let ended = curl(&[&base[..], more, &[&url]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// A handshake as `localhost`, by somebody who trusts this certificate only.
pub async fn shaken(
    server: &TestServer,
    trusted: &Path,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(authority(server)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

/// A pair of files as somebody may have them.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        pair.renew();
        pair
    }

    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        // Each by a rename, as those who renew certificates do.
        for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
            std::fs::write(self.path("new"), text).unwrap();
            std::fs::rename(self.path("new"), self.path(name)).unwrap();
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_trusts_the_certificate_and_chooses_its_http() {
    let server = server().await;
    assert_eq!(fetched(&server, &[]), "HTTP/2.0 2 200");
    assert_eq!(fetched(&server, &["--http1.1"]), "HTTP/1.1 1.1 200");
    // Every name that an API may have here.
    let port = authority(&server).rsplit_once(':').unwrap().1.to_owned();
    for name in ["localhost", "abc.execute-api.localhost", "scheme.lambda-url.localhost", "lb.elb.localhost"]
    {
        let resolved = format!("{name}:{port}:127.0.0.1");
        let url = format!("https://{name}:{port}/scheme");
        let path = certificate(&server);
        let ended = curl(&["--cacert", path.to_str().unwrap(), "--resolve", &resolved, &url]);
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
    }
    // Nobody trusts it unasked.
    assert_ne!(curl(&[&server.http]).code, Some(0));
    let said = server.wait_for_terminal("SHA-256 ");
    assert_eq!(said.split(':').count(), 32, "{said}");
    server.wait_for_stdout(&format!("https://{}/scheme", authority(&server)));
    // The Lambda API stays as it is.
    assert!(server.api.starts_with("http://"), "{}", server.api);
    assert_eq!(server.health().await["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_plain_http_is_told() {
    let server = server().await;
    let url = format!("http://{}", authority(&server));
    let answer = raw_http::exchange(&url, "GET /scheme HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("This port speaks HTTPS"), "{}", answer.text());
    // What is neither ends too, and disturbs nobody.
    let mut connection = raw_http::Connection::open(&url);
    connection.send([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    assert_eq!(fetched(&server, &[]), "HTTP/2.0 2 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_serve_and_are_read_again_when_they_are_renewed() {
    let pair = Pair::new();
    let (cert, key) = (pair.path("cert.pem"), pair.path("key.pem"));
    let server =
        builder().argument("--tls-cert").argument(&cert).variable("HANDLERD_TLS_KEY", &key).start().await;
    let former = pair.path("former.pem");
    std::fs::copy(&cert, &former).unwrap();
    shaken(&server, cert.as_ref()).await.expect("the certificate is the one in the file");
    pair.renew();
    let began = std::time::Instant::now();
    while let Err(error) = shaken(&server, cert.as_ref()).await {
        assert!(began.elapsed() < PATIENCE, "the new certificate is never served: {error}");
    }
    assert!(shaken(&server, former.as_ref()).await.is_err(), "the former one is gone");
    server.wait_for_terminal("new certificate: SHA-256 ");
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let (pair, other) = (Pair::new(), Pair::new());
    let (cert, key) = (pair.path("cert.pem"), pair.path("key.pem"));
    let handlers = pair.path("handlers");
    std::fs::create_dir(&handlers).unwrap();
    for (arguments, expected) in [
        (
            &["--tls-cert", &cert, "--tls-key", &other.path("key.pem")][..],
            "does not belong to the certificate",
        ),
        (&["--tls-cert", &cert, "--tls-key", "/nowhere"], "could not read the key in /nowhere"),
        (&["--tls-cert", &key, "--tls-key", &key], "there is no certificate in"),
        (&["--tls-cert", &cert, "--tls-key", &cert], "there is no private key in"),
        (&["--tls-cert", &cert], "`--tls-cert` needs `--tls-key` beside it"),
        (&["--tls=true", "--tls-key", &key], "`--tls-key` needs `--tls-cert` beside it"),
    ] {
        let mut command = program();
        command.arg("serve").arg(&handlers).args(["--port", "0", "--api-port", "0"]).args(arguments);
        let ended = commands::run(&mut command, "");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

/// Connections in every state: before, inside and after their handshakes.
#[tokio::test(flavor = "multi_thread")]
async fn the_stop_waits_for_nobodys_handshake() {
    let mut server = server().await;
    let _silent = TcpStream::connect(authority(&server)).await.unwrap();
    let half = TcpStream::connect(authority(&server)).await.unwrap();
    half.writable().await.unwrap();
    half.try_write(&[0x16, 3, 1, 0, 200, 1]).unwrap();
    let _idle = shaken(&server, &certificate(&server)).await.unwrap();
    assert_eq!(fetched(&server, &[]), "HTTP/2.0 2 200");
    let began = std::time::Instant::now();
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait_for_exit().success());
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_may_say_it_and_the_command_line_take_it_back() {
    let server = builder().variable("HANDLERD_TLS", "1").start().await;
    assert!(server.http.starts_with("https://"));
    let server = builder().variable("HANDLERD_TLS", "1").argument("--tls=false").start().await;
    assert!(server.http.starts_with("http://"));
    assert_eq!(server.get("/scheme").await.text(), "HTTP/1.1");
}
