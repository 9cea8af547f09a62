use super::*;

/// The size of a page with everything that it loads.
const BYTES_MAX: usize = 150_000;

async fn text(server: &TestServer, address: &str) -> String {
    let reply = server.get(address).await;
    assert_eq!(
        reply.status,
        200,
        "{address}: {}",
        String::from_utf8_lossy(&reply.body)
    );
    String::from_utf8(reply.body).unwrap()
}

/// The values of an attribute.
pub(super) fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let parts = page.split(attribute).skip(1);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_page_has_its_numbers_before_any_script_runs() {
    let server = TestServer::new("");
    server
        .table
        .put("a/b", Granularity::All, "1970-01-01", 1_234_567);
    server
        .table
        .put("a/b", Granularity::Day, "2026-05-02", 4321);
    let page = text(&server, "/stats/plays/a%2Fb").await;
    for part in [
        "<h1><bdi>a/b</bdi></h1>",
        ">1,234,567<",
        "Yesterday",
        ">4,321<",
        "<span id=\"state\" role=\"status\">live</span>",
        "> · 0 events behind<",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let side_by_side = text(&server, "/stats/plays?key=a/b&key=c").await;
    assert!(side_by_side.contains(">1,234,567<") && side_by_side.contains("/stats/plays/a%2Fb"));
    let visits = text(&server, "/stats/visits/a").await;
    assert!(visits.contains("data-periods=\"day month\"") && visits.contains(">–<"));
    assert!(text(&server, "/stats/plays").await.contains("Name a key"));
}

#[tokio::test]
async fn keys_are_escaped() {
    let server = TestServer::new("");
    let key = "<script>alert('\"')</script>";
    let escaped = crate::query_string::encoded(key);
    for address in [
        format!("/stats/plays/{escaped}"),
        format!("/stats/plays?key={escaped}"),
    ] {
        let page = text(&server, &address).await;
        assert!(
            !page.contains("<script>") && page.contains("&lt;script&gt;"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_key_that_turns_the_text_turns_nothing_of_the_title_but_itself() {
    let server = TestServer::new("");
    let page = text(&server, "/stats/plays/a%E2%80%AEb").await;
    let title = "<title>\u{2068}a\u{202e}b\u{2069} · plays · Stitch</title>";
    assert!(page.contains(title), "{page}");
}

#[tokio::test]
async fn a_shared_link_opens_whatever_parameters_were_added_to_it() {
    let server = TestServer::new("");
    server.table.put("a", Granularity::All, "1970-01-01", 4321);
    for address in [
        "/stats/plays/a?fbclid=x",
        "/stats/plays/a?utm_source=%ff&",
        "/stats/plays?key=a&utm_campaign=spring&gclid",
    ] {
        let page = text(&server, address).await;
        assert!(page.contains(">4,321<"), "{address}: {page}");
    }
    text(&server, "/operator?fbclid=x").await;
}

#[tokio::test]
async fn keys_that_a_browser_would_resolve_are_linked_as_parameters() {
    let server = TestServer::new("");
    for key in [".", ".."] {
        let address = format!("/stats/plays?key={key}");
        let page = text(&server, &address).await;
        assert!(
            values(&page, "href=\"").contains(&address.as_str()),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_page_is_small_and_loads_nothing_from_other_hosts() {
    let server = TestServer::new("");
    let address = "/stats/plays/a";
    let reply = server.get(address).await;
    let policy = reply.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = text(&server, address).await;
    let mut bytes = page.len();
    let loaded: BTreeSet<&str> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| values(&page, attribute))
        .filter(|address| !address.starts_with("/stats"))
        .collect();
    assert_eq!(loaded.len(), 8, "{loaded:?}");
    for address in loaded {
        assert!(address.starts_with("/assets/"), "{address}");
        let asset = text(&server, address).await;
        bytes += asset.len();
        for loads in ["fetch(\"http", "url(http", "@import", "//cdn"] {
            assert!(!asset.contains(loads), "{address}: {loads}");
        }
    }
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
    assert!(
        text(&server, "/assets/uplot.LICENSE")
            .await
            .contains("MIT License")
    );
}

#[tokio::test]
async fn a_page_that_cannot_be_shown_names_one_that_can() {
    let server = TestServer::new("");
    let many: Vec<_> = (0..9).map(|n| format!("key={n}")).collect();
    for (address, status) in [
        ("/stats/nothing/a".to_owned(), 404),
        ("/stats/plays/%ff".to_owned(), 400),
        (format!("/stats/plays?{}", many.join("&")), 400),
        ("/assets/none.js".to_owned(), 404),
        ("/stat".to_owned(), 404),
    ] {
        let reply = server.get(&address).await;
        assert_eq!(reply.status, status, "{address}");
        let problem = reply.json();
        let example = problem["example"].as_str().unwrap();
        assert_eq!(server.get(example).await.status, 200, "{example}");
        let shown = server.get_with(&address, BROWSER).await;
        assert_eq!(shown.status, status, "{address}");
        let page = assert_page(&shown);
        let example = example.replace('&', "&amp;");
        assert!(
            values(page, "href=\"").contains(&example.as_str()),
            "{page}"
        );
        let detail = problem["detail"].as_str().unwrap().replace('"', "&quot;");
        assert!(page.contains(&detail), "{detail}: {page}");
    }
}

/// What a browser sends when a person opens an address.
const BROWSER: &[(&str, &str)] = &[(
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
)];

fn assert_page(reply: &Reply) -> &str {
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let policy = reply.header("content-security-policy");
    assert!(policy.contains("form-action 'self'"), "{policy}");
    std::str::from_utf8(&reply.body).unwrap()
}

#[tokio::test]
async fn a_program_gets_problems_as_json_whatever_it_accepts() {
    let server = TestServer::new("");
    let reply = server.get_with("/v1/counters?page=2", BROWSER).await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
}

#[tokio::test(start_paused = true)]
async fn an_overload_is_shown_as_a_page_that_says_when_to_retry() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    server.table.delayed.send_replace(true);
    let mut one = Box::pin(server.get("/v1/counters/plays/keys/a"));
    assert!(futures_util::poll!(&mut one).is_pending());
    let reply = server.get_with("/stats/plays/a", BROWSER).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert!(assert_page(&reply).contains("Too many requests"));
}

const TOKENS: &str = "STITCH_API__TOKENS=[\"0123456789abcdef\",\"a+b=c/d~e.f_g-h12\"]";

/// Sends the form of the page `reply` with `token`.
async fn sign_in(server: &TestServer, reply: &Reply, token: &str) -> Reply {
    let page = assert_page(reply).to_owned();
    let action = values(&page, "action=\"")[0].replace("&amp;", "&");
    let form = format!("token={}", crate::query_string::encoded(token));
    server.post(&action, form).await
}

#[tokio::test]
async fn a_person_with_a_token_can_open_a_page() {
    let server = TestServer::new(TOKENS);
    server
        .table
        .put("a b", Granularity::All, "1970-01-01", 4321);
    let address = "/stats/plays?key=a%20b&fbclid=x";
    let refused = server.get_with(address, BROWSER).await;
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, "Bearer")
    );
    assert_eq!(server.get(address).await.json()["status"], 401);
    let rejected = sign_in(&server, &refused, "0123456789abcdeX").await;
    assert_eq!((rejected.status, rejected.header("set-cookie")), (401, ""));
    for token in ["0123456789abcdef", "a+b=c/d~e.f_g-h12"] {
        let accepted = sign_in(&server, &rejected, token).await;
        assert_eq!(
            (accepted.status, accepted.header("location")),
            (303, address)
        );
        let cookie = accepted.header("set-cookie");
        assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
        let cookie = format!("theme=dark; {}", cookie.split(';').next().unwrap());
        let with_cookie = async |address: &str| {
            server
                .get_with(address, &[("cookie", cookie.as_str())])
                .await
        };
        let opened = with_cookie(address).await;
        assert!(assert_page(&opened).contains(">4,321<"));
        // What the script of the page reads.
        assert_eq!(
            with_cookie("/v1/counters/plays/keys/a/totals").await.status,
            200
        );
        assert_eq!(with_cookie("/operator").await.status, 200);
    }
    let forged = [("cookie", "stitch-token=0123456789abcdeX")];
    assert_eq!(server.get_with(address, &forged).await.status, 401);
}

#[tokio::test]
async fn signing_in_leads_to_no_other_host() {
    let server = TestServer::new(TOKENS);
    for next in [
        "//evil.example/",
        "https://evil.example/",
        "/%5Cevil.example",
        "%2F%2Fevil.example",
        "/a%0D%0ASet-Cookie:%20x=y",
        "",
    ] {
        let address = format!("/sign-in?next={next}");
        let form = server.get_with(&address, BROWSER).await;
        let reply = sign_in(&server, &form, "0123456789abcdef").await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (303, "/"),
            "{next}"
        );
    }
}
