//! Tokens with scopes, links, and the listener of operators: who is let in where.

use stitch_access::{AccessTokens, LinkTarget, token_file};

use super::*;

const READ: &str = "read-0123456789abcdef";
const OPERATE: &str = "operate-0123456789abcdef";
const METRICS: &str = "metrics-0123456789abcdef";
const ALL: &str = "all-0123456789abcdef";
const SIGN: &str = "sign-0123456789abcdef0123456789abcdef";
/// 2026-05-03T10:15:30Z.
const NOW_S: i64 = 1_777_803_330;

fn tokens(text: &str) -> AccessTokens {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, text).unwrap();
    token_file::read(&path, AccessTokens::default()).unwrap()
}

/// A server with a token of each kind, and a key for links.
fn server() -> TestServer {
    let server = TestServer::new("");
    let text = format!(
        "reader read {READ}\nops operate {OPERATE}\nscraper metrics {METRICS}\n{ALL}\nlinks sign {SIGN}\n"
    );
    server.access.send_replace(Arc::new(tokens(&text)));
    server
}

async fn status(server: &TestServer, address: &str, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    server
        .get_with(address, &[("authorization", &header)])
        .await
        .status
}

#[tokio::test]
async fn a_token_opens_its_scopes_and_nothing_else() {
    let server = server();
    let by_scope = [
        (
            READ,
            &[
                "/v1/counters",
                "/v1/counters/plays/keys/a",
                "/stats/plays/a",
                "/stats/plays?key=a",
            ][..],
        ),
        (OPERATE, &["/operator", "/operator/status.json"]),
        (METRICS, &["/metrics"]),
    ];
    for (_, addresses) in by_scope {
        for address in addresses {
            for (token, opens) in by_scope {
                let expected = if opens == addresses { 200 } else { 403 };
                assert_eq!(
                    status(&server, address, token).await,
                    expected,
                    "{address} {token}"
                );
            }
            assert_eq!(status(&server, address, ALL).await, 200, "{address}");
            // The key for links is no token.
            for unknown in ["", "no-0123456789abcdef", SIGN] {
                assert_eq!(
                    status(&server, address, unknown).await,
                    401,
                    "{address} {unknown}"
                );
            }
            assert_eq!(server.get(address).await.status, 401, "{address}");
        }
    }
    let header = format!("Bearer {READ}");
    let refused = server
        .get_with("/operator/status.json", &[("authorization", &header)])
        .await;
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(
        detail,
        "the token \"reader\" opens read, and this address needs operate"
    );
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_browser_that_signed_in_opens_what_its_token_opens() {
    let server = server();
    let signed_in = server
        .post("/sign-in?next=/stats/plays/a", format!("token={READ}"))
        .await;
    let cookie = signed_in
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let status = async |address: &str| {
        let headers = [("cookie", cookie.as_str()), ("accept", "text/html")];
        server.get_with(address, &headers).await.status
    };
    assert_eq!(status("/stats/plays/a").await, 200);
    assert_eq!(status("/v1/counters/plays/keys/a/totals").await, 200);
    assert_eq!(status("/operator").await, 403);
    assert_eq!(status("/metrics").await, 403);
    // The key for links lets nobody in.
    let refused = server.post("/sign-in", format!("token={SIGN}")).await;
    assert_eq!((refused.status, refused.header("set-cookie")), (401, ""));
    // A token of no use here beside one that is.
    let both = [
        ("cookie", cookie.as_str()),
        ("authorization", "Bearer operate-0123456789abcdef"),
    ];
    assert_eq!(server.get_with("/stats/plays/a", &both).await.status, 200);
    assert_eq!(server.get_with("/operator", &both).await.status, 200);
}

fn signature(server: &TestServer, counter: &str, key: &str, until_s: i64) -> String {
    let tokens = server.access.borrow().clone();
    let namespace = &server.config.namespace;
    tokens.signing_keys()[0].sign(
        &LinkTarget {
            namespace,
            counter,
            key,
        },
        until_s,
    )
}

#[tokio::test]
async fn a_link_opens_one_key_until_its_end_and_nothing_else() {
    let server = server();
    let signed = signature(&server, "plays", "a/b", NOW_S + 1);
    let page = server
        .get(&format!("/stats/plays/a%2Fb?signature={signed}&fbclid=x"))
        .await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body).unwrap();
    // Nothing on the page leads to what the link does not open.
    assert!(!text.contains("href=\"/stats/"), "{text}");
    assert!(text.contains("2026-05-03T10:15:31Z"), "{text}");
    for address in ["", "/series", "/totals", "/query?select=totals"] {
        let address = format!("/v1/counters/plays/keys/a%2Fb{address}");
        assert_eq!(status(&server, &address, &signed).await, 200, "{address}");
    }
    for address in [
        "/v1/counters/plays/keys/a",
        "/v1/counters/visits/keys/a%2Fb?granularity=day",
        "/v1/counters",
        "/v1/freshness",
        "/v1/counters/plays/counts?key=a%2Fb",
        "/v1/query?counter=plays&key=a%2Fb",
        "/v1/counters/plays/keys/a/query?select=totals",
        "/operator",
        "/metrics",
    ] {
        assert_eq!(status(&server, address, &signed).await, 401, "{address}");
    }
    for address in [
        "/stats/plays/a",
        "/stats/visits/a%2Fb",
        "/stats/plays",
        "/operator",
    ] {
        let address = format!("{address}?signature={signed}");
        assert_eq!(server.get(&address).await.status, 401, "{address}");
    }
    let ended = signature(&server, "plays", "a/b", NOW_S);
    let refused = server
        .get_with(
            &format!("/stats/plays/a%2Fb?signature={ended}"),
            &[("accept", "text/html")],
        )
        .await;
    let text = String::from_utf8(refused.body).unwrap();
    assert!(
        refused.status == 401 && text.contains("this link ended at 2026-05-03T10:15:30Z"),
        "{text}"
    );
    // A key that is gone takes its links with it.
    server.access.send_replace(Arc::new(tokens(ALL)));
    let address = format!("/stats/plays/a%2Fb?signature={signed}");
    assert_eq!(server.get(&address).await.status, 401);
}

#[tokio::test]
async fn a_changed_token_is_in_use_at_once() {
    let server = server();
    assert_eq!(status(&server, "/v1/counters", READ).await, 200);
    server
        .access
        .send_replace(Arc::new(tokens(&format!("ops operate {OPERATE}"))));
    assert_eq!(status(&server, "/v1/counters", READ).await, 401);
}

#[tokio::test]
async fn a_listener_for_operators_takes_their_pages_from_where_counts_are() {
    let counts = ["/v1/counters", "/stats/plays/a"];
    let operators = ["/operator", "/operator/status.json", "/metrics"];
    let both = [
        "/health",
        "/ready",
        "/openapi.json",
        "/assets/stats.css",
        "/",
    ];
    let apart = TestServer::new("STITCH_API__OPERATOR_LISTEN=127.0.0.1:0");
    let together = TestServer::new("");
    for (addresses, by_readers, by_operators) in [
        (&counts[..], 200, 404),
        (&operators, 404, 200),
        (&both, 200, 200),
    ] {
        for address in addresses {
            assert_eq!(apart.get(address).await.status, by_readers, "{address}");
            assert_eq!(
                apart.get_as_operator(address).await.status,
                by_operators,
                "{address}"
            );
            assert_eq!(together.get(address).await.status, 200, "{address}");
        }
    }
}

/// The list of addresses for programs, and the examples of problems.
#[tokio::test]
async fn a_listener_names_only_addresses_that_it_serves() {
    let apart = TestServer::new("STITCH_API__OPERATOR_LISTEN=127.0.0.1:0");
    let together = TestServer::new("");
    let get = async |server: &TestServer, is_operator: bool, address: &str| match is_operator {
        true => server.get_as_operator(address).await,
        false => server.get(address).await,
    };
    for (server, is_operator, named) in
        [(&together, false, 7), (&apart, false, 5), (&apart, true, 5)]
    {
        let index = get(server, is_operator, "/").await;
        let index = String::from_utf8(index.body).unwrap();
        let addresses = index.lines().filter(|line| line.starts_with('/'));
        let addresses: Vec<_> = addresses
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(addresses.len(), named, "{index}");
        for address in addresses {
            let status = get(server, is_operator, address).await.status;
            assert_eq!(status, 200, "{address}");
        }
        let nothing = get(server, is_operator, "/nothing").await;
        assert_eq!(nothing.status, 404);
        let delete = Request::delete("/health").body(Body::empty()).unwrap();
        let not_allowed = match is_operator {
            true => reply(server.operators.clone().oneshot(delete).await.unwrap()).await,
            false => server.send(delete).await,
        };
        assert_eq!(not_allowed.status, 405);
        for problem in [nothing, not_allowed] {
            let problem = problem.json();
            let example = problem["example"].as_str().unwrap();
            let status = get(server, is_operator, example).await.status;
            assert_eq!(status, 200, "{example}");
        }
    }
}
