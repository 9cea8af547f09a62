use stitch_config::Environment;

use super::*;
use crate::check::Verdict;

const LEAST: &str = include_str!("../../../../deploy/stitch.toml");

/// The annotated example with these lines in these sections.
fn config(changes: &[(&str, &str)]) -> Config {
    let mut text = LEAST.to_owned();
    for (section, lines) in changes {
        let heading = format!("\n[{section}]\n");
        text = match text.contains(&heading) {
            true => text.replace(&heading, &format!("{heading}{lines}\n")),
            false => format!("{text}{heading}{lines}\n"),
        };
    }
    Config::parse("stitch.toml", &text, &Environment::default()).unwrap()
}

const IDENTITY: (&str, &str) = (
    "zookeeper",
    "auth = \"digest\"\nuser = \"stitch\"\npassword = \"CANARY\"",
);
const LOGIN: (&str, &str) = ("cassandra", "user = \"stitch\"\npassword = \"CANARY\"");

/// The one finding, as verdict and message. It never has a secret.
fn one(findings: Findings) -> (Verdict, String) {
    assert_eq!(findings.findings.len(), 1);
    let finding = findings.findings.into_iter().next().unwrap();
    assert!(!format!("{finding:?}").contains("CANARY"));
    assert_eq!(finding.help.is_some(), finding.verdict != Verdict::Ok);
    (finding.verdict, finding.message)
}

#[test]
fn who_may_change_the_nodes_is_named() {
    let nodes = |access: &[Access]| -> Vec<(String, Access)> {
        let named = access.iter().enumerate();
        named
            .map(|(at, access)| (format!("/s/n/{at}"), access.clone()))
            .collect()
    };
    let fleet = Access::Others(vec!["digest:fleet".to_owned()]);
    let cases = [
        (
            Some(IDENTITY),
            vec![Access::Ours],
            Needs::Counting,
            Verdict::Ok,
            "only \"stitch\" may change the 1 nodes",
        ),
        (
            Some(IDENTITY),
            vec![Access::Ours, Access::Anyone],
            Needs::Counting,
            Verdict::Warn,
            "may change 1 nodes of the namespace, such as /s/n/1",
        ),
        (
            Some(IDENTITY),
            vec![Access::Ours, fleet.clone()],
            Needs::Counting,
            Verdict::Wrong,
            "only digest:fleet may change",
        ),
        (
            None,
            vec![Access::Anyone],
            Needs::Counting,
            Verdict::Ok,
            "everyone who reaches the servers",
        ),
        (
            None,
            vec![fleet.clone()],
            Needs::Counting,
            Verdict::Wrong,
            "not known as that",
        ),
        (
            None,
            vec![fleet],
            Needs::Reading,
            Verdict::Ok,
            "only digest:fleet may change them",
        ),
    ];
    for (identity, access, needs, verdict, words) in cases {
        let config = config(&identity.into_iter().collect::<Vec<_>>());
        let mut findings = Findings::default();
        who(&config, &nodes(&access), needs, &mut findings);
        let (found, message) = one(findings);
        assert_eq!(found, verdict, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_password_that_crosses_the_network_in_clear_is_a_warning() {
    type Changes = &'static [(&'static str, &'static str)];
    let cases: [(Changes, Verdict, &str); 4] = [
        (&[], Verdict::Ok, "not encrypted; without a user"),
        (&[LOGIN], Verdict::Warn, "as the role \"stitch\""),
        (
            &[LOGIN, ("cassandra.tls", "ca = \"ca.pem\"")],
            Verdict::Ok,
            "must name the nodes' addresses",
        ),
        (
            &[("cassandra.tls", "ca = \"ca.pem\"\nverify = \"chain\"")],
            Verdict::Ok,
            "passes for any node",
        ),
    ];
    for (changes, verdict, words) in cases {
        let mut findings = Findings::default();
        cassandra(&config(changes).cassandra, "cassandra", &mut findings);
        let (found, message) = one(findings);
        assert_eq!(found, verdict, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn kafkas_protocol_and_user_are_those_of_its_properties() {
    let scram = "\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\"sasl.username\" = \"me\"\n\"sasl.password\" = \"CANARY\"";
    for (lines, verdict, words) in [
        (
            String::new(),
            Verdict::Ok,
            "not encrypted (PLAINTEXT); known as no user",
        ),
        (
            format!("\"security.protocol\" = \"sasl_ssl\"\n{scram}"),
            Verdict::Ok,
            "encrypted (SASL_SSL); known as \"me\" by SCRAM-SHA-512",
        ),
        (
            format!("\"security.protocol\" = \"SASL_PLAINTEXT\"\n{scram}"),
            Verdict::Warn,
            "not encrypted",
        ),
        (
            "\"security.protocol\" = \"ssl\"\n\"ssl.certificate.location\" = \"c.pem\"".to_owned(),
            Verdict::Ok,
            "by the certificate c.pem",
        ),
        (
            "\"security.protocol\" = \"ssl\"\n\"enable.ssl.certificate.verification\" = false"
                .to_owned(),
            Verdict::Warn,
            "anyone may pass for a broker",
        ),
        // Kafka's client takes these for false, too.
        (
            "\"security.protocol\" = \"ssl\"\n\"enable.ssl.certificate.verification\" = \"F\""
                .to_owned(),
            Verdict::Warn,
            "anyone may pass for a broker",
        ),
        (
            "\"security.protocol\" = \"ssl\"\n\"enable.ssl.certificate.verification\" = 0"
                .to_owned(),
            Verdict::Warn,
            "anyone may pass for a broker",
        ),
        (
            "\"security.protocol\" = \"ssl\"\n\"ssl.endpoint.identification.algorithm\" = \"None\""
                .to_owned(),
            Verdict::Warn,
            "passes for any broker",
        ),
    ] {
        let mut findings = Findings::default();
        kafka(&config(&[("kafka.client", &lines)]), &mut findings);
        let (found, message) = one(findings);
        assert_eq!(found, verdict, "{message}");
        assert!(message.contains(words), "{message}");
    }
}
