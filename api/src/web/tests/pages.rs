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
        "<h1>a/b</h1>",
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
        .filter(|address| !address.starts_with("/stats/"))
        .collect();
    assert_eq!(loaded.len(), 5, "{loaded:?}");
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
        ("/stats/plays/a?day=1".to_owned(), 400),
        (format!("/stats/plays?{}", many.join("&")), 400),
        ("/assets/none.js".to_owned(), 404),
    ] {
        let reply = server.get(&address).await;
        assert_eq!(reply.status, status, "{address}");
        let example = reply.json()["example"].as_str().unwrap().to_owned();
        assert_eq!(server.get(&example).await.status, 200, "{example}");
    }
    let protected = TestServer::new("STITCH_API__TOKENS=[\"0123456789abcdef\"]");
    assert_eq!(protected.get("/stats/plays/a").await.status, 401);
}
