use clap::CommandFactory;
use stitch_common::member::MemberId;
use stitch_config::Environment;

use super::*;

fn config() -> Config {
    let text = include_str!("../../../deploy/stitch.toml");
    Config::parse("stitch.toml", text, &Environment::default()).unwrap()
}

fn parse(text: &str) -> Result<Command, clap::Error> {
    let arguments = std::iter::once("stitch-restorator").chain(text.split(' '));
    Arguments::try_parse_from(arguments).map(|arguments| arguments.command)
}

fn planned(text: &str) -> Result<(PlanOptions, Config), UserError> {
    let Ok(Command::Plan(arguments)) = parse(text) else {
        panic!("{text}");
    };
    let mut config = config();
    Ok((arguments.options(&mut config)?, config))
}

fn run(text: &str) -> Result<RunOptions, UserError> {
    let Ok(Command::Run(arguments)) = parse(text) else {
        panic!("{text}");
    };
    arguments.options(&mut config())
}

#[test]
fn the_help_of_every_command_has_an_example() {
    stitch_testkit::help::check(Arguments::command(), &["Example"]);
}

#[test]
fn sums_take_a_scope_and_a_level() {
    let options = |text: &str| {
        let Ok(Command::Sums(arguments)) = parse(text) else {
            panic!("{text}");
        };
        let mut config = config();
        let options = arguments.options(&mut config).unwrap();
        (options, config.restorator.read_level)
    };
    let (all, level) = options("sums");
    assert_eq!((all.only_doubtful, level), (false, Level::All));
    assert_eq!(all.scope.ranges.to_string(), "0-63");
    let (some, level) = options("sums --counter plays --doubtful --read-consistency quorum");
    assert_eq!((some.only_doubtful, level), (true, Level::Quorum));
    assert_eq!(some.scope.counter.unwrap().0.as_ref(), "plays");
}

#[test]
fn a_plan_takes_a_scope_and_a_file() {
    let (options, config) = planned("plan").unwrap();
    assert_eq!(options.scope.ranges.to_string(), "0-63");
    assert_eq!(
        (options.plan_file, options.declared_dead),
        (None, Vec::new())
    );
    assert_eq!(config.restorator.read_level, Level::All);
    let text = "plan --counter plays --ranges 3-5 --plan-file p.jsonl --read-consistency QUORUM \
                --declare-dead 00000000000000ff-0000000000000000 --declare-dead 127.0.0.2";
    let (options, config) = planned(text).unwrap();
    assert_eq!(options.scope.ranges.to_string(), "3-5");
    assert_eq!(options.plan_file, Some(PathBuf::from("p.jsonl")));
    let member = DeclaredDead::Member(MemberId::new(255, 0));
    let host = DeclaredDead::Host([127, 0, 0, 2].into());
    assert_eq!(options.declared_dead, [member, host]);
    assert_eq!(config.restorator.read_level, Level::Quorum);
}

#[test]
fn an_audit_begins_with_the_totals_that_are_named_and_may_leave_none() {
    for (text, base, leave) in [
        ("", BaseChoice::Newest, true),
        (" --base none", BaseChoice::FromBeginning, true),
        (
            " --base t1 --no-totals",
            BaseChoice::Only(TotalsId("t1".to_owned())),
            false,
        ),
    ] {
        let expected = TotalsOptions { base, leave };
        let (options, _) = planned(&format!("plan{text}")).unwrap();
        assert_eq!(options.totals, expected, "{text}");
        let options = run(&format!("run --now{text}")).unwrap();
        assert_eq!(options.totals, expected, "{text}");
    }
}

#[test]
fn a_key_may_begin_with_a_hyphen() {
    for key in ["-5", "--output", "-"] {
        let (options, _) = planned(&format!("plan --counter plays --key {key}")).unwrap();
        assert_eq!(options.scope.key.unwrap().0.as_ref(), key);
        let options = run(&format!("run --now --counter plays --key {key}")).unwrap();
        let PlanSource::Now(scope) = options.source else {
            panic!("{key}");
        };
        assert_eq!(scope.key.unwrap().0.as_ref(), key);
    }
}

#[test]
fn a_plan_takes_the_number_of_cells_that_may_remain_unjudged() {
    assert_eq!(
        planned("plan --max-unjudged 7").unwrap().0.max_unjudged,
        Some(7)
    );
    assert_eq!(planned("plan").unwrap().0.max_unjudged, None);
}

#[test]
fn a_run_takes_a_plan_or_a_scope_and_its_limits() {
    let options = run("run plan.jsonl --max-cells 10 --max-change 500").unwrap();
    assert_eq!(
        options.source,
        PlanSource::File(PathBuf::from("plan.jsonl"))
    );
    assert_eq!(
        (options.limits.max_cells, options.limits.max_change),
        (Some(10), Some(500))
    );
    let options = run("run --now --counter plays --key a").unwrap();
    let PlanSource::Now(scope) = options.source else {
        panic!("{options:?}");
    };
    assert_eq!(scope.ranges().count(), 1, "a key lies in one range");
    let failure = run("run plan.jsonl --counter plays").unwrap_err();
    assert!(failure.message.contains("--now"), "{failure}");
}

#[test]
fn arguments_that_no_command_takes_are_refused() {
    for wrong in [
        "run",
        "run plan.jsonl --now",
        "plan --key a",
        "plan --ranges 5-3",
        "plan --ranges a",
        "plan --read-consistency ONE",
        "plan --declare-dead node-3",
        "plan --max-cells 1",
        "run --now --max-cells -1",
        "status --now",
        "check --counter plays",
    ] {
        let error = parse(wrong).map(|_| wrong).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong}");
    }
    for wrong in ["plan --counter clicks", "plan --ranges 64"] {
        assert!(planned(wrong).is_err(), "{wrong}");
    }
}
