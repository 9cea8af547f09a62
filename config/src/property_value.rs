//! The values of librdkafka's properties. It reads a number by `strtol`: leading blanks and whatever follows the digits are
//! passed over, `010` is octal, `0x10` hexadecimal, and more than 32 bits lose the upper ones. Of a text it drops the blanks
//! in front. So that a value means the same to Stitch, to librdkafka and to a person, only the spelling is taken that has
//! one meaning.

use std::ops::RangeInclusive;

use stitch_common::plain_number::plain_number;

/// The properties that librdkafka reads as numbers, by the names that are used here. None is a secret.
const NUMBERS: &[&str] = &[
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.ttl",
    "compression.level",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "delivery.timeout.ms",
    "enabled_events",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "internal.termination.signal",
    "linger.ms",
    "log_level",
    "max.in.flight",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "offset.store.sync.interval.ms",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    SESSION_TIMEOUT,
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.max.fails",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
];

/// The only number that may have a fraction.
const WITH_FRACTION: &str = "linger.ms";

/// The time after which the group takes a silent member for dead.
pub(super) const SESSION_TIMEOUT: &str = "session.timeout.ms";
const SESSION_TIMEOUT_MS: RangeInclusive<i32> = 1..=3_600_000;

/// What is wrong with the value of a property, as the rest of a sentence, and the help.
///
/// # Errors
/// librdkafka would read something else than what is written.
pub fn property_problem(name: &str, value: &str) -> Result<(), (String, &'static str)> {
    if NUMBERS.contains(&name) {
        return number_problem(name, value);
    }
    // Certificates and keys may begin with empty lines.
    if !name.ends_with(".pem") && value.starts_with(is_dropped) {
        let help = "remove the blank: Kafka's client drops blanks in front of a value";
        return Err((" begins with a blank".to_owned(), help));
    }
    Ok(())
}

fn number_problem(name: &str, value: &str) -> Result<(), (String, &'static str)> {
    const HELP: &str = "write it in decimal digits without blanks, plus sign, leading zeros or unit, as in \
                        \"session.timeout.ms\" = 45000";
    let whole = match value.split_once('.') {
        Some((whole, fraction)) if name == WITH_FRACTION => {
            let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
            digits.then_some(whole)
        }
        _ => Some(value),
    };
    match whole.and_then(plain_number::<i32>) {
        None => Err((
            format!(" = \"{value}\" is not a plain number of 32 bits"),
            HELP,
        )),
        Some(ms) if name == SESSION_TIMEOUT && !SESSION_TIMEOUT_MS.contains(&ms) => Err((
            format!(
                " = {ms} is not within {} and {} ms",
                SESSION_TIMEOUT_MS.start(),
                SESSION_TIMEOUT_MS.end()
            ),
            "the default is 45000",
        )),
        Some(_) => Ok(()),
    }
}

/// What C's `isspace` takes for a blank.
const fn is_dropped(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        let name = "fetch.min.bytes";
        for right in ["0", "7", "45000", "-1", "2147483647"] {
            assert_eq!(property_problem(name, right), Ok(()), "{right:?}");
        }
        for wrong in [
            "",
            " ",
            "0x10",
            "010",
            "00",
            "5m",
            "5 m",
            " 5",
            "5 ",
            "+5",
            "-0",
            "- 1",
            "5.0",
            "5e3",
            "1_000",
            "1,000",
            "4294967297",
            "2147483648",
            "\u{665}",
            "\u{ff15}",
            "5\u{a0}",
            "0o17",
            "0b1",
        ] {
            let (what, _) = property_problem(name, wrong).expect_err(wrong);
            assert!(what.contains(wrong), "{what}");
        }
        assert_eq!(property_problem("linger.ms", "0.5"), Ok(()));
        for wrong in ["0.5ms", "5.", ".5", "0x1p3", "1e3", "inf", " 0.5", "0.5.1"] {
            assert!(property_problem("linger.ms", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_session_of_the_group_lasts_at_most_an_hour() {
        for right in ["1", "3600000"] {
            assert_eq!(property_problem(SESSION_TIMEOUT, right), Ok(()));
        }
        for wrong in ["0", "-1", "3600001"] {
            assert!(property_problem(SESSION_TIMEOUT, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn blanks_that_the_client_drops_are_refused_and_all_others_are_kept() {
        for value in [" secret", "\tsecret", "\u{b}secret"] {
            assert!(
                property_problem("sasl.password", value).is_err(),
                "{value:?}"
            );
            assert_eq!(property_problem("ssl.key.pem", value), Ok(()));
        }
        for value in ["sec ret ", "", "\u{a0}secret", "010", "0x10", "5m"] {
            assert_eq!(
                property_problem("sasl.password", value),
                Ok(()),
                "{value:?}"
            );
        }
    }
}
