use std::time::Duration;

use axum::Router;
use axum::routing::get;
use stitch_config::TlsFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

const BOUND: Duration = Duration::from_secs(20);
/// More than the system keeps for a connection whose peer does not read.
const LARGE: usize = 1 << 20;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Limits that no test reaches by accident.
fn limits() -> Limits {
    Limits::new(4096, 4096, BOUND)
}

/// A running server, whose only route answers once it is released.
struct RunningServer {
    address: SocketAddr,
    stop: CancellationToken,
    released: watch::Sender<bool>,
    served: JoinHandle<usize>,
}

impl RunningServer {
    async fn start(limits: Limits, tls: Option<TlsAcceptor>) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let server = Server::bind("api.listen", listen, limits).await.unwrap();
        let released = watch::Sender::new(true);
        let release = released.clone();
        let answer = move || {
            let mut release = release.subscribe();
            async move {
                release.wait_for(|released| *released).await.ok();
                "answer\n"
            }
        };
        let large = || async { "x".repeat(LARGE) };
        let routes = Router::new()
            .route("/", get(answer))
            .route("/large", get(large));
        let (address, stop) = (server.address(), CancellationToken::new());
        let stopping = stop.clone();
        let served =
            tokio::spawn(async move { server.serve(routes, tls, &stopping, |_| {}).await });
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

    /// A connection from another address of this machine.
    async fn connect_from(&self, address: [u8; 4]) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Waits until this many requests wait for their release.
    async fn until_waiting(&self, requests: usize) {
        let waiting = async {
            while self.released.receiver_count() < requests {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, waiting).await.unwrap();
    }

    async fn stop(self) -> usize {
        self.stop.cancel();
        timeout(BOUND, self.served).await.unwrap().unwrap()
    }
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = vec![0; 1000];
    let length = timeout(BOUND, stream.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_open_connections_do_not_delay_a_request() {
    let running = RunningServer::start(limits(), None).await;
    let mut open = Vec::new();
    for _ in 0..2000 {
        open.push(running.connect().await);
    }
    let mut request = running.connect().await;
    request.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut request).await.ends_with("answer\n"));
    assert_eq!(
        running.stop().await,
        0,
        "idle connections are closed at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_beyond_the_limit_waits_until_another_one_ends() {
    let running = RunningServer::start(
        Limits {
            connections: 1,
            ..limits()
        },
        None,
    )
    .await;
    running.released.send_replace(false);
    let mut first = running.connect().await;
    first.write_all(REQUEST).await.unwrap();
    running.until_waiting(1).await;
    let mut second = running.connect().await;
    second.write_all(REQUEST).await.unwrap();
    running.released.send_replace(true);
    // Enough time for the second one, if it were accepted.
    for _ in 0..20 {
        assert!(answer(&mut first).await.ends_with("answer\n"));
        first.write_all(REQUEST).await.unwrap();
    }
    assert!(answer(&mut first).await.ends_with("answer\n"));
    let mut nothing = [0];
    assert_eq!(
        second.try_read(&mut nothing).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(first);
    assert!(answer(&mut second).await.ends_with("answer\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_requests_in_flight_and_accepts_no_connections() {
    let running = RunningServer::start(limits(), None).await;
    running.released.send_replace(false);
    let mut in_flight = running.connect().await;
    in_flight.write_all(REQUEST).await.unwrap();
    running.until_waiting(1).await;
    running.stop.cancel();
    let refused = async { while TcpStream::connect(running.address).await.is_ok() {} };
    timeout(BOUND, refused).await.unwrap();
    running.released.send_replace(true);
    let answer = answer(&mut in_flight).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("answer\n"),
        "{answer}"
    );
    assert_eq!(running.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_forever() {
    let running = RunningServer::start(
        Limits {
            stop: Duration::from_millis(50),
            ..limits()
        },
        None,
    )
    .await;
    running.released.send_replace(false);
    let mut in_flight = running.connect().await;
    in_flight.write_all(REQUEST).await.unwrap();
    running.until_waiting(1).await;
    assert_eq!(running.stop().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_for_a_client_that_went_away_is_dropped() {
    let running = RunningServer::start(limits(), None).await;
    running.released.send_replace(false);
    let mut client = running.connect().await;
    client.write_all(REQUEST).await.unwrap();
    running.until_waiting(1).await;
    drop(client);
    let dropped = async {
        while running.released.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, dropped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_reported_with_help() {
    let running = RunningServer::start(limits(), None).await;
    let in_use = running.address.to_string();
    let error = Server::bind("api.listen", running.address, limits())
        .await
        .unwrap_err();
    assert!(
        error.message.contains("api.listen") && error.message.contains(&in_use),
        "{error}"
    );
}

/// Reads until the server ends the connection; fails if it does not.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = timeout(BOUND, stream.read_to_end(&mut bytes)).await;
    ended.expect("the server closes the connection").ok();
    String::from_utf8_lossy(&bytes).into_owned()
}

const SOON: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_has_to_send_its_first_request_soon() {
    let first_head = SOON;
    let limits = Limits {
        first_head,
        ..limits()
    };
    let running = RunningServer::start(limits, None).await;
    let mut silent = running.connect().await;
    assert_eq!(until_closed(&mut silent).await, "");
    let mut slow = running.connect().await;
    let dripped = async {
        loop {
            for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\n" {
                if slow.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    timeout(BOUND, dripped).await.unwrap();
    let mut used = running.connect().await;
    used.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut used).await.ends_with("answer\n"));
    tokio::time::sleep(2 * SOON).await;
    used.write_all(REQUEST).await.unwrap();
    assert!(
        answer(&mut used).await.ends_with("answer\n"),
        "it may be idle"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_not_be_idle_for_ever() {
    let limits = Limits {
        idle: SOON,
        ..limits()
    };
    let running = RunningServer::start(limits, None).await;
    let mut client = running.connect().await;
    client.write_all(REQUEST).await.unwrap();
    assert!(until_closed(&mut client).await.ends_with("answer\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pipelines_and_never_reads_is_closed() {
    let limits = Limits {
        write: SOON,
        ..limits()
    };
    let running = RunningServer::start(limits, None).await;
    let mut client = running.connect().await;
    let large = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let closed = async {
        // Nothing is read: the server's buffers fill, then it stops to read, and then it closes.
        while client.write_all(large).await.is_ok() {}
    };
    timeout(BOUND, closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_a_byte_at_a_time_is_closed_and_one_that_reads_is_not() {
    let write = SOON;
    let running = RunningServer::start(Limits { write, ..limits() }, None).await;
    let request = b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut reader = running.connect().await;
    reader.write_all(request).await.unwrap();
    assert!(until_closed(&mut reader).await.len() > LARGE);
    let mut slow = running.connect().await;
    for _ in 0..40 {
        slow.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
    }
    let mut byte = [0];
    let closed = async {
        while slow.write_all(b" ").await.is_ok() {
            slow.read_exact(&mut byte).await.ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_keep_the_others_out() {
    let limits = Limits {
        connections_per_client: 3,
        ..limits()
    };
    let running = RunningServer::start(limits, None).await;
    let mut greedy = Vec::new();
    for _ in 0..3 {
        greedy.push(running.connect().await);
    }
    for _ in 0..20 {
        let text = until_closed(&mut running.connect().await).await;
        assert!(text.starts_with("HTTP/1.1 429 "), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
    let mut other = running.connect_from([127, 0, 0, 2]).await;
    other.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut other).await.ends_with("answer\n"));
    drop(greedy.pop());
    let again = async {
        loop {
            let mut again = running.connect().await;
            again.write_all(REQUEST).await.ok();
            if until_answer(&mut again).await.ends_with("answer\n") {
                return;
            }
        }
    };
    timeout(BOUND, again).await.unwrap();
}

/// What comes first, or nothing if the connection is reset.
async fn until_answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 1000];
    let length = stream.read(&mut bytes).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_holds_no_connection() {
    let idle = SOON;
    let running = RunningServer::start(Limits { idle, ..limits() }, None).await;
    let mut client = running.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    client.write_all(head).await.unwrap();
    let text = until_closed(&mut client).await;
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
}

fn acceptor(files: &TlsFiles) -> TlsAcceptor {
    let certificate = tls::ServerCertificate::read(files).unwrap();
    certificate.acceptor().unwrap()
}

/// Writes a certificate and its key into files.
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

/// A connection of a client that trusts this certificate alone.
async fn encrypted(
    running: &RunningServer,
    certificate: &[u8],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate)).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, running.connect().await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_unusable_files_keep_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, old) = files(&folder);
    let mut certificate = tls::ServerCertificate::read(&paths).unwrap();
    let running = RunningServer::start(limits(), Some(certificate.acceptor().unwrap())).await;
    let mut before = encrypted(&running, &old).await.unwrap();
    assert!(certificate.poll().await);
    let key = std::fs::read(&paths.key).unwrap();
    // Half of a renewal: the certificate of another key.
    let (_, new) = files(&folder);
    let renewed_key = std::fs::read(&paths.key).unwrap();
    std::fs::write(&paths.key, key).unwrap();
    assert!(!certificate.poll().await);
    assert!(encrypted(&running, &old).await.is_ok());
    assert!(encrypted(&running, &new).await.is_err());
    std::fs::write(&paths.key, renewed_key).unwrap();
    assert!(certificate.poll().await);
    assert!(encrypted(&running, &new).await.is_ok());
    assert!(encrypted(&running, &old).await.is_err());
    // What is connected stays so.
    before.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut before).await.ends_with("answer\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_only_encrypted_requests_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (files, certificate) = files(&folder);
    let running = RunningServer::start(limits(), Some(acceptor(&files))).await;
    let mut stream = encrypted(&running, &certificate).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("answer\n"));
    let mut plain = running.connect().await;
    plain.write_all(REQUEST).await.unwrap();
    let mut rest = Vec::new();
    timeout(BOUND, plain.read_to_end(&mut rest))
        .await
        .unwrap()
        .ok();
    assert!(!String::from_utf8_lossy(&rest).contains("answer"));
}

#[test]
fn unusable_certificates_and_keys_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (good, _) = files(&folder);
    let other = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let another_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
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
        let error = tls::ServerCertificate::read(&TlsFiles { certificate, key })
            .map(drop)
            .unwrap_err();
        assert!(error.message.contains(named), "{error}");
        assert!(error.help.contains("api.tls_certificate"), "{error}");
    }
}
