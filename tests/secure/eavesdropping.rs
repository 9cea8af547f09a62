//! Whoever listens on the network hears no key of an event and no secret, whatever the fleet does.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::events::Record;
use stitch_harness::process::{Process, Program};
use stitch_harness::secure;
use stitch_harness::servers::repository;
use stitch_tests::scene::{BOUND, all_right, restore, test_namespace};

use crate::support::{folder, run};

/// A key of events that nothing else has.
const KEY: &str = "CANARYkeyOfAnEvent";
/// What the test itself sends in clear, to see that the capture hears it.
const MARK: &str = "CANARYsentInClear";

fn capture(folder: &Path) -> Result<Program> {
    Ok(Program {
        name: "capture".to_owned(),
        path: "/usr/bin/env".into(),
        arguments: vec![
            "python3".to_owned(),
            repository()?
                .join("deploy/lib/capture.py")
                .display()
                .to_string(),
            folder.join("packets").display().to_string(),
        ],
        environment: Vec::new(),
        folder: folder.to_owned(),
    })
}

/// Sends the mark over a plain connection.
fn send_in_clear() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut near = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.write_all(MARK.as_bytes())?;
    drop(near);
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut far, &mut heard)?;
    ensure!(heard == MARK);
    Ok(())
}

async fn stopped(capture: Process) -> Result<()> {
    let finished = capture.stop(Duration::from_secs(30)).await?;
    ensure!(
        finished.code == Some(0),
        "the capture is not whole: {finished:?}"
    );
    Ok(())
}

fn hears(packets: &[u8], text: &str) -> bool {
    let mut windows = packets.windows(text.len());
    windows.any(|window| window == text.as_bytes())
}

async fn until_heard(packets: &Path, text: &str) -> Result<()> {
    let polling = async {
        loop {
            if hears(&std::fs::read(packets)?, text) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(60), polling).await;
    heard.with_context(|| format!("the capture does not hear {text}"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loopback_carries_no_key_of_an_event_and_no_secret() -> Result<()> {
    let namespace = test_namespace("secure_wire").await?;
    let program = capture(&namespace.folder)?;
    let mut capture = program.start()?;
    capture
        .until_says("capturing", Duration::from_secs(20))
        .await
        .context("listening to the loopback needs CAP_NET_RAW: run this as root")?;
    // Everything that a fleet does: count, audit, restore, check, serve.
    let processor = namespace.processor("processor").await?;
    let event = format!(
        r#"{{"type":"play","time":"2026-01-02T03:04:05Z","track":"{KEY}","listener":"{KEY}"}}"#
    );
    let record = |at: u32| Record {
        key: format!("{at}").into_bytes(),
        value: Some(event.clone().into_bytes()),
    };
    namespace.feed()?.send((0..200).map(record)).await?;
    namespace.lag()?.until_none(BOUND).await?;
    restore(&namespace).await?;
    let checked = run(&namespace, &["check"], &[]).await?;
    ensure!(checked.code == Some(0), "{checked:?}");
    namespace.stop([processor]).await?;
    all_right(&namespace).await?;
    send_in_clear()?;
    let packets = namespace.folder.join("packets");
    // What was sent before it has been captured, too.
    until_heard(&packets, MARK).await?;
    stopped(capture).await?;
    let heard = std::fs::read(&packets)?;
    let folder = folder()?;
    let mut secrets = vec![KEY.to_owned(), namespace.topic().to_owned()];
    for user in ["admin", "stitch"] {
        secrets.push(secure::read(&folder, &format!("{user}.password"))?);
    }
    for secret in secrets {
        let bytes = heard.len();
        ensure!(
            !hears(&heard, &secret),
            "{secret} is among the {bytes} bytes of the capture"
        );
    }
    Ok(())
}
