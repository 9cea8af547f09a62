//! SIGHUP, as a closed terminal or a lost connection sends it, ends every program as SIGINT does.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use stitch_harness::process::Program;
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::test_namespace::TestNamespace;

use stitch_tests::scene::{BOUND, all_right, count, some_events, test_namespace};

const SIGNALS: [Signal; 2] = [Signal::INT, Signal::HUP];

/// The same program with SIGHUP as a shell leaves it: who started the tests may ignore it, as `nohup` does.
fn with_hangup(program: Program) -> Program {
    let mut arguments = vec![
        "--default-signal=HUP".to_owned(),
        program.path.display().to_string(),
    ];
    arguments.extend(program.arguments);
    Program {
        path: PathBuf::from("env"),
        arguments,
        ..program
    }
}

/// Commands that wait for servers, and their exit code after a signal. Those that have nothing to stop cleanly end where they
/// are, with 130.
fn programs(namespace: &TestNamespace) -> Result<[(Program, i32); 9]> {
    Ok([
        (namespace.processor_command("run", &[])?, 0),
        (namespace.archive_command("run", &[])?, 0),
        (namespace.api_command("run", &[])?, 0),
        (namespace.restorator_command("run", &["--now"])?, 2),
        (namespace.processor_command("check", &[])?, 130),
        (namespace.restorator_command("status", &[])?, 130),
        (
            namespace.restorator_command("pause", &["--reason", "-"])?,
            130,
        ),
        (namespace.archive_command("status", &[])?, 130),
        (namespace.totals_command("build", &[])?, 130),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_every_program_that_waits_for_servers_as_an_interrupt_does() -> Result<()> {
    let namespace = test_namespace("hangup").await?;
    // Nothing is answered, and nothing fails.
    let servers = namespace.servers.clone();
    let (zookeeper, cassandra, kafka) = (
        Proxy::start(&servers.zookeeper).await?,
        Proxy::start(&servers.cassandra[0]).await?,
        Proxy::start(&servers.kafka).await?,
    );
    let archive = format!("file://{}/archive", namespace.folder.display());
    for signal in SIGNALS {
        for (mut program, code) in programs(&namespace)? {
            for (key, proxy) in [
                ("STITCH_ZOOKEEPER__CONNECT", &zookeeper),
                ("STITCH_CASSANDRA__NODES", &cassandra),
                ("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", &kafka),
            ] {
                proxy.set(Mode::Blackhole);
                program.environment.push((key.to_owned(), proxy.address()));
            }
            for (key, value) in [
                ("STITCH_ARCHIVE__URL", archive.as_str()),
                ("STITCH_LOG", "info,stitch_app=debug"),
            ] {
                program.environment.push((key.to_owned(), value.to_owned()));
            }
            let name = program.name.clone();
            let mut process = with_hangup(program).start()?;
            process.until_says("signals are handled", BOUND).await?;
            process.signal(signal)?;
            let finished = process.finish(BOUND).await?;
            ensure!(
                finished.code == Some(code) && finished.errors.contains("stop requested"),
                "{name}, {signal:?}: {finished:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_counts_drains_on_a_hangup_and_leaves_no_member_behind() -> Result<()> {
    let namespace = test_namespace("hangup_counting").await?;
    let processor = with_hangup(namespace.processor_command("run", &[])?).start()?;
    count(&namespace, some_events(1, 500)?).await?;
    namespace.feed()?.send(some_events(2, 2000)?).await?;
    processor.signal(Signal::HUP)?;
    let finished = processor.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let zookeeper =
        stitch_harness::zookeeper::ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let members = zookeeper
        .children(&format!("/stitch/{}/members", namespace.name))
        .await?;
    ensure!(members.is_empty(), "members left behind: {members:?}");
    let next = namespace.processor("next").await?;
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop([next]).await
}
