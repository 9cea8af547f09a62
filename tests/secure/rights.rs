//! What `check` says of Kafka's rights: each that is missing by its name, and nothing where a user has exactly those that
//! docs/operations/security.md lists for a program, with which that program does its work.

use anyhow::{Result, ensure};
use stitch_harness::kafka_acls::{Operation, Resource, allow};
use stitch_harness::process::Program;
use stitch_harness::test_namespace::TestNamespace;
use stitch_tests::scene::{all_right, count, some_events, test_namespace};

use crate::support::{BOUND, ensure_finding, findings, folder, processor};

const USER: &str = "reader";

/// The variables by which a program comes to Kafka as the user without rights.
fn as_user() -> Result<[(&'static str, String); 2]> {
    let password = folder()?.join(format!("{USER}.password"));
    Ok([
        ("STITCH_KAFKA__CLIENT__SASL_USERNAME", USER.to_owned()),
        (
            "STITCH_KAFKA__CLIENT__SASL_PASSWORD_FILE",
            password.display().to_string(),
        ),
    ])
}

fn come(mut program: Program) -> Result<Program> {
    let variables = as_user()?.into_iter();
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    program.environment.extend(variables);
    Ok(program)
}

/// The wrong findings of a `check`.
async fn wrong(program: Program) -> Result<Vec<String>> {
    let finished = come(program)?.run(BOUND).await?;
    let answer: serde_json::Value = serde_json::from_str(&finished.output)?;
    let findings = answer["findings"].as_array().into_iter().flatten();
    let wrong = findings.filter(|finding| finding["verdict"] == "wrong");
    Ok(wrong
        .map(|finding| finding["message"].to_string())
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_each_right_of_kafka_that_a_processor_lacks() -> Result<()> {
    let namespace = test_namespace("secure_rights").await?;
    let user = as_user()?;
    let brokers = namespace.servers.kafka.clone();
    let (topic, rejected) = (
        namespace.topic().to_owned(),
        format!("{}.rejected", namespace.topic()),
    );
    let group = namespace.name.clone();
    let (topic, rejected) = (Resource::Topic(&topic), Resource::Topic(&rejected));
    let group = Resource::Group(&group);

    let unseen = findings(&namespace, &user).await?;
    ensure_finding(
        &unseen,
        "wrong",
        &["kafka", "\"reader\" by SCRAM-SHA-512", "opic authorization"],
    )?;

    allow(&brokers, USER, &[(topic, Operation::Describe)]).await?;
    let seen = findings(&namespace, &user).await?;
    for words in [
        ["no READ on the topic", "\"reader\""],
        ["no DESCRIBE_CONFIGS on the topic", "\"reader\""],
        ["no DESCRIBE on the group", "\"reader\""],
        ["no READ on the group", "\"reader\""],
        ["no WRITE on the topic", ".rejected"],
    ] {
        ensure_finding(&seen, "wrong", &words)?;
    }
    let helps = seen.iter().map(|(_, _, help)| help);
    let commands =
        helps.filter(|help| help.contains("kafka-acls.sh") && help.contains("\"User:reader\""));
    ensure!(commands.count() == 5, "{seen:#?}");

    let all_but_one = [
        (topic, Operation::Read),
        (topic, Operation::DescribeConfigs),
        (rejected, Operation::Describe),
        (rejected, Operation::DescribeConfigs),
        (group, Operation::Read),
    ];
    allow(&brokers, USER, &all_but_one).await?;
    let lacking = findings(&namespace, &user).await?;
    ensure_finding(&lacking, "wrong", &["no WRITE on the topic", ".rejected"])?;
    ensure_finding(&lacking, "ok", &["has READ on the group"])?;
    ensure_finding(&lacking, "ok", &["has READ on the topic"])?;

    allow(&brokers, USER, &[(rejected, Operation::Write)]).await?;
    let arguments = ["--output", "json"];
    let check = namespace.processor_command("check", &arguments)?;
    ensure!(wrong(check).await?.is_empty());
    // No probe has written anything, or joined the group; and these rights are enough.
    let mut counting = processor(&namespace, &["run"], &user)?.start()?;
    TestNamespace::address(&mut counting).await?;
    namespace.feed()?.send(some_events(7, 300)?).await?;
    namespace.lag()?.until_none(BOUND).await?;
    namespace.stop([counting]).await?;
    all_right(&namespace).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_for_programs_that_read_the_log() -> Result<()> {
    let namespace = test_namespace("secure_readers").await?;
    let brokers = namespace.servers.kafka.clone();
    let (topic, group) = (namespace.topic().to_owned(), namespace.name.clone());
    let (topic, group) = (Resource::Topic(&topic), Resource::Group(&group));
    let store = tempfile::tempdir()?;
    let url = format!("file://{}", store.path().display());
    let archived = |mut program: Program| {
        let variable = ("STITCH_ARCHIVE__URL".to_owned(), url.clone());
        program.environment.push(variable);
        program
    };
    let arguments = ["--output", "json"];
    let of_topic = [
        Operation::Read,
        Operation::Describe,
        Operation::DescribeConfigs,
    ];
    allow(
        &brokers,
        USER,
        &of_topic.map(|operation| (topic, operation)),
    )
    .await?;
    for check in [
        namespace.archive_command("check", &arguments)?,
        namespace.totals_command("check", &arguments)?,
    ] {
        let wrong = wrong(archived(check)).await?;
        ensure!(wrong.is_empty(), "{wrong:#?}");
    }
    let restorator = namespace.restorator_command("check", &arguments)?;
    let lacking = wrong(archived(restorator)).await?;
    ensure!(
        lacking.len() == 1 && lacking[0].contains("no DESCRIBE on the group"),
        "{lacking:#?}"
    );
    allow(&brokers, USER, &[(group, Operation::Describe)]).await?;
    for check in [
        namespace.restorator_command("check", &arguments)?,
        namespace.api_command("check", &arguments)?,
    ] {
        let wrong = wrong(archived(check)).await?;
        ensure!(wrong.is_empty(), "{wrong:#?}");
    }
    let counting = namespace.processor("processor").await?;
    count(&namespace, some_events(3, 200)?).await?;
    for (program, code) in [
        (namespace.archive_command("run", &["--once"])?, 0),
        (namespace.totals_command("build", &[])?, 0),
        (namespace.restorator_command("plan", &[])?, 0),
    ] {
        let finished = come(archived(program))?.run(BOUND).await?;
        ensure!(finished.code == Some(code), "{finished:?}");
    }
    namespace.stop([counting]).await
}
