//! What is refused for a certificate, a user or a right: named with the file or the user of `[kafka.client]`, and what to do.

use stitch_common::ports::LogError;
use stitch_common::user_error::UserError;
use stitch_config::Kafka;

/// The property with those who may sign a broker's certificate.
const CA_LOCATION: &str = "ssl.ca.location";
const CERTIFICATE_LOCATION: &str = "ssl.certificate.location";

/// The properties by which the brokers know this client, and it them. None is a secret.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    known_as: String,
    /// User and mechanism.
    login: Option<(Option<String>, String)>,
    ca: Option<String>,
    certificate: Option<String>,
}

impl Identity {
    pub(super) fn of(kafka: &Kafka) -> Self {
        let property = |name: &str| kafka.client.get(name).cloned();
        let mechanism = || property("sasl.mechanism").unwrap_or_else(|| "GSSAPI".to_owned());
        let is_login = protocol(kafka).starts_with("SASL");
        Self {
            known_as: known_as(kafka),
            login: is_login.then(|| (property("sasl.username"), mechanism())),
            ca: property(CA_LOCATION),
            certificate: property(CERTIFICATE_LOCATION),
        }
    }

    /// The error with the user in it, if it is about a right.
    pub(super) fn named(&self, error: LogError) -> LogError {
        match &error {
            LogError::Denied(UserError { message, help }) if !message.contains(&self.known_as) => {
                let message = format!("{message}; this client is known {}", self.known_as);
                LogError::Denied(UserError::new(message, help))
            }
            LogError::Denied(_) | LogError::Refused(_) | LogError::Unavailable(_) => error,
        }
    }

    /// The brokers do not let this client in, for this reason.
    pub(super) fn turned_away(&self, reason: &str) -> LogError {
        let who = match &self.login {
            Some((Some(user), mechanism)) => format!("the user \"{user}\" in ({mechanism})"),
            Some((None, mechanism)) => format!("this client in ({mechanism})"),
            None => "a client without a user in".to_owned(),
        };
        LogError::Denied(UserError::new(
            format!("the Kafka brokers do not let {who}: {reason}"),
            "correct \"sasl.username\", \"sasl.mechanism\" and \"sasl.password\", or the file that \"sasl.password_file\" \
             names, in [kafka.client]",
        ))
    }

    /// One side has refused the other's certificate, for this reason.
    pub(super) fn distrusted(&self, refusal: TlsRefusal, reason: &str) -> LogError {
        let (message, help) = match (refusal, &self.certificate) {
            (TlsRefusal::OfTheBroker, _) => {
                let ca = self.ca.as_deref().unwrap_or("the system's folder");
                (
                    format!(
                        "the certificate of a Kafka broker is not accepted by the authorities in {ca} ({CA_LOCATION}): {reason}"
                    ),
                    "name who signed the brokers' certificates by \"ssl.ca.location\" in [kafka.client]; else a certificate has \
                     expired, or names other hosts than \"bootstrap.servers\" and the brokers' advertised.listeners",
                )
            }
            (TlsRefusal::OfThisClient, Some(certificate)) => (
                format!(
                    "a Kafka broker refuses the certificate {certificate} ({CERTIFICATE_LOCATION}): {reason}"
                ),
                "see whether it has expired, and whether the brokers' trust store has who signed it; name another by \
                 \"ssl.certificate.location\" and \"ssl.key.location\" in [kafka.client]",
            ),
            (TlsRefusal::OfThisClient, None) => (
                format!("a Kafka broker refuses a client without a certificate: {reason}"),
                "add \"ssl.certificate.location\" and \"ssl.key.location\" to [kafka.client]",
            ),
        };
        LogError::Denied(UserError::new(message, help))
    }
}

/// The error of a request for which this client has not the right. [`Identity::named`] adds the user.
pub(super) fn without_right(message: &str) -> LogError {
    LogError::Denied(UserError::new(
        format!("Kafka refused: {message}"),
        "give this user the rights of this program in docs/operations/security.md, \"Least rights\": `check` names those that \
         are missing",
    ))
}

fn protocol(kafka: &Kafka) -> String {
    let protocol = kafka.client.get("security.protocol");
    let protocol = protocol.map_or("plaintext", String::as_str);
    protocol.to_ascii_uppercase()
}

/// As whom the brokers know this client, by its configuration.
#[must_use]
pub fn known_as(kafka: &Kafka) -> String {
    let property = |name: &str| kafka.client.get(name).map(String::as_str);
    let protocol = protocol(kafka);
    let mechanism = property("sasl.mechanism").unwrap_or("GSSAPI");
    match (property("sasl.username"), property(CERTIFICATE_LOCATION)) {
        (Some(user), _) if protocol.starts_with("SASL") => format!("as \"{user}\" by {mechanism}"),
        (_, Some(certificate)) if protocol.ends_with("SSL") => {
            format!("by the certificate {certificate}")
        }
        (_, _) if protocol.starts_with("SASL") => format!("by {mechanism}"),
        (_, _) => "as no user".to_owned(),
    }
}

/// A certificate that was refused. The client sometimes reports it as a connection that broke, and only OpenSSL's number in
/// its words says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsRefusal {
    /// The broker refused this client by an alert, which with TLS 1.3 comes after the handshake.
    OfThisClient,
    /// This client refused the broker's certificate. It is told as a broken connection, without the property's name, if the
    /// broker had answered before the client first looked.
    OfTheBroker,
}

impl TlsRefusal {
    /// OpenSSL's number is its library, 20, and a reason below: 1000 and the number of the alert
    /// (`SSL_AD_REASON_OFFSET`), or one of its own (`SSL_R_CERTIFICATE_VERIFY_FAILED`).
    pub(super) fn in_words(words: &str) -> Option<Self> {
        const LIBRARY: u32 = 20;
        const ALERTS: u32 = 1000;
        const CERTIFICATE_VERIFY_FAILED: u32 = 134;
        let mut codes = words.match_indices("error:").filter_map(|(at, found)| {
            let code = words.get(at + found.len()..)?.split(':').next()?;
            u32::from_str_radix(code, 16).ok()
        });
        codes.find_map(|code| match (code >> 23, code & 0x7f_ffff) {
            (LIBRARY, CERTIFICATE_VERIFY_FAILED) => Some(Self::OfTheBroker),
            (LIBRARY, reason) if reason > ALERTS => Some(Self::OfThisClient),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(properties: &[(&str, &str)]) -> Identity {
        let properties = properties.iter();
        let client: std::collections::BTreeMap<_, _> = properties
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Identity::of(&Kafka {
            topic: "events".to_owned(),
            client: client.into(),
        })
    }

    fn secured() -> Identity {
        identity(&[
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "stitch"),
            ("sasl.password", "secret"),
            (CA_LOCATION, "/tls/ca.pem"),
            (CERTIFICATE_LOCATION, "/tls/stitch.pem"),
        ])
    }

    #[test]
    fn a_refusal_names_its_file_or_its_user_and_what_to_do() {
        let plain = identity(&[]);
        for (error, words, help) in [
            (
                secured().turned_away("no"),
                "\"stitch\" in (PLAIN): no",
                "sasl.password_file",
            ),
            (plain.turned_away("no"), "without a user", "sasl.username"),
            (
                secured().distrusted(TlsRefusal::OfTheBroker, "no"),
                "/tls/ca.pem (ssl.ca.location): no",
                "ssl.ca.location",
            ),
            (
                secured().distrusted(TlsRefusal::OfThisClient, "no"),
                "/tls/stitch.pem (ssl.certificate.location): no",
                "expired",
            ),
            (
                plain.distrusted(TlsRefusal::OfThisClient, "no"),
                "without a certificate: no",
                "add \"ssl.certificate.location\"",
            ),
            (
                secured().named(without_right("asking")),
                "asking; this client is known as \"stitch\" by PLAIN",
                "Least rights",
            ),
        ] {
            let error = UserError::from(error);
            assert!(error.message.contains(words), "{error}");
            assert!(error.help.contains(help), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_what_is_denied_gets_the_name_and_once() {
        let away = LogError::Unavailable("asking".to_owned());
        assert_eq!(secured().named(away.clone()), away);
        let once = secured().named(without_right("asking"));
        assert_eq!(secured().named(once.clone()), once);
    }
}
