use std::time::Duration;

use axum::Router;
use axum::routing::get;
use stitch_common::config::{Config, Environment, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

const BOUND: Duration = Duration::from_secs(20);
const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// A running server whose one address answers when it is released.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    released: watch::Sender<bool>,
    served: JoinHandle<usize>,
}

impl Running {
    async fn start(api: &[(&str, &str)], tls: Option<TlsAcceptor>) -> Self {
        let mut environment = vec![("STITCH_API__LISTEN", "127.0.0.1:0")];
        environment.extend(api);
        let environment: Environment = environment.into_iter().collect();
        let text = include_str!("../../../deploy/stitch.toml");
        let config = Config::parse("stitch.toml", text, &environment).unwrap();
        let server = Server::bind(&config.api).await.unwrap();
        let released = watch::Sender::new(true);
        let gate = released.clone();
        let answer = move || {
            let mut gate = gate.subscribe();
            async move {
                gate.wait_for(|open| *open).await.ok();
                "here\n"
            }
        };
        let routes = Router::new().route("/", get(answer));
        let (address, stop) = (server.address(), CancellationToken::new());
        let stopping = stop.clone();
        let served = tokio::spawn(async move { server.serve(routes, tls, &stopping).await });
        Self {
            address,
            stop,
            released,
            served,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Until so many requests wait at the gate.
    async fn until_waiting(&self, requests: usize) {
        let waiting = async {
            while self.released.receiver_count() < requests {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, waiting).await.unwrap();
    }

    async fn stopped(self) -> usize {
        self.stop.cancel();
        timeout(BOUND, self.served).await.unwrap().unwrap()
    }
}

async fn answered(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = vec![0; 1000];
    let length = timeout(BOUND, stream.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_open_connections_do_not_keep_one_request_waiting() {
    let running = Running::start(&[], None).await;
    let mut open = Vec::new();
    for _ in 0..2000 {
        open.push(running.connect().await);
    }
    let mut one = running.connect().await;
    one.write_all(ASKED).await.unwrap();
    assert!(answered(&mut one).await.ends_with("here\n"));
    assert_eq!(running.stopped().await, 0, "idle ones are closed at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_beyond_the_limit_waits_until_another_one_ends() {
    let running = Running::start(&[("STITCH_API__CONNECTIONS_MAX", "1")], None).await;
    running.released.send_replace(false);
    let mut first = running.connect().await;
    first.write_all(ASKED).await.unwrap();
    running.until_waiting(1).await;
    let mut second = running.connect().await;
    second.write_all(ASKED).await.unwrap();
    running.released.send_replace(true);
    // Time enough for the second one, if it were let in.
    for _ in 0..20 {
        assert!(answered(&mut first).await.ends_with("here\n"));
        first.write_all(ASKED).await.unwrap();
    }
    assert!(answered(&mut first).await.ends_with("here\n"));
    let mut nothing = [0];
    assert_eq!(
        second.try_read(&mut nothing).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(first);
    assert!(answered(&mut second).await.ends_with("here\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_was_begun_and_takes_nothing_new() {
    let running = Running::start(&[], None).await;
    running.released.send_replace(false);
    let mut begun = running.connect().await;
    begun.write_all(ASKED).await.unwrap();
    running.until_waiting(1).await;
    running.stop.cancel();
    let refused = async { while TcpStream::connect(running.address).await.is_ok() {} };
    timeout(BOUND, refused).await.unwrap();
    running.released.send_replace(true);
    let answer = answered(&mut begun).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("here\n"),
        "{answer}"
    );
    assert_eq!(running.stopped().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_ever() {
    let running = Running::start(&[("STITCH_API__STOP_TIMEOUT_MS", "50")], None).await;
    running.released.send_replace(false);
    let mut begun = running.connect().await;
    begun.write_all(ASKED).await.unwrap();
    running.until_waiting(1).await;
    assert_eq!(running.stopped().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_for_a_client_that_has_gone_is_dropped() {
    let running = Running::start(&[], None).await;
    running.released.send_replace(false);
    let mut gone = running.connect().await;
    gone.write_all(ASKED).await.unwrap();
    running.until_waiting(1).await;
    drop(gone);
    let dropped = async {
        while running.released.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, dropped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_told_with_the_way_out() {
    let running = Running::start(&[], None).await;
    let taken = running.address.to_string();
    let environment: Environment = [("STITCH_API__LISTEN", taken.as_str())]
        .into_iter()
        .collect();
    let text = include_str!("../../../deploy/stitch.toml");
    let config = Config::parse("stitch.toml", text, &environment).unwrap();
    let failure = Server::bind(&config.api).await.unwrap_err();
    assert!(
        failure.message.contains("api.listen") && failure.message.contains(&taken),
        "{failure}"
    );
}

/// A certificate and its key in files.
fn files(folder: &tempfile::TempDir) -> (TlsFiles, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("api.crt"),
        key: folder.path().join("api.key"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, made.cert.der().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_requests_are_encrypted() {
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

    let folder = tempfile::tempdir().unwrap();
    let (files, certificate) = files(&folder);
    let running = Running::start(&[], Some(tls::acceptor(&files).unwrap())).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate)).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector
        .connect(name, running.connect().await)
        .await
        .unwrap();
    stream.write_all(ASKED).await.unwrap();
    assert!(answered(&mut stream).await.ends_with("here\n"));
    let mut plain = running.connect().await;
    plain.write_all(ASKED).await.unwrap();
    let mut rest = Vec::new();
    timeout(BOUND, plain.read_to_end(&mut rest))
        .await
        .unwrap()
        .ok();
    assert!(!String::from_utf8_lossy(&rest).contains("here"));
}

#[test]
fn files_that_are_no_certificate_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (good, _) = files(&folder);
    let other = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (_, another_key) = (0, rcgen::KeyPair::generate().unwrap().serialize_pem());
    for (certificate, key, named) in [
        (folder.path().join("none.crt"), good.key.clone(), "none.crt"),
        (other("empty.crt", ""), good.key.clone(), "empty.crt"),
        (
            good.certificate.clone(),
            other("empty.key", ""),
            "empty.key",
        ),
        (
            good.certificate.clone(),
            other("another.key", &another_key),
            "another.key",
        ),
    ] {
        let failure = tls::acceptor(&TlsFiles { certificate, key })
            .map(drop)
            .unwrap_err();
        assert!(failure.message.contains(named), "{failure}");
        assert!(failure.help.contains("api.tls_certificate"), "{failure}");
    }
}
