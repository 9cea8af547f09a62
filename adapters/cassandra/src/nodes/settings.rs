//! Parses the settings of a node that the quiescence barrier depends on, as `system_views.settings` spells them. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::REQUIRED_SERVER;
use stitch_common::ports::{NodeSettings, StoreError};

/// Explains the error of a server without the table `system_views.settings`.
pub(super) fn without_table(node: SocketAddr, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(_) | StoreError::Denied(_) => error,
        StoreError::Refused(why) => StoreError::Refused(format!(
            "node {node} does not list its settings (system_views.settings): Stitch needs {REQUIRED_SERVER}; ScyllaDB is \
             not supported, it would need another quiescence barrier ({why})"
        )),
    }
}

/// Parses the rows of `system_views.settings`.
pub(super) fn read(
    node: SocketAddr,
    rows: Vec<(String, Option<String>)>,
) -> Result<NodeSettings, StoreError> {
    let rows: HashMap<_, _> = rows.into_iter().collect();
    let value = |name: &str| {
        rows.get(name)
            .and_then(Option::as_deref)
            .ok_or_else(|| {
                StoreError::Refused(format!(
                    "node {node} has no setting {name}, on which the quiescence barrier depends: Stitch needs \
                     {REQUIRED_SERVER}"
                ))
            })
    };
    let time = |name: &str| {
        let text = value(name)?;
        duration(text).ok_or_else(|| {
            StoreError::Refused(format!(
                "node {node} has {name} = {text}, which is no duration"
            ))
        })
    };
    let idle = time("native_transport_idle_timeout")?;
    Ok(NodeSettings {
        native_transport_timeout: time("native_transport_timeout")?,
        counter_write_request_timeout: time("counter_write_request_timeout")?,
        native_transport_idle_timeout: (!idle.is_zero()).then_some(idle),
        internode_timeout: value("internode_timeout")? == "true",
    })
}

/// Parses a guardrail's threshold: what is not above 0 is no limit.
pub(super) fn guardrail(text: &str) -> Option<u32> {
    text.parse().ok().filter(|limit| *limit > 0)
}

/// Parses a duration as Cassandra writes it: a whole number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = |factor: u64| Some(Duration::from_secs(number.checked_mul(factor)?));
    match unit {
        "ns" => Some(Duration::from_nanos(number)),
        "us" | "µs" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(changed: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        let mut rows = HashMap::from([
            ("native_transport_timeout", Some("12s")),
            ("counter_write_request_timeout", Some("5000ms")),
            ("native_transport_idle_timeout", Some("0ms")),
            ("internode_timeout", Some("true")),
        ]);
        rows.extend(changed.iter().copied());
        rows.into_iter()
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
            .collect()
    }

    fn settings(changed: &[(&str, Option<&str>)]) -> Result<NodeSettings, StoreError> {
        read("127.0.0.1:9042".parse().unwrap(), rows(changed))
    }

    #[test]
    fn settings_are_parsed_in_every_unit_that_cassandra_writes() {
        let read = settings(&[]).unwrap();
        assert_eq!(read.native_transport_timeout, Duration::from_secs(12));
        assert_eq!(read.counter_write_request_timeout, Duration::from_secs(5));
        assert_eq!(read.native_transport_idle_timeout, None, "0 means never");
        assert!(read.internode_timeout);
        for (text, expected) in [
            ("7ns", Some(Duration::from_nanos(7))),
            ("7us", Some(Duration::from_micros(7))),
            ("7µs", Some(Duration::from_micros(7))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3600))),
            ("1d", Some(Duration::from_secs(86_400))),
            ("7", None),
            ("ms", None),
            ("-1ms", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn a_guardrail_of_nothing_or_less_is_none() {
        for (text, limit) in [
            ("2000", Some(2000)),
            ("-1", None),
            ("0", None),
            ("null", None),
        ] {
            assert_eq!(guardrail(text), limit, "{text}");
        }
    }

    #[test]
    fn a_missing_or_unreadable_setting_is_refused_by_name() {
        for value in [None, Some("soon")] {
            let error = settings(&[("native_transport_timeout", value)]).unwrap_err();
            assert!(
                matches!(&error, StoreError::Refused(why) if why.contains("native_transport_timeout")),
                "{error}"
            );
        }
    }

    #[test]
    fn internode_timeout_is_off_unless_it_says_true() {
        let read = settings(&[("internode_timeout", Some("false"))]).unwrap();
        assert!(!read.internode_timeout);
    }
}
