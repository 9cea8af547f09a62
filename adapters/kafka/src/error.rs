//! Maps the client's errors to [`LogError`], by what the caller of a port can do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;

use crate::denial::{Identity, TlsRefusal, without_right};
use stitch_common::ports::{LogError, UnreadableReason};

/// An error that the client reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientError {
    pub(super) code: RDKafkaErrorCode,
    /// The client's text, which names the broker.
    pub(super) reason: String,
}

/// The error of the operation `doing`.
pub(super) fn log_error(doing: &str, error: &KafkaError) -> LogError {
    let message = format!("{doing}: {}", describe(error));
    let code = error.rdkafka_error_code();
    if let Some(code) = code.or_else(|| admin_code(error)) {
        return log_error_with(message, code);
    }
    // These come before anything is sent, from the configuration; other errors without a code mean a cancellation.
    let refused = matches!(
        error,
        KafkaError::ClientConfig(..)
            | KafkaError::ClientCreation(_)
            | KafkaError::AdminOpCreation(_)
            | KafkaError::Nul(_)
    );
    if refused {
        LogError::Refused(message)
    } else {
        LogError::Unavailable(message)
    }
}

/// The client's words. For a property that it does not take they have the value, which may be a secret.
fn describe(error: &KafkaError) -> String {
    let KafkaError::ClientConfig(result, _words, name, _value) = error else {
        return error.to_string();
    };
    match result {
        RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => {
            format!("librdkafka has no property \"{name}\"")
        }
        RDKafkaConfRes::RD_KAFKA_CONF_INVALID | RDKafkaConfRes::RD_KAFKA_CONF_OK => {
            format!("librdkafka does not take the value of \"{name}\"")
        }
    }
}

/// As [`log_error`], for the error code of one topic or partition in an answer.
pub(super) fn log_error_of_code(doing: &str, code: RDKafkaErrorCode) -> LogError {
    log_error_with(format!("{doing}: {code}"), code)
}

/// Adds the client's last error to a missing answer. A wrong password looks like an unreachable broker, and so does a broker
/// that restarts look like one that refuses: the last error decides only in a client that was never answered.
pub(super) fn explained(
    error: LogError,
    last: Option<ClientError>,
    was_answered: bool,
    identity: &Identity,
) -> LogError {
    let (LogError::Unavailable(message), Some(ClientError { code, reason })) = (&error, last)
    else {
        return identity.named(error);
    };
    if was_answered {
        return LogError::Unavailable(format!("{message}; {reason}"));
    }
    match TlsRefusal::in_words(&reason) {
        Some(refusal) => identity.distrusted(refusal, &reason),
        None if is_turned_away(code) => identity.turned_away(&reason),
        None => log_error_with(format!("{message}; {reason}"), code),
    }
}

/// The code of an administrator's request, which the client gives as that of no other one.
fn admin_code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    if let KafkaError::AdminOp(code) = error {
        return Some(*code);
    }
    None
}

fn log_error_with(message: String, code: RDKafkaErrorCode) -> LogError {
    if is_without_right(code) {
        without_right(&message)
    } else if needs_a_change(code) {
        LogError::Refused(message)
    } else {
        LogError::Unavailable(message)
    }
}

/// Whether this client has not the right.
fn is_without_right(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}

/// Whether the brokers do not know this client.
fn is_turned_away(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState
    )
}

/// Whether a retry is useless until an operator changes the topic, a permission or the configuration.
fn needs_a_change(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::InvalidArgument
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::InvalidPartitions
            | RDKafkaErrorCode::InvalidReplicationFactor
            | RDKafkaErrorCode::InvalidGroupId
            | RDKafkaErrorCode::InvalidSessionTimeout
            | RDKafkaErrorCode::InconsistentGroupProtocol
            | RDKafkaErrorCode::UnsupportedAssignor
            | RDKafkaErrorCode::GroupMaxSizeReached
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::UnsupportedVersion
            | RDKafkaErrorCode::UnsupportedFeature
            | RDKafkaErrorCode::UnsupportedCompressionType
            | RDKafkaErrorCode::UnsupportedForMessageFormat
            | RDKafkaErrorCode::NotImplemented
            | RDKafkaErrorCode::Fatal
    )
}

/// What an error on the queue of a partition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorScope {
    /// The log has no record at the next offset.
    Position,
    /// The next records cannot be read.
    Records(UnreadableReason),
    /// The partition is refused, which may pass.
    MayPass(UnreadableReason),
    /// Anything from which the client recovers by itself.
    Client,
}

/// Sorts an error on the queue of a partition.
pub(super) fn error_scope(error: &KafkaError) -> ErrorScope {
    let Some(code) = error.rdkafka_error_code() else {
        return ErrorScope::Client;
    };
    let sorted = [
        (POSITION, ErrorScope::Position),
        (DAMAGED, ErrorScope::Records(UnreadableReason::Damaged)),
        (
            UNDECODABLE,
            ErrorScope::Records(UnreadableReason::Undecodable),
        ),
        (
            UNAUTHORIZED,
            ErrorScope::MayPass(UnreadableReason::Unauthorized),
        ),
        (MISSING, ErrorScope::MayPass(UnreadableReason::Missing)),
    ];
    let scope = sorted.into_iter().find(|(codes, _)| codes.contains(&code));
    scope.map_or(ErrorScope::Client, |(_, scope)| scope)
}

const POSITION: &[RDKafkaErrorCode] = &[
    RDKafkaErrorCode::AutoOffsetReset,
    RDKafkaErrorCode::OffsetOutOfRange,
    RDKafkaErrorCode::LogTruncation,
];

const DAMAGED: &[RDKafkaErrorCode] = &[
    RDKafkaErrorCode::BadMessage,
    RDKafkaErrorCode::InvalidMessage,
    RDKafkaErrorCode::InvalidMessageSize,
    RDKafkaErrorCode::MessageSizeTooLarge,
    RDKafkaErrorCode::BadCompression,
];

const UNDECODABLE: &[RDKafkaErrorCode] = &[
    RDKafkaErrorCode::NotImplemented,
    RDKafkaErrorCode::UnsupportedCompressionType,
    RDKafkaErrorCode::UnsupportedForMessageFormat,
];

const UNAUTHORIZED: &[RDKafkaErrorCode] = &[RDKafkaErrorCode::TopicAuthorizationFailed];

const MISSING: &[RDKafkaErrorCode] = &[
    RDKafkaErrorCode::UnknownTopicOrPartition,
    RDKafkaErrorCode::UnknownTopic,
    RDKafkaErrorCode::UnknownPartition,
    RDKafkaErrorCode::UnknownTopicId,
];

/// Whether the brokers refuse this one record, and would take others.
pub(super) fn is_of_the_record(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
        )
    })
}

/// Whether this error of a member of a group is the last: the client does not join again by itself, or is refused
/// whenever it does.
pub(super) fn ends_membership(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code().is_some_and(|code| {
            matches!(
                code,
                RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::FencedMemberEpoch
                    | RDKafkaErrorCode::UnreleasedInstanceId
                    | RDKafkaErrorCode::InconsistentGroupProtocol
                    | RDKafkaErrorCode::UnsupportedAssignor
                    | RDKafkaErrorCode::InvalidGroupId
                    | RDKafkaErrorCode::InvalidSessionTimeout
            )
        })
}

/// Whether this error of a member of a group ends the membership if it lasts.
pub(super) fn may_end_membership(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::of(&stitch_config::Kafka {
            topic: "events".to_owned(),
            client: [("ssl.ca.location".to_owned(), "/tls/ca.pem".to_owned())].into(),
        })
    }

    fn explained(error: LogError, last: Option<ClientError>, was_answered: bool) -> LogError {
        super::explained(error, last, was_answered, &identity())
    }

    #[test]
    fn an_alert_of_tls_is_a_refusal_and_a_broken_connection_is_none() {
        let explained = |reason: &str, was_answered| {
            let away = LogError::Unavailable("asking".to_owned());
            let last = ClientError {
                code: RDKafkaErrorCode::BrokerTransportFailure,
                reason: reason.to_owned(),
            };
            let error = explained(away, Some(last), was_answered);
            matches!(error, LogError::Denied(_))
        };
        let alert = "Receive failed: error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL alert number 46";
        assert!(explained(alert, false));
        assert!(!explained(alert, true), "a broker that restarts may say so");
        for broken in [
            "Connect to ipv4#127.0.0.1:9092 failed: Connection refused",
            // The peer closed the connection (SSL_R_UNEXPECTED_EOF_WHILE_READING), and an error of a file.
            "Receive failed: error:0A000126:SSL routines::unexpected eof while reading",
            "error:80000002:system library::No such file or directory",
            "error:",
            "error:zz:",
        ] {
            assert!(!explained(broken, false), "{broken}");
        }
    }

    #[test]
    fn a_brokers_certificate_that_is_refused_is_no_outage_and_names_the_file() {
        let unseen =
            "bootstrap: error:0A000086:SSL routines::certificate verify failed (after 7ms)";
        for code in [
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::SSL,
        ] {
            let away = LogError::Unavailable("asking".to_owned());
            let reason = unseen.to_owned();
            let error = explained(away, Some(ClientError { code, reason }), false);
            assert!(matches!(error, LogError::Denied(_)), "{error}");
            let error = error.to_string();
            assert!(
                error.contains("/tls/ca.pem (ssl.ca.location): bootstrap"),
                "{error}"
            );
        }
    }

    #[test]
    fn errors_that_a_retry_may_fix_are_unavailable() {
        for code in [
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::Resolve,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::NotLeaderForPartition,
            RDKafkaErrorCode::NotCoordinator,
            RDKafkaErrorCode::RebalanceInProgress,
            RDKafkaErrorCode::UnknownMemberId,
            RDKafkaErrorCode::NotEnoughReplicas,
        ] {
            let error = log_error("asking", &KafkaError::MetadataFetch(code));
            assert!(matches!(error, LogError::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn errors_that_need_a_change_are_refused() {
        for (code, is_denied) in [
            (RDKafkaErrorCode::UnknownTopicOrPartition, false),
            (RDKafkaErrorCode::NotImplemented, false),
            (RDKafkaErrorCode::TopicAuthorizationFailed, true),
            (RDKafkaErrorCode::GroupAuthorizationFailed, true),
        ] {
            for error in [
                log_error("asking", &KafkaError::MetadataFetch(code)),
                log_error("asking", &KafkaError::AdminOp(code)),
                log_error_of_code("asking", code),
            ] {
                let of_kind = match error {
                    LogError::Denied(_) => is_denied,
                    LogError::Refused(_) => !is_denied,
                    LogError::Unavailable(_) => false,
                };
                assert!(of_kind, "{error}");
            }
        }
        let made = KafkaError::ClientCreation("no such mechanism".to_owned());
        assert!(matches!(log_error("asking", &made), LogError::Refused(_)));
    }

    #[test]
    fn a_request_without_answer_after_a_failed_authentication_is_denied() {
        let unanswered = || LogError::Unavailable("asking: timed out".to_owned());
        let last = |code| {
            Some(ClientError {
                code,
                reason: "b:9092: no".to_owned(),
            })
        };
        let passing = LogError::Unavailable("asking: timed out; b:9092: no".to_owned());
        assert_eq!(explained(unanswered(), None, false), unanswered());
        let away = last(RDKafkaErrorCode::BrokerTransportFailure);
        assert_eq!(explained(unanswered(), away, false), passing);
        let denied = explained(unanswered(), last(RDKafkaErrorCode::Authentication), false);
        assert!(matches!(denied, LogError::Denied(_)), "{denied}");
        let restarting = last(RDKafkaErrorCode::Authentication);
        assert_eq!(explained(unanswered(), restarting, true), passing);
    }
}
