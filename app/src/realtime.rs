//! Whether a namespace is counted in real time at all.

use stitch_common::user_error::UserError;
use stitch_config::Config;

/// Refuses what `program` does where nothing is counted in real time.
///
/// # Errors
/// The namespace is purely in batch.
pub fn require(config: &Config, program: &str) -> Result<(), UserError> {
    if config.batch.realtime {
        return Ok(());
    }
    let message = format!(
        "batch.realtime is false: the namespace \"{}\" is purely in batch, and {program} has nothing to do",
        config.namespace
    );
    let help = "`stitch-batch run` brings its counts up to date; a namespace that counts in real time, too, is another one: \
                give it a name of its own, and run `stitch-processor init`";
    Err(UserError::new(message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_purely_in_batch_is_refused_by_name() {
        let text = include_str!("../../deploy/stitch.toml");
        let parse = |variables: &[(&str, &str)]| {
            Config::parse("stitch.toml", text, &variables.iter().copied().collect()).unwrap()
        };
        assert_eq!(require(&parse(&[]), "stitch-processor run"), Ok(()));
        let pure = parse(&[
            ("STITCH_BATCH__ENABLED", "true"),
            ("STITCH_BATCH__REALTIME", "false"),
        ]);
        let error = require(&pure, "stitch-processor run").unwrap_err();
        assert!(error.message.contains("stitch-processor run"), "{error:?}");
        assert!(error.help.contains("`stitch-batch run`"), "{error:?}");
    }
}
