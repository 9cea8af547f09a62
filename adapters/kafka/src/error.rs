//! The client's errors as the caller of a port can use them.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::context::Complaint;
use stitch_common::ports::LogError;

/// What `doing` ended with, by what can be done about it.
pub(super) fn log_error(doing: &str, error: &KafkaError) -> LogError {
    let told = format!("{doing}: {error}");
    let refused = match error.rdkafka_error_code() {
        Some(code) => needs_a_change(code),
        // Made before anything was sent, by what we or the user said; the other errors without a code say that
        // something was cancelled.
        None => {
            matches!(
                error,
                KafkaError::ClientConfig(..)
                    | KafkaError::ClientCreation(_)
                    | KafkaError::AdminOpCreation(_)
                    | KafkaError::Nul(_)
            ) || admin_refused(error)
        }
    };
    if refused {
        LogError::Refused(told)
    } else {
        LogError::Unavailable(told)
    }
}

/// As [`log_error`], for the code of one topic or partition in an answer.
pub(super) fn log_error_of_code(doing: &str, code: RDKafkaErrorCode) -> LogError {
    let told = format!("{doing}: {code}");
    if needs_a_change(code) {
        LogError::Refused(told)
    } else {
        LogError::Unavailable(told)
    }
}

/// Why there was no answer, as the client complained of it. A wrong password looks like a broker that is away.
pub(super) fn explained(error: LogError, complaint: Option<Complaint>) -> LogError {
    match (error, complaint) {
        (LogError::Unavailable(told), Some(Complaint { code, reason })) => {
            let told = format!("{told}; {reason}");
            if needs_a_change(code) {
                LogError::Refused(told)
            } else {
                LogError::Unavailable(told)
            }
        }
        (error, _) => error,
    }
}

fn admin_refused(error: &KafkaError) -> bool {
    matches!(error, KafkaError::AdminOp(code) if needs_a_change(*code))
}

/// Whether it will not work until somebody changes something: the topic, a permission, the configuration.
fn needs_a_change(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_try_may_mend_is_unavailable() {
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
    fn what_needs_a_change_is_refused() {
        for code in [
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::Authentication,
            RDKafkaErrorCode::NotImplemented,
        ] {
            for error in [
                log_error("asking", &KafkaError::MetadataFetch(code)),
                log_error("asking", &KafkaError::AdminOp(code)),
                log_error_of_code("asking", code),
            ] {
                assert!(matches!(error, LogError::Refused(_)), "{error}");
            }
        }
        let made = KafkaError::ClientCreation("no such mechanism".to_owned());
        assert!(matches!(log_error("asking", &made), LogError::Refused(_)));
    }

    #[test]
    fn a_question_that_a_wrong_password_left_without_answer_is_refused() {
        let unanswered = || LogError::Unavailable("asking: timed out".to_owned());
        let complaint = |code| {
            Some(Complaint {
                code,
                reason: "b:9092: no".to_owned(),
            })
        };
        let told = || "asking: timed out; b:9092: no".to_owned();
        for (complaint, explanation) in [
            (None, unanswered()),
            (
                complaint(RDKafkaErrorCode::Authentication),
                LogError::Refused(told()),
            ),
            (
                complaint(RDKafkaErrorCode::BrokerTransportFailure),
                LogError::Unavailable(told()),
            ),
        ] {
            assert_eq!(explained(unanswered(), complaint), explanation);
        }
    }
}
