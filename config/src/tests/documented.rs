use super::*;

const EXAMPLE: &str = include_str!("../../../deploy/stitch.toml");

#[test]
fn the_defaults_in_the_annotated_example_are_the_real_ones() {
    let example = parse(EXAMPLE).unwrap();
    assert_eq!(example, parse(LEAST).unwrap());
}

/// The example with the commented keys enabled, and their alternatives disabled.
fn switched_on() -> String {
    let on = |line: &str| match line.strip_prefix("# ") {
        // These files do not exist, and each is beside the key that it replaces.
        Some(key) if key.contains("_file = ") => line.to_owned(),
        Some(key)
            if key.split(' ').nth(1) == Some("=")
                || key.ends_with(".tls]")
                || key == "[batch.cassandra]" =>
        {
            key.to_owned()
        }
        _ => line.to_owned(),
    };
    let lines: Vec<_> = EXAMPLE.lines().map(on).collect();
    lines.join("\n").replace("\namount = 1 ", "\n# amount = 1 ")
}

#[test]
fn the_commented_keys_of_the_annotated_example_can_be_enabled() {
    let config = parse(&switched_on()).unwrap();
    assert_eq!(
        config.cassandra.local_datacenter.as_deref(),
        Some("datacenter1")
    );
    assert!(config.cassandra.credentials.is_some());
    assert!(config.cassandra.tls.is_some());
    assert!(config.zookeeper.identity.is_some());
    assert!(config.zookeeper.tls.is_some());
    assert!(config.api.tls.is_some());
    assert_eq!(config.batch.cassandra.keyspace, "plays");
    let archive = config.archive.url.as_deref();
    assert_eq!(archive, Some("file:///var/lib/stitch"));
    let counter = config.definitions.counter("plays").unwrap();
    assert_eq!(counter.amount, AmountSource::Attribute("bytes".to_owned()));
}

/// The keys of a section, as the error about an unknown key lists them.
fn keys(section: &str) -> Vec<String> {
    let unknown = match section {
        "" => LEAST.replacen("[zookeeper]", "[no_such_section]\n[zookeeper]", 1),
        "counter" => LEAST.replacen("[[counter]]", "[[counter]]\nno_such_key = 1", 1),
        section => {
            let heading = format!("[{section}]\n");
            match LEAST.contains(&heading) {
                true => LEAST.replacen(&heading, &format!("{heading}no_such_key = 1\n"), 1),
                false => format!("{LEAST}{heading}no_such_key = 1\n"),
            }
        }
    };
    let message = parse(&unknown).unwrap_err().message;
    let (_, keys) = message.split_once("expected one of ").expect(&message);
    keys.split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_annotated_example_has_every_key() {
    let root = keys("");
    assert_eq!(root.len(), 15, "{root:?}");
    let inner = "totals.spark".to_owned();
    let sections = root.iter().chain([&inner]);
    for section in sections.filter(|key| *key != "namespace") {
        let heading = match section.as_str() {
            "counter" => "\n[[counter]]\n".to_owned(),
            section => format!("\n[{section}]\n"),
        };
        let (_, text) = EXAMPLE.split_once(&heading).expect(section);
        let text = text.split("\n[").next().unwrap_or_default();
        for key in keys(section) {
            if matches!(key.as_str(), "client" | "tls" | "spark" | "cassandra") {
                continue;
            }
            let on = format!("{key} = ");
            let is_shown = |line: &str| line.strip_prefix("# ").unwrap_or(line).starts_with(&on);
            assert!(text.lines().any(is_shown), "{section} {key}");
        }
    }
    assert!(EXAMPLE.contains("\n[kafka.client]\n"));
    for section in ["zookeeper.tls", "cassandra.tls"] {
        let (_, text) = EXAMPLE
            .split_once(&format!("\n# [{section}]\n"))
            .expect(section);
        let text = text.split("\n[").next().unwrap_or_default();
        for key in keys(section) {
            assert!(
                text.contains(&format!("\n# {key} = ")) || text.starts_with(&format!("# {key} = ")),
                "{section} {key}"
            );
        }
    }
}
