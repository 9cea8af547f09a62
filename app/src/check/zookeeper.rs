//! Checks ZooKeeper: reachability, session timeout, and the state of the namespace.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Findings, Needs, security};
use stitch_common::address::Address;
use stitch_common::clock::SystemClock;
use stitch_common::ports::{Session, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_protocol::path::Paths;
use stitch_protocol::{NamespaceSession, definition_node, in_doubt, membership};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

/// The timeout requested to learn the shortest that is granted: two ticks, by the server's default.
const SHORTEST: Duration = Duration::from_millis(500);

/// The session that other checks use, and what they need to know of the namespace.
pub(super) struct CheckSession {
    pub(super) session: NamespaceSession<ZooKeeperSession, SystemClock>,
    pub(super) is_initialised: bool,
    pub(super) longest_timeout: Duration,
}

impl CheckSession {
    pub(super) async fn close(self) {
        self.session.close().await;
    }
}

pub(super) async fn check(config: &Config, needs: Needs) -> (Findings, Option<CheckSession>) {
    let mut findings = Findings::default();
    let client = ZooKeeperClient::of(&config.zookeeper);
    let session = match client.connect().await {
        Ok(session) => session,
        Err(error) => {
            let failure = UserError::from(error);
            findings.wrong(format!("zookeeper: {}", failure.message), failure.help);
            return (findings, None);
        }
    };
    let granted = session.timeout();
    timeout(config, granted, &mut findings).await;
    each_server(config, granted, &mut findings).await;
    if let Err(error) = security::zookeeper(config, &session, &mut findings).await {
        findings.failed(error);
    }
    let mut checked = CheckSession {
        session: NamespaceSession::new(
            session,
            SystemClock,
            Paths::below(&config.zookeeper.root, &config.namespace),
        ),
        is_initialised: false,
        longest_timeout: granted,
    };
    if let Err(error) = namespace(config, &mut checked, &mut findings).await {
        findings.failed(error);
    }
    if checked.is_initialised {
        let session = checked.session.zookeeper();
        if let Err(error) = security::access(config, session, needs, &mut findings).await {
            findings.failed(error);
        }
    }
    (findings, Some(checked))
}

/// The lease is two thirds of the session: below three ticks, a server may expire the session too late.
async fn timeout(config: &Config, granted: Duration, findings: &mut Findings) {
    let requested = config.zookeeper.session_timeout;
    let connect = &config.zookeeper.connect;
    let (granted_ms, requested_ms) = (granted.as_millis(), requested.as_millis());
    if granted == requested {
        findings.ok(format!(
            "zookeeper: {connect} answers; sessions of {granted_ms} ms are granted"
        ));
    } else {
        findings.warn(
            format!("zookeeper: {connect} answers; sessions of {requested_ms} ms are requested, {granted_ms} ms are granted"),
            format!(
                "set zookeeper.session_timeout_ms = {granted_ms}, or change minSessionTimeout and maxSessionTimeout of \
                 the servers"
            ),
        );
    }
    let Ok(short) = ZooKeeperClient::of(&config.zookeeper)
        .with_session_timeout(SHORTEST)
        .connect()
        .await
    else {
        findings.warn(
            "zookeeper: its tick time is unknown",
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

/// Whether every server grants the same. A session moves from one server to another, which negotiates again; the client
/// asks for what was granted before, and does not say what it gets.
async fn each_server(config: &Config, granted: Duration, findings: &mut Findings) {
    let servers: Vec<&Address> = config.zookeeper.connect.servers.iter().collect();
    if servers.len() < 2 {
        return;
    }
    let sessions = servers.iter().map(async |server| {
        let client = ZooKeeperClient::of(&config.zookeeper).with_servers((*server).clone().into());
        let session = client.connect().await.ok()?;
        let timeout = session.timeout();
        session.close().await;
        Some(timeout)
    });
    let grants = join_all(sessions).await;
    for (server, grant) in servers.into_iter().zip(grants) {
        server_grants(server, grant, granted, findings);
    }
}

fn server_grants(
    server: &Address,
    grant: Option<Duration>,
    granted: Duration,
    findings: &mut Findings,
) {
    match grant {
        Some(grant) if grant == granted => {}
        Some(grant) => findings.wrong(
            format!(
                "zookeeper: {server} grants sessions of {} ms, and others {} ms: a session that moves to it lasts \
                 another time than its member assumes",
                grant.as_millis(),
                granted.as_millis()
            ),
            "set tickTime, minSessionTimeout and maxSessionTimeout alike on every server, then restart every member",
        ),
        None => findings.warn(
            format!("zookeeper: {server} opens no session"),
            "see whether it is up, and whether zookeeper.connect names it",
        ),
    }
}

async fn namespace(
    config: &Config,
    checked: &mut CheckSession,
    findings: &mut Findings,
) -> Result<(), stitch_protocol::Error> {
    let session = &checked.session;
    let Some(defined) = definition_node::read(session).await? else {
        let message = format!("namespace: \"{}\" is not initialised", config.namespace);
        findings.warn(message, "run `stitch-processor init`");
        return Ok(());
    };
    checked.is_initialised = true;
    let members = membership::list(session).await?;
    let timeouts = members
        .members
        .iter()
        .map(|member| member.record.session_timeout_ms);
    let longest = Duration::from_millis(timeouts.max().unwrap_or_default());
    checked.longest_timeout = checked.longest_timeout.max(longest);
    let dead_members: Vec<_> = members
        .dead_members()
        .map(|member| member.id.to_string())
        .collect();
    findings.ok(format!(
        "namespace: {} members are alive",
        members.alive().count()
    ));
    let help = "nothing; a starting processor or the next restoration waits until nothing they sent can take effect, and \
                a restoration verifies the counts";
    if !dead_members.is_empty() {
        let message = format!("namespace: dead members: {}", dead_members.join(" "));
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
    let markers = in_doubt::list_all(session, bits).await?;
    if !markers.is_empty() {
        let mut ranges: Vec<_> = markers.iter().map(|marker| marker.range).collect();
        ranges.sort_unstable();
        ranges.dedup();
        let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        let message = format!(
            "namespace: requests are in doubt in the ranges {}",
            ranges.join(" ")
        );
        findings.warn(message, help);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_server_that_grants_another_session_timeout_is_named() {
        let server: Address = "z2:2181".parse().unwrap();
        let seconds = Duration::from_secs;
        for (grant, verdict) in [
            (Some(seconds(10)), None),
            (Some(seconds(4)), Some(Verdict::Wrong)),
            (Some(seconds(40)), Some(Verdict::Wrong)),
            (None, Some(Verdict::Warn)),
        ] {
            let mut findings = Findings::default();
            server_grants(&server, grant, seconds(10), &mut findings);
            let found = findings.findings.pop();
            assert!(found.iter().all(|found| found.message.contains("z2:2181")));
            assert_eq!(found.map(|found| found.verdict), verdict, "{grant:?}");
        }
    }
}
