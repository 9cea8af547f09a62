//! Handshakes with a server in this process, by files that are right, wrong, or replaced.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use stitch_config::TlsFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::explain;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` that is valid between these years, and its key.
fn certificate(by: &Authority, name: &str, years: (i32, i32)) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

const NOW: (i32, i32) = (2020, 2100);

/// The files of a client, written into `folder`.
fn files(
    folder: &Path,
    ca: &Authority,
    client: Option<&(rcgen::Certificate, KeyPair)>,
) -> CertificateFiles {
    let path = |name: &str| folder.join(name);
    std::fs::write(path("ca.pem"), ca.pem()).unwrap();
    let identity = client.map(|(certificate, key)| {
        std::fs::write(path("client.pem"), certificate.pem()).unwrap();
        std::fs::write(path("client.key"), key.serialize_pem()).unwrap();
        TlsFiles {
            certificate: path("client.pem"),
            key: path("client.key"),
        }
    });
    CertificateFiles {
        ca: path("ca.pem"),
        identity,
    }
}

fn acceptor(own: &(rcgen::Certificate, KeyPair), clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivatePkcs8KeyDer::from(own.1.serialize_der()).into();
    let config = builder.with_single_cert(vec![own.0.der().clone()], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// Connects to 10.0.0.1. The common name that the server sees, or how the failure is explained.
async fn connect(
    config: &Arc<ClientConfig>,
    files: &CertificateFiles,
    server: &TlsAcceptor,
) -> Result<Option<Vec<u8>>, String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::IpAddress(std::net::IpAddr::from([10, 0, 0, 1]).into());
    let connector = TlsConnector::from(Arc::clone(config));
    let client = async {
        let mut stream = connector.connect(name, near).await?;
        // A server of TLS 1.3 refuses a client only after the client's last word.
        stream.read_u8().await
    };
    let accepted = async {
        let mut stream = server.accept(far).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().map(|chain| chain[0].to_vec());
        Ok::<_, std::io::Error>(certificate)
    };
    let (client, accepted) = tokio::join!(client, accepted);
    match client {
        Ok(7) => Ok(accepted.unwrap()),
        Ok(other) => panic!("{other}"),
        Err(error) => {
            let explained = explain(&error, "db:9042", "cassandra.tls", files);
            let explained = explained.unwrap_or_else(|| panic!("{error} is not explained"));
            assert!(!explained.help.is_empty());
            Err(explained.message)
        }
    }
}

#[tokio::test]
async fn a_handshake_fails_for_the_reason_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, other) = (authority(), authority());
    let right = certificate(&ca, "10.0.0.1", NOW);
    let own = certificate(&ca, "stitch", NOW);
    let files = files(folder.path(), &ca, Some(&own));
    let full = client_config(&files, Verify::Full).unwrap();
    let seen = connect(&full, &files, &acceptor(&right, Some(&ca)))
        .await
        .unwrap();
    assert_eq!(
        seen,
        Some(own.0.der().to_vec()),
        "the server knows the client"
    );
    for (server, words) in [
        (
            certificate(&other, "10.0.0.1", NOW),
            "does not come from an authority in",
        ),
        (certificate(&ca, "10.0.0.1", (2019, 2020)), "has expired"),
        (
            certificate(&ca, "10.0.0.1", (2099, 2100)),
            "is not valid yet",
        ),
        (
            certificate(&ca, "10.0.0.2", NOW),
            "is made for another name",
        ),
    ] {
        let message = connect(&full, &files, &acceptor(&server, None))
            .await
            .unwrap_err();
        assert!(
            message.contains("db:9042") && message.contains(words),
            "{message}"
        );
    }
    let message = connect(&full, &files, &acceptor(&right, Some(&other)))
        .await
        .unwrap_err();
    let path = files
        .identity
        .as_ref()
        .unwrap()
        .certificate
        .display()
        .to_string();
    assert!(
        message.contains("db:9042 refuses the certificate") && message.contains(&path),
        "{message}"
    );
}

#[tokio::test]
async fn the_chain_alone_is_enough_where_the_configuration_says_so_but_not_another_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, other) = (authority(), authority());
    let files = files(folder.path(), &ca, None);
    let chain = client_config(&files, Verify::Chain).unwrap();
    let named = certificate(&ca, "db.example.org", NOW);
    assert_eq!(
        connect(&chain, &files, &acceptor(&named, None)).await,
        Ok(None)
    );
    for (by, years, words) in [(&other, NOW, "authority"), (&ca, (2019, 2020), "expired")] {
        let server = certificate(by, "db.example.org", years);
        let message = connect(&chain, &files, &acceptor(&server, None))
            .await
            .unwrap_err();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_is_named_if_there_is_none_or_an_expired_one() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority();
    let server = acceptor(&certificate(&ca, "10.0.0.1", NOW), Some(&ca));
    let none = files(folder.path(), &ca, None);
    let config = client_config(&none, Verify::Full).unwrap();
    let message = connect(&config, &none, &server).await.unwrap_err();
    assert!(
        message.contains("refuses a client without a certificate"),
        "{message}"
    );
    let expired = certificate(&ca, "stitch", (2019, 2020));
    let expired = files(folder.path(), &ca, Some(&expired));
    let config = client_config(&expired, Verify::Full).unwrap();
    let message = connect(&config, &expired, &server).await.unwrap_err();
    assert!(message.contains("it has expired"), "{message}");
}

#[tokio::test]
async fn a_plain_server_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority();
    let files = files(folder.path(), &ca, None);
    let config = client_config(&files, Verify::Full).unwrap();
    let (near, mut far) = tokio::io::duplex(1 << 16);
    far.write_all(b"\x84\x00\x00\x00\x00\x00\x00\x00\x04nope")
        .await
        .unwrap();
    let name = ServerName::try_from("db").unwrap();
    let error = TlsConnector::from(config)
        .connect(name, near)
        .await
        .unwrap_err();
    let explained = explain(&error, "db:9042", "cassandra.tls", &files).unwrap();
    assert_eq!(explained.message, "db:9042 does not speak TLS");
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        explain(&refused, "db:9042", "cassandra.tls", &files),
        None,
        "an outage is one"
    );
}

#[tokio::test]
async fn renewed_files_are_used_by_the_next_connection_and_half_renewed_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority();
    let first = certificate(&ca, "first", NOW);
    let files = files(folder.path(), &ca, Some(&first));
    let config = client_config(&files, Verify::Full).unwrap();
    let server = certificate(&ca, "10.0.0.1", NOW);
    let accepting = acceptor(&server, Some(&ca));
    let seen = connect(&config, &files, &accepting).await.unwrap();
    assert_eq!(seen, Some(first.0.der().to_vec()));
    let second = certificate(&ca, "second", NOW);
    let paths = files.identity.clone().unwrap();
    // As a secret's volume is updated: one file after the other.
    std::fs::write(&paths.certificate, second.0.pem()).unwrap();
    let seen = connect(&config, &files, &accepting).await.unwrap();
    assert_eq!(
        seen,
        Some(first.0.der().to_vec()),
        "its key is not there yet"
    );
    std::fs::write(&paths.key, second.1.serialize_pem()).unwrap();
    let seen = connect(&config, &files, &accepting).await.unwrap();
    assert_eq!(seen, Some(second.0.der().to_vec()));
    // The authority is replaced, too.
    let other = authority();
    let server = acceptor(&certificate(&other, "10.0.0.1", NOW), None);
    let message = connect(&config, &files, &server).await.unwrap_err();
    assert!(message.contains("authority"), "{message}");
    std::fs::write(&files.ca, other.pem()).unwrap();
    assert_eq!(connect(&config, &files, &server).await, Ok(None));
    std::fs::remove_file(&files.ca).unwrap();
    assert_eq!(
        connect(&config, &files, &server).await,
        Ok(None),
        "a missing file changes nothing"
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority();
    let (own, other) = (certificate(&ca, "a", NOW), certificate(&ca, "b", NOW));
    let files = files(folder.path(), &ca, Some(&own));
    let paths = files.identity.clone().unwrap();
    let key = other.1.serialize_pem();
    let cases = [
        (&files.ca, "CANARY".to_owned()),
        (
            &files.ca,
            "-----BEGIN CERTIFICATE-----\nCANARY\n-----END CERTIFICATE-----\n".to_owned(),
        ),
        (&paths.certificate, "CANARY".to_owned()),
        (&paths.key, "CANARY".to_owned()),
        (&paths.key, key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
        (
            &paths.key,
            format!("-----BEGIN PRIVATE KEY-----\nCANARY\n{key}"),
        ),
        // Of another certificate.
        (&paths.key, key.clone()),
    ];
    for (path, content) in cases {
        let kept = std::fs::read(path).unwrap();
        std::fs::write(path, &content).unwrap();
        let error = client_config(&files, Verify::Full).err();
        let error = error.unwrap_or_else(|| panic!("{content}"));
        assert!(
            error.message.contains(&path.display().to_string()),
            "{error}"
        );
        let line = key.lines().nth(1).unwrap();
        assert!(
            !error.to_string().contains("CANARY") && !error.to_string().contains(line),
            "{error}"
        );
        std::fs::write(path, kept).unwrap();
    }
    std::fs::remove_file(&paths.key).unwrap();
    let error = client_config(&files, Verify::Full).unwrap_err();
    assert!(error.message.contains("client.key"), "{error}");
}
