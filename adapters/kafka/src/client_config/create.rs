//! Creates clients. The value of a property may be a secret, so no error has one.

use std::collections::BTreeMap;

use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureProducer;

use super::{Role, client_config};
use crate::context::Context;
use crate::error::log_error;
use stitch_common::ports::LogError;
use stitch_config::Kafka;

/// Creates the client of `role`.
///
/// # Errors
/// [`LogError::Refused`]: librdkafka does not take the configuration.
pub(crate) fn create<C, T>(
    kafka: &Kafka,
    role: Role,
    context: C,
    doing: &str,
) -> Result<T, LogError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    client_config(&kafka.client, role)
        .create_with_context(context)
        .map_err(|error| refusal(doing, &error, &kafka.client))
}

/// As [`create`], for a consumer.
pub(crate) fn create_consumer<C: ConsumerContext>(
    kafka: &Kafka,
    role: Role,
    context: C,
    doing: &str,
) -> Result<BaseConsumer<C>, LogError> {
    create(kafka, role, context, doing)
}

/// Creates the client of each role, and closes it again. Blocks its thread.
pub(crate) fn try_every_role(kafka: &Kafka) -> Result<(), LogError> {
    let doing = "creating Kafka's clients";
    for role in [
        Role::Metadata,
        Role::Feed { partitions: 1 },
        Role::SingleRecords,
        Role::Member,
    ] {
        create_consumer(kafka, role, Context, doing)?;
    }
    drop(create::<_, FutureProducer<Context>>(
        kafka,
        Role::DeadLetters,
        Context,
        doing,
    )?);
    drop(create::<_, AdminClient<Context>>(
        kafka,
        Role::Admin,
        Context,
        doing,
    )?);
    Ok(())
}

/// The error of a client that could not be created.
fn refusal(doing: &str, error: &KafkaError, user: &BTreeMap<String, String>) -> LogError {
    let KafkaError::ClientCreation(reason) = error else {
        return log_error(doing, error);
    };
    LogError::Refused(format!("{doing}: {}", without_values(reason, user)))
}

/// The client's words, without any value of a property.
fn without_values(words: &str, user: &BTreeMap<String, String>) -> String {
    let mut text = words.to_owned();
    for value in user.values() {
        // The client may name one part of a list.
        for part in std::iter::once(value.as_str()).chain(value.split([',', ';'])) {
            text = without(&text, part.trim());
        }
    }
    text
}

/// `text` without `value`, where that is no part of a longer word or name.
fn without(text: &str, value: &str) -> String {
    if value.is_empty() {
        return text.to_owned();
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut rest = text;
    let mut result = String::with_capacity(text.len());
    while let Some(at) = rest.find(value) {
        let (before, after) = (&rest[..at], &rest[at + value.len()..]);
        result.push_str(before);
        if result.ends_with(inside) || after.starts_with(inside) {
            result.push_str(value);
        } else {
            result.push('…');
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use stitch_config::{Config, Environment};

    fn kafka(lines: &[(&str, &str)]) -> Kafka {
        let client = lines
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let mut client: BTreeMap<_, _> = client.collect();
        client
            .entry("bootstrap.servers".to_owned())
            .or_insert_with(|| "127.0.0.1:1".to_owned());
        client
            .entry("group.id".to_owned())
            .or_insert_with(|| "group".to_owned());
        Kafka {
            topic: "events".to_owned(),
            client: client.into(),
        }
    }

    #[test]
    fn sizes_and_times_that_a_user_sets_alone_are_refused_to_no_client() {
        for line in [
            ("message.max.bytes", "10485760"),
            ("message.max.bytes", "1000000000"),
            ("receive.message.max.bytes", "4000000"),
            ("receive.message.max.bytes", "100000"),
            ("fetch.max.bytes", "1000"),
            ("fetch.max.bytes", "200000000"),
            ("max.partition.fetch.bytes", "100000000"),
            ("queued.max.messages.kbytes", "100"),
            ("reconnect.backoff.ms", "5000"),
            ("session.timeout.ms", "600000"),
            ("max.in.flight", "1000"),
            ("retries", "0"),
            ("linger.ms", "60000"),
            ("queuing.strategy", "lifo"),
            ("fetch.wait.max.ms", "30000"),
        ] {
            assert_eq!(try_every_role(&kafka(&[line])), Ok(()), "{line:?}");
        }
    }

    #[test]
    fn a_pair_of_properties_that_exclude_each_other_is_named() {
        let both = [
            ("receive.message.max.bytes", "4000000"),
            ("fetch.max.bytes", "5000000"),
        ];
        let error = try_every_role(&kafka(&both)).unwrap_err().to_string();
        for (name, value) in both {
            assert!(error.contains(name) && !error.contains(value), "{error}");
        }
    }

    /// Every property that librdkafka documents, and some that do not exist.
    fn properties() -> Vec<String> {
        let misspelt = ["sasl.pasword", "sasl.password ", "ssl.key.pasword"];
        let documented = include_str!("properties.txt").lines();
        documented.chain(misspelt).map(str::to_owned).collect()
    }

    /// Whether librdkafka reads one of these as the number that it is in hexadecimal: at least one is within the bounds of
    /// any property.
    fn is_number(name: &str) -> bool {
        ["0x1", "0x10", "0x800", "0x186a0", "0x1p0"]
            .into_iter()
            .any(|value| {
                let mut config = ClientConfig::new();
                config.set(name, value);
                let native = config.create_native_config();
                native.is_ok_and(|native| native.get(name).is_ok_and(|read| read != value))
            })
    }

    #[test]
    fn whatever_the_client_reads_as_a_number_is_taken_in_one_spelling_only() {
        let names = properties();
        let numbers: Vec<&String> = names.iter().filter(|name| is_number(name)).collect();
        assert!(numbers.len() > 50, "{numbers:?}");
        for name in numbers {
            let text = format!(
                "namespace = \"n\"\n[zookeeper]\nconnect = \"z:1\"\n[cassandra]\nnodes = [\"c:1\"]\nkeyspace = \"k\"\n\
                 [kafka]\ntopic = \"t\"\n[kafka.client]\n\"bootstrap.servers\" = \"k:1\"\n\"group.id\" = \"g\"\n\
                 \"{name}\" = \"0x10\"\n[[counter]]\nname = \"c\"\non = [\"o\"]\nkey = \"k\"\n"
            );
            let error = Config::parse("stitch.toml", &text, &Environment::default());
            let error = error.expect_err(name);
            assert!(
                error.message.contains(&format!("kafka.client.{name}")),
                "{error}"
            );
        }
    }

    #[test]
    fn no_error_has_the_value_of_a_property_whatever_its_name() {
        const CANARY: &str = "canary hunter2,canary hunter3";
        let properties = properties();
        assert!(properties.len() > 150, "{}", properties.len());
        let mut refused = 0;
        for name in &properties {
            // Where a number is wanted, one that looks like a password would be taken.
            let is_secret = ["pas", "secret", "key"]
                .iter()
                .any(|part| name.contains(part));
            for value in [CANARY, "20240501123"] {
                if !is_secret && value != CANARY {
                    continue;
                }
                let Err(error) = try_every_role(&kafka(&[(name, value)])) else {
                    continue;
                };
                refused += 1;
                let error = error.to_string();
                for part in [value, "hunter", "20240501"] {
                    assert!(!error.contains(part), "{name}: {error}");
                }
            }
        }
        assert!(refused > 100, "only {refused} were refused");
    }
}
