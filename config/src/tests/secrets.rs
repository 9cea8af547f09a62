//! No error and no `Debug` shows a secret, whatever is wrong with it or around it.

use super::*;
use stitch_common::user_error::UserError;

/// Part by part, so that an excerpt is found, too.
const SECRET: &str = "hunter2-CANARY-0123456789";
const PARTS: [&str; 3] = ["hunter2", "CANARY", "0123456789"];

/// Section and key of each secret.
const KEYS: [(&str, &str); 10] = [
    ("cassandra", "password"),
    ("zookeeper", "password"),
    ("api", "tokens"),
    ("zookeeper", "auth"),
    ("kafka.client", "\"sasl.password\""),
    ("kafka.client", "\"ssl.key.password\""),
    ("kafka.client", "\"ssl.keystore.password\""),
    ("kafka.client", "\"ssl.key.pem\""),
    ("kafka.client", "\"sasl.oauthbearer.client.secret\""),
    ("kafka.client", "\"sasl.pasword\""),
];

fn shows_nothing(result: &Result<Config, UserError>, input: &str) {
    let text = match result {
        Ok(config) => format!("{config:?}"),
        Err(error) => {
            let json = serde_json::to_string(error).unwrap();
            format!("{error} {error:?} {json}")
        }
    };
    for part in PARTS {
        assert!(!text.contains(part), "{input:?}: {text}");
    }
}

/// [`LEAST`] with this line in this section.
fn within(section: &str, line: &str) -> String {
    let heading = format!("[{section}]\n");
    if LEAST.contains(&heading) {
        LEAST.replace(&heading, &format!("{heading}{line}\n"))
    } else {
        format!("{LEAST}{heading}{line}\n")
    }
}

/// The ways in which a line can be wrong.
fn lines(key: &str) -> Vec<String> {
    let bare = key.trim_matches('"');
    vec![
        format!("{key} = \"{SECRET}\""),
        format!("{key} = [\"{SECRET}\"]"),
        format!("{key} = [[\"{SECRET}\"]]"),
        format!("{key} = {{a = \"{SECRET}\"}}"),
        format!("{key}.x = \"{SECRET}\""),
        format!("{bare} = \"{SECRET}\""),
        format!("{key} = {SECRET}"),
        format!("{key} = 0123456789"),
        format!("{key} = 123456789{}", "0123456789".repeat(3)),
        format!("{key} = \"{SECRET}"),
        format!("{key} = '{SECRET}"),
        format!("{key} = \"\\q{SECRET}\""),
        format!("{key} = \"{SECRET}\\n\""),
        format!("{key} = \"{SECRET}\" {SECRET}"),
        format!("{key} : \"{SECRET}\""),
        format!("{key} \"{SECRET}\""),
        format!("{key}x = \"{SECRET}\""),
        format!("{key} = \"{SECRET}\"\n{key} = \"{SECRET}\""),
        format!("{key} = 2024-13-{SECRET}"),
        format!("{key} = 0123456789-01-01"),
        format!("{key} = 1e{SECRET}"),
        format!("{key} = \"\"\"{SECRET}"),
    ]
}

#[test]
fn no_error_shows_a_secret_of_the_file() {
    let mut wrong = 0;
    for (section, key) in KEYS {
        for place in [
            section,
            "cassandra",
            "kafka",
            "kafka.client",
            "zookeeper",
            "api",
            "event",
        ] {
            for line in lines(key) {
                let text = within(place, &line);
                let result = parse(&text);
                shows_nothing(&result, &text);
                wrong += usize::from(result.is_err());
            }
        }
    }
    assert!(wrong > 800, "{wrong}");
}

#[test]
fn a_typing_error_near_a_secret_does_not_show_it() {
    for (section, key) in KEYS.into_iter().take(3) {
        for line in lines(key).iter().take(2) {
            for (at, _) in line.char_indices() {
                for typed in ["", "\"", "'", "=", "\n", "#", "\\", "[", "]", "\u{1b}"] {
                    let mut line = line.clone();
                    // In place of one character, but for one of the secret itself.
                    if SECRET.contains(&line[at..=at]) {
                        line.insert_str(at, typed);
                    } else {
                        line.replace_range(at..=at, typed);
                    }
                    let text = within(section, &line);
                    // A secret that is split is still not shown in its longer part.
                    let result = parse(&text);
                    if let Err(error) = &result {
                        let shown = PARTS.iter().any(|part| error.to_string().contains(part));
                        // The name of an unknown key is shown; a secret is a key if a quote moved in front of it.
                        let is_key = error.message.contains(": unknown field");
                        assert!(!shown || is_key, "{text}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_error_shows_a_secret_of_the_environment() {
    let names = [
        "STITCH_CASSANDRA__PASSWORD",
        "STITCH_CASSANDRA__PASSWORT",
        "STITCH_ZOOKEEPER__PASSWORD",
        "STITCH_ZOOKEEPER__PASWORD",
        "STITCH_ZOOKEEPER_PASSWORD",
        "STITCH_KAFKA__CLIENT__SASL_PASSWORD_FILE_X",
        "STITCH_CASSANDRA_PASSWORD",
        "STITCH_CASSANDRA__PASSWORD__X",
        "STITCH_CASSANDRA",
        "STITCH_CASSANDRA__USER",
        "STITCH_API__TOKENS",
        "STITCH_API__TOKEN",
        "STITCH_API_TOKENS",
        "STITCH_API__KEYS_MAX",
        "STITCH_API__LISTEN__X",
        "STITCH_COUNTER",
        "STITCH_COUNTER__NAME",
        "STITCH_RANGES__BITS",
        "STITCH_KAFKA__PASSWORD",
        "STITCH_KAFKA__CLIENT",
        "STITCH_KAFKA__CLIENT__SASL_PASSWORD",
        "STITCH_KAFKA__CLIENT__SASL_PASWORD",
        "STITCH_KAFKA__CLIENT__ACKS",
        "STITCH_KAFKA_CLIENT_SASL_PASSWORD",
    ];
    for name in names {
        for value in [
            SECRET.to_owned(),
            format!("[\"{SECRET}\""),
            format!("[\"{SECRET}\", 7]"),
            format!("[\"{SECRET} \u{e4}\"]"),
            format!("{SECRET}, {SECRET}"),
            format!("\"{SECRET}\""),
            format!("{{a = \"{SECRET}\"}}"),
            format!("{SECRET}\n"),
            format!("{SECRET}\u{1b}"),
            "0123456789".to_owned(),
            "1234560123456789".to_owned(),
        ] {
            let environment: Environment = [(name, value.as_str())].into_iter().collect();
            let result = Config::parse("stitch.toml", LEAST, &environment);
            let number = name == "STITCH_API__KEYS_MAX" || name == "STITCH_RANGES__BITS";
            // A number is shown that is out of its bounds.
            if !(number && value.ends_with("0123456789") && !value.contains(SECRET)) {
                shows_nothing(&result, name);
            }
            assert!(!format!("{environment:?}").contains("0123456789"));
        }
    }
}
