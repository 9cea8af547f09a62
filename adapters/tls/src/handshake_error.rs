//! What a failed handshake means: which certificate is at fault, and what to do. None of it is an outage, so waiting does
//! not help.

use std::error::Error as StdError;
use std::io;

use stitch_common::user_error::UserError;
use stitch_config::CertificateFiles;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// The error of rustls that is the cause of `error`, if there is one.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Why the handshake with `server`, by the section `section` of the configuration, failed. `None`: for a reason that is not
/// one of TLS.
#[must_use]
pub fn explain(
    error: &(dyn StdError + 'static),
    server: &str,
    section: &str,
    files: &CertificateFiles,
) -> Option<UserError> {
    let cause = cause(error)?;
    let (message, help) = if let Error::InvalidCertificate(reason) = cause {
        of_server(reason, server, section, files)
    } else if let Error::AlertReceived(alert) = cause {
        of_client(*alert, server, section, files)
    } else if matches!(cause, Error::NoCertificatesPresented) {
        (
            format!("{server} shows no certificate"),
            "see its configuration of TLS".to_owned(),
        )
    } else if matches!(
        cause,
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. }
    ) {
        (
            format!("{server} does not speak TLS"),
            format!("name its port for TLS, or leave [{section}] out if it has none"),
        )
    } else {
        (
            format!("{server} and this program agree on no TLS connection: {cause}"),
            "see its log, and which versions and ciphers of TLS it allows: Stitch has TLS 1.2 and 1.3".to_owned(),
        )
    };
    Some(UserError::new(message, help))
}

fn of_server(
    reason: &CertificateError,
    server: &str,
    section: &str,
    files: &CertificateFiles,
) -> (String, String) {
    use CertificateError as Reason;
    let ca = files.ca.display();
    // A bad signature: by another authority of the same name, as after its renewal.
    if matches!(reason, Reason::UnknownIssuer | Reason::BadSignature) {
        (
            format!("the certificate of {server} does not come from an authority in {ca}"),
            format!("put the certificate of its authority into the file that {section}.ca names"),
        )
    } else if matches!(reason, Reason::Expired | Reason::ExpiredContext { .. }) {
        (
            format!("the certificate of {server} has expired"),
            "renew it there; if it is valid, set the clock of this host".to_owned(),
        )
    } else if matches!(
        reason,
        Reason::NotValidYet | Reason::NotValidYetContext { .. }
    ) {
        (
            format!("the certificate of {server} is not valid yet"),
            "set the clocks of both hosts".to_owned(),
        )
    } else if matches!(
        reason,
        Reason::NotValidForName | Reason::NotValidForNameContext { .. }
    ) {
        let chain = if section == "cassandra.tls" {
            "; if the certificates of all nodes have other names, set cassandra.tls.verify = \"chain\""
        } else {
            ""
        };
        (
            format!("the certificate of {server} is made for another name or address"),
            format!(
                "make it for the name or the address that the configuration has (subjectAltName){chain}"
            ),
        )
    } else {
        (
            format!("the certificate of {server} cannot be verified: {reason}"),
            format!("see the certificate, and {ca}"),
        )
    }
}

fn of_client(
    alert: AlertDescription,
    server: &str,
    section: &str,
    files: &CertificateFiles,
) -> (String, String) {
    let Some(identity) = &files.identity else {
        return (
            format!(
                "{server} refuses a client without a certificate, or something else of the handshake: {alert:?}"
            ),
            format!(
                "name one by {section}.certificate and {section}.key, or see the log of the server"
            ),
        );
    };
    let certificate = identity.certificate.display();
    let why = if alert == AlertDescription::CertificateExpired {
        "it has expired".to_owned()
    } else if alert == AlertDescription::CertificateRevoked {
        "it is revoked".to_owned()
    } else if alert == AlertDescription::UnknownCA {
        "the server does not know its authority".to_owned()
    } else {
        format!("the server says {alert:?}")
    };
    (
        format!("{server} refuses the certificate {certificate}: {why}"),
        format!("renew {certificate}, or let the server trust its authority; its log has more"),
    )
}
