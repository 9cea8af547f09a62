//! No byte of a secret is in any output, whatever is wrong with it, and however much is logged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::process::Finished;
use stitch_harness::secure;
use stitch_harness::test_namespace::TestNamespace;
use stitch_tests::scene::{BOUND, some_events, test_namespace};

use crate::support::{folder, processor, run};

const CANARY: &str = "hunter2CANARY0123";

/// Each key that is a secret, by its variable after `STITCH_`.
const KEYS: [&str; 9] = [
    "ZOOKEEPER__PASSWORD",
    "CASSANDRA__PASSWORD",
    "API__TOKENS",
    "KAFKA__CLIENT__SASL_PASSWORD",
    "KAFKA__CLIENT__SSL_KEY_PASSWORD",
    "KAFKA__CLIENT__SSL_KEYSTORE_PASSWORD",
    "KAFKA__CLIENT__SSL_KEY_PEM",
    "KAFKA__CLIENT__SASL_OAUTHBEARER_CLIENT_SECRET",
    // A property that librdkafka does not have.
    "KAFKA__CLIENT__SASL_PASWORD",
];

fn shows_nothing(finished: &Finished, what: &str) -> Result<()> {
    for output in [&finished.output, &finished.errors] {
        for part in ["hunter2", "CANARY", CANARY] {
            ensure!(!output.contains(part), "{what}: {output}");
        }
    }
    Ok(())
}

/// Runs a command with this variable, with everything logged, as text and as JSON.
async fn tried(namespace: &TestNamespace, name: &str, value: &str, formats: &[&str]) -> Result<()> {
    for format in formats {
        let variables = [
            (name, value.to_owned()),
            ("STITCH_LOG", "trace".to_owned()),
            ("STITCH_LOG_FORMAT", (*format).to_owned()),
        ];
        let finished = run(namespace, &["check", "--output", format], &variables).await?;
        ensure!(
            !finished.errors.contains("panicked"),
            "{name}: {finished:?}"
        );
        shows_nothing(&finished, &format!("{name}={value}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_wrong_is_in_no_output() -> Result<()> {
    let namespace = test_namespace("secure_canary").await?;
    let own = tempfile::tempdir()?;
    let file = own.path().join("secret");
    std::fs::write(&file, format!("{CANARY}\n{CANARY}\n"))?;
    let file = file.display().to_string();
    for key in KEYS {
        let name = format!("STITCH_{key}");
        // It reaches the servers, and is refused there.
        tried(&namespace, &name, CANARY, &["json"]).await?;
        // These are refused before.
        for value in [
            format!("{CANARY}\u{7}"),
            format!("[\"{CANARY}\", 7]"),
            format!("{{a = \"{CANARY}\"}}\n"),
        ] {
            tried(&namespace, &name, &value, &["text", "json"]).await?;
        }
        let section = key.rsplit_once("__").context("a section")?.0;
        for misspelt in [
            format!("{name}X"),
            format!("{name}__X"),
            format!("STITCH_{section}__PASSWROD"),
            name.replacen("__", "_", 1),
        ] {
            tried(&namespace, &misspelt, CANARY, &["text"]).await?;
        }
        // A file that has something else: two lines, a configuration, a certificate.
        tried(&namespace, &format!("{name}_FILE"), &file, &["text"]).await?;
    }
    for key in ["ZOOKEEPER__TLS", "CASSANDRA__TLS"] {
        for part in ["CA", "CERTIFICATE", "KEY"] {
            tried(
                &namespace,
                &format!("STITCH_{key}__{part}"),
                &file,
                &["json"],
            )
            .await?;
        }
    }
    tried(&namespace, "STITCH_CONFIG_OF_ANOTHER", &file, &["text"]).await?;
    // Read by the API alone: of two lines, the second has what the first has.
    for content in [
        format!("{CANARY}\n{CANARY}\n"),
        format!("a read {CANARY}\nb {CANARY} {CANARY}\n"),
    ] {
        std::fs::write(&file, content)?;
        let mut program = namespace.api_command("check", &["--output", "json"])?;
        program.environment.extend([
            ("STITCH_API__TOKENS_FILE".to_owned(), file.clone()),
            ("STITCH_LOG".to_owned(), "trace".to_owned()),
        ]);
        let finished = program.run(BOUND).await?;
        ensure!(
            finished.code == Some(2) && finished.output.contains(", line 2 has"),
            "{finished:?}"
        );
        shows_nothing(&finished, "the file of tokens")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_and_no_file_of_a_fleet_has_a_password_or_a_private_key() -> Result<()> {
    let namespace = test_namespace("secure_outputs").await?;
    let folder = folder()?;
    let key = secure::read(&folder, "stitch.key")?;
    let secrets = [
        secure::read(&folder, "stitch.password")?,
        key.lines().nth(1).context("a line of the key")?.to_owned(),
    ];
    let trace = [("STITCH_LOG", "trace".to_owned())];
    let mut program = processor(&namespace, &["run"], &trace)?;
    program.name = "traced".to_owned();
    let mut counting = program.start()?;
    counting
        .until_says("http://", Duration::from_secs(60))
        .await?;
    namespace.feed()?.send(some_events(3, 200)?).await?;
    namespace.lag()?.until_none(BOUND).await?;
    let mut outputs = Vec::new();
    for arguments in [
        &["check"][..],
        &["init", "--update"],
        &["check", "--output", "json"],
    ] {
        outputs.push(run(&namespace, arguments, &trace).await?);
    }
    for (command, arguments) in [("status", &[][..]), ("plan", &[]), ("run", &["--now"])] {
        let mut program = namespace.restorator_command(command, arguments)?;
        program
            .environment
            .push(("STITCH_LOG".to_owned(), "trace".to_owned()));
        outputs.push(program.run(BOUND).await?);
    }
    outputs.push(counting.stop(BOUND).await?);
    for finished in &outputs {
        ensure!(finished.code == Some(0), "{finished:?}");
        for secret in &secrets {
            ensure!(!finished.output.contains(secret), "standard output");
            ensure!(!finished.errors.contains(secret), "standard error");
        }
    }
    // Its own files: the configuration names files, and the journal has keys of events.
    let mut files = vec![namespace.folder.clone()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)?
                    .map(|entry| Ok(entry?.path()))
                    .collect::<Result<Vec<_>>>()?,
            );
            continue;
        }
        let content = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        for secret in &secrets {
            ensure!(!content.contains(secret), "{}", path.display());
        }
    }
    Ok(())
}
