//! The configuration, which operators write.

use stitch_config::{Config, Environment};

const WHOLE: &str = include_str!("../../deploy/stitch.toml");

fn parse(text: &str, environment: &Environment) {
    if let Err(error) = Config::parse("fuzz.toml", text, environment) {
        assert!(!error.message.is_empty() && !error.help.is_empty());
    }
}

/// Text is a configuration, or an error with a help.
pub(crate) fn text(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse(text, &Environment::default());
    }
}

/// Replaces one line of the example, by the first byte: errors deep inside.
pub(crate) fn line(bytes: &[u8]) {
    let Some((number, line)) = bytes.split_first() else {
        return;
    };
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    let mut lines: Vec<&str> = WHOLE.lines().collect();
    let number = usize::from(*number) % lines.len();
    lines[number] = line;
    parse(&lines.join("\n"), &Environment::default());
}

/// The example with an environment variable: the input follows `STITCH_`.
pub(crate) fn variable(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
    let name = format!("STITCH_{name}");
    parse(WHOLE, &[(name.as_str(), value)].into_iter().collect());
}
