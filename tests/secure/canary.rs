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
const KEYS: [&str; 10] = [
    "ZOOKEEPER__PASSWORD",
    "CASSANDRA__PASSWORD",
    "BATCH__CASSANDRA__PASSWORD",
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
    for key in ["ZOOKEEPER__TLS", "CASSANDRA__TLS", "BATCH__CASSANDRA__TLS"] {
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

/// The sections of another cluster of batch counts, by variables: the same nodes, with a user whom they do not let in.
fn of_batch(namespace: &TestNamespace) -> Vec<(String, String)> {
    let nodes = format!("{:?}", namespace.servers.cassandra);
    let cassandra = "STITCH_BATCH__CASSANDRA__";
    let mut variables = vec![
        ("STITCH_BATCH__ENABLED".to_owned(), "true".to_owned()),
        (format!("{cassandra}NODES"), nodes),
        (
            format!("{cassandra}KEYSPACE"),
            namespace.keyspace().to_owned(),
        ),
        (format!("{cassandra}USER"), "stitch".to_owned()),
        (format!("{cassandra}PASSWORD"), CANARY.to_owned()),
    ];
    if let Ok(folder) = folder() {
        for (key, file) in [
            ("CA", "ca.pem"),
            ("CERTIFICATE", "stitch.pem"),
            ("KEY", "stitch.key"),
        ] {
            let path = folder.join(file).display().to_string();
            variables.push((format!("{cassandra}TLS__{key}"), path));
        }
    }
    variables
}

/// The variables of each kind of store, all of them wrong.
const STORES: [(&str, &[&str]); 3] = [
    (
        "s3://bucket/prefix",
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ],
    ),
    ("gs://bucket/prefix", &["GOOGLE_SERVICE_ACCOUNT_KEY"]),
    (
        "az://container/prefix",
        &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_CLIENT_SECRET",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_batch_or_of_a_store_is_in_no_output() -> Result<()> {
    let namespace = test_namespace("secure_stores").await?;
    let quiet = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let json = ["--output", "json"];
    let mut program = namespace.batch_command("check", &json)?;
    program.environment.extend(of_batch(&namespace));
    program.environment.push(quiet("STITCH_LOG", "trace"));
    let finished = program.run(BOUND).await?;
    ensure!(
        finished.code == Some(2) && finished.output.contains("let the user \\\"stitch\\\" in"),
        "{finished:?}"
    );
    shows_nothing(&finished, "the password of batch.cassandra")?;

    for (url, variables) in STORES {
        for value in [
            CANARY.to_owned(),
            format!("\"{CANARY}\""),
            format!("{{\"a\": \"{CANARY}\"}}"),
        ] {
            let mut program = namespace.archive_command("check", &json)?;
            let secrets = variables.iter().map(|name| quiet(name, &value));
            program.environment.extend(secrets);
            program.environment.extend([
                quiet("STITCH_ARCHIVE__URL", url),
                quiet("STITCH_LOG", "trace"),
                // Nothing listens there: what matters is what is said of it.
                quiet("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
                quiet("AWS_ALLOW_HTTP", "true"),
                quiet("AWS_REGION", "nowhere"),
                quiet("AZURE_STORAGE_ACCOUNT_NAME", "account"),
                quiet("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1"),
                quiet("AZURE_ALLOW_HTTP", "true"),
            ]);
            let finished = program.run(BOUND).await?;
            ensure!(finished.code == Some(2), "{url}: {finished:?}");
            ensure!(!finished.errors.contains("panicked"), "{url}: {finished:?}");
            shows_nothing(&finished, url)?;
        }
    }
    for url in [
        format!("s3://key:{CANARY}@bucket/prefix"),
        format!("s3://key:{CANARY}@bucket:port/prefix"),
        format!("s3://bucket/prefix?token={CANARY}"),
    ] {
        for (key, command) in [
            ("ARCHIVE__URL", namespace.archive_command("check", &json)?),
            ("TOTALS__URL", namespace.totals_command("check", &json)?),
            ("TOTALS__URL", namespace.restorator_command("plan", &json)?),
            (
                "ARCHIVE__URL",
                namespace.archive_command("import", &[&url, "--output", "json"])?,
            ),
        ] {
            let mut program = command;
            program
                .environment
                .push((format!("STITCH_{key}"), url.clone()));
            program.environment.push(quiet("STITCH_LOG", "trace"));
            let finished = program.run(BOUND).await?;
            ensure!(finished.code == Some(2), "{finished:?}");
            shows_nothing(&finished, key)?;
        }
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
