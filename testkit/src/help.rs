//! The arguments of a program, and what its help says of them.

use clap::Command;

/// Checks that the arguments of `program` contradict each other nowhere, and that the help of each of its commands has
/// these texts.
///
/// # Panics
/// If that is not so.
pub fn check(mut program: Command, texts: &[&str]) {
    program.clone().debug_assert();
    program.build();
    let commands = program.get_subcommands_mut();
    for command in commands.filter(|command| command.get_name() != "help") {
        let help = command.render_long_help().to_string();
        for text in texts {
            assert!(help.contains(text), "{}: {help}", command.get_name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(help: &'static str) -> Command {
        Command::new("program").subcommand(Command::new("count").after_help(help))
    }

    #[test]
    fn a_command_with_an_example_is_right() {
        check(program("Example: program count"), &["Example"]);
    }

    #[test]
    #[should_panic(expected = "count: ")]
    fn a_command_without_an_example_is_found() {
        check(program("Counts"), &["Example"]);
    }
}
