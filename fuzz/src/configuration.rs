//! The configuration, which operators write.

use stitch_common::config::{Config, Environment};

const WHOLE: &str = include_str!("../../deploy/stitch.toml");

fn parse(text: &str, environment: &Environment) {
    if let Err(failure) = Config::parse("fuzz.toml", text, environment) {
        assert!(!failure.message.is_empty() && !failure.help.is_empty());
    }
}

/// A text is a configuration, or an error with its help.
pub(crate) fn text(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse(text, &Environment::default());
    }
}

/// The example with the line that the first byte says replaced: what is wrong is deep inside.
pub(crate) fn line(bytes: &[u8]) {
    let Some((which, line)) = bytes.split_first() else {
        return;
    };
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    let mut lines: Vec<&str> = WHOLE.lines().collect();
    let which = usize::from(*which) % lines.len();
    lines[which] = line;
    parse(&lines.join("\n"), &Environment::default());
}

/// A variable of the environment beside the example: what follows `STITCH_`.
pub(crate) fn variable(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
    let name = format!("STITCH_{name}");
    parse(WHOLE, &[(name.as_str(), value)].into_iter().collect());
}
