use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::super::raw;
use super::*;

const EXAMPLE: &str = include_str!("../../../../deploy/stitch.toml");

#[test]
fn the_defaults_in_the_annotated_example_are_the_real_ones() {
    let example = parse(EXAMPLE).unwrap();
    assert_eq!(example, parse(LEAST).unwrap());
}

/// The example with the keys that are off switched on, and their alternatives off.
fn switched_on() -> String {
    let on = |line: &str| match line.strip_prefix("# ") {
        Some(key) if key.split(' ').nth(1) == Some("=") => key.to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<_> = EXAMPLE.lines().map(on).collect();
    lines.join("\n").replace("\namount = 1 ", "\n# amount = 1 ")
}

#[test]
fn what_is_off_in_the_annotated_example_can_be_switched_on() {
    let config = parse(&switched_on()).unwrap();
    assert_eq!(
        config.cassandra.local_datacenter.as_deref(),
        Some("datacenter1")
    );
    assert!(config.cassandra.credentials.is_some());
    assert!(config.api.tls.is_some());
    let counter = config.definitions.counter("plays").unwrap();
    assert_eq!(counter.amount, AmountSource::Attribute("bytes".to_owned()));
}

#[test]
fn the_annotated_example_has_every_key() {
    let has = |section: &str, keys: &'static [&'static str]| {
        let (_, text) = EXAMPLE.split_once(section).expect(section);
        let text = text.split("\n[").next().unwrap_or_default();
        for key in keys {
            let given = format!("\n{key} = ");
            let off = format!("\n# {key} = ");
            assert!(
                text.contains(&given) || text.contains(&off),
                "{section} {key}"
            );
        }
    };
    has("\n[zookeeper]", fields::<raw::ZooKeeper>());
    has("\n[cassandra]", fields::<raw::Cassandra>());
    has("\n[ranges]", fields::<raw::Ranges>());
    has("\n[event]", fields::<raw::Event>());
    has("\n[[counter]]", fields::<raw::Counter>());
    has("\n[processor]", fields::<raw::Processor>());
    has("\n[restorator]", fields::<raw::Restorator>());
    has("\n[http]", fields::<raw::Http>());
    has("\n[api]", fields::<raw::Api>());
    for section in fields::<raw::Raw>() {
        assert!(
            EXAMPLE.contains(&format!("\n[{section}]"))
                || EXAMPLE.contains(&format!("\n[[{section}]]"))
                || *section == "namespace",
            "{section}"
        );
    }
}

/// The names of the fields that `T` is read from.
fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    T::deserialize(Fields)
        .err()
        .expect("the fields come as an error")
        .0
}

/// Gives the fields of the struct that it is asked for as an error.
struct Fields;

#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Found(&'static [&'static str]);

impl de::Error for Found {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Fields {
    type Error = Found;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Found> {
        Err(Found(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Found> {
        Err(Found(fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
