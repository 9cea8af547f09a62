//! ZooKeeper: reach, session timeout, and what stands in the namespace.

use std::time::Duration;

use super::Findings;
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::ports::{Session, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_protocol::path::Paths;
use stitch_protocol::{NamespaceSession, definition_node, in_doubt, membership};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

/// What a session is asked for to learn the shortest that is granted: two ticks, unless the server is set otherwise.
const SHORTEST: Duration = Duration::from_millis(500);

/// What the other checks need of ZooKeeper.
pub(super) struct Seen {
    pub(super) session: NamespaceSession<ZooKeeperSession, SystemClock>,
    pub(super) is_initialised: bool,
    pub(super) session_timeout_longest: Duration,
}

impl Seen {
    pub(super) async fn close(self) {
        self.session.close().await;
    }
}

pub(super) async fn check(config: &Config) -> (Findings, Option<Seen>) {
    let mut findings = Findings::default();
    let asked = config.zookeeper.session_timeout;
    let keeper = ZooKeeperClient::new(&config.zookeeper.connect, asked);
    let session = match keeper.connect().await {
        Ok(session) => session,
        Err(error) => {
            let failure = UserError::from(error);
            findings.wrong(format!("zookeeper: {}", failure.message), failure.help);
            return (findings, None);
        }
    };
    let granted = session.timeout();
    timeout(config, granted, &mut findings).await;
    let mut seen = Seen {
        session: NamespaceSession::new(session, SystemClock, Paths::new(&config.namespace)),
        is_initialised: false,
        session_timeout_longest: granted,
    };
    if let Err(error) = namespace(config, &mut seen, &mut findings).await {
        findings.failed(error);
    }
    (findings, Some(seen))
}

/// The lease is two thirds of the session: below three ticks, a server may notice the session's end too late.
async fn timeout(config: &Config, granted: Duration, findings: &mut Findings) {
    let asked = config.zookeeper.session_timeout;
    let connect = &config.zookeeper.connect;
    let (granted_ms, asked_ms) = (granted.as_millis(), asked.as_millis());
    if granted == asked {
        findings.ok(format!(
            "zookeeper: {connect} answers; sessions of {granted_ms} ms are granted"
        ));
    } else {
        findings.warn(
            format!("zookeeper: {connect} answers; of {asked_ms} ms asked for, {granted_ms} ms are granted"),
            format!(
                "set zookeeper.session_timeout_ms = {granted_ms}, or change minSessionTimeout and maxSessionTimeout of \
                 the servers"
            ),
        );
    }
    let Ok(short) = ZooKeeperClient::new(connect, SHORTEST).connect().await else {
        findings.warn(
            "zookeeper: the length of its ticks could not be found out",
            "see that zookeeper.session_timeout_ms is at least three times the servers' tickTime",
        );
        return;
    };
    let tick = short.timeout() / 2;
    short.close().await;
    let tick_ms = tick.as_millis();
    if granted >= tick * 3 {
        findings.ok(format!(
            "zookeeper: sessions last at least three ticks (of about {tick_ms} ms)"
        ));
    } else {
        findings.wrong(
            format!("zookeeper: sessions of {granted_ms} ms are shorter than three ticks (of about {tick_ms} ms)"),
            format!("set zookeeper.session_timeout_ms to {} or more", (tick * 3).as_millis()),
        );
    }
}

async fn namespace(
    config: &Config,
    seen: &mut Seen,
    findings: &mut Findings,
) -> Result<(), stitch_protocol::Error> {
    let session = &seen.session;
    let Some(defined) = definition_node::read(session).await? else {
        let message = format!("namespace: \"{}\" is not initialised", config.namespace);
        findings.warn(message, "run `stitch-processor init`");
        return Ok(());
    };
    seen.is_initialised = true;
    let members = membership::list(session).await?;
    let timeouts = members
        .members
        .iter()
        .map(|member| member.record.session_timeout_ms);
    let longest = Duration::from_millis(timeouts.max().unwrap_or_default());
    seen.session_timeout_longest = seen.session_timeout_longest.max(longest);
    let dead_members: Vec<_> = members
        .dead_members()
        .map(|member| member.id.to_string())
        .collect();
    findings.ok(format!(
        "namespace: {} members are alive",
        members.alive().count()
    ));
    let help = "nothing by itself; a starting processor or the next restoration waits until nothing they sent can take \
                   effect, and a restoration proves the counts";
    if !dead_members.is_empty() {
        let message = format!(
            "namespace: tombstones of dead members: {}",
            dead_members.join(" ")
        );
        findings.warn(message, help);
    }
    let others: Vec<_> = members
        .alive_by_other_definitions(defined.version)
        .map(ToString::to_string)
        .collect();
    if !others.is_empty() {
        let message = format!(
            "namespace: these members count by the definitions from before `init --update`: {}",
            others.join("; ")
        );
        findings.warn(
            message,
            "restart them with the new configuration; no restoration begins before that",
        );
    }
    let bits = defined.record.definitions.range_bits;
    let markers = in_doubt::of_all_ranges(session, bits).await?;
    if !markers.is_empty() {
        let mut ranges: Vec<_> = markers.iter().map(|marker| marker.range).collect();
        ranges.sort_unstable();
        ranges.dedup();
        let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        let message = format!(
            "namespace: marks of unsettled requests in the ranges {}",
            ranges.join(" ")
        );
        findings.warn(message, help);
    }
    Ok(())
}
