use super::*;

/// What one page may weigh with everything that it loads.
const BYTES_MAX: usize = 150_000;

async fn text(here: &Here, address: &str) -> String {
    let got = here.get(address).await;
    assert_eq!(
        got.status,
        200,
        "{address}: {}",
        String::from_utf8_lossy(&got.body)
    );
    String::from_utf8(got.body).unwrap()
}

/// The values of an attribute that names something to load or to go to.
pub(super) fn named<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let parts = page.split(attribute).skip(1);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_numbers_stand_in_the_page_before_any_script_has_run() {
    let here = Here::new("");
    here.table
        .put("a/b", Granularity::All, "1970-01-01", 1_234_567);
    here.table.put("a/b", Granularity::Day, "2026-05-02", 4321);
    let page = text(&here, "/stats/plays/a%2Fb").await;
    for part in [
        "<h1>a/b</h1>",
        ">1,234,567<",
        "Yesterday",
        ">4,321<",
        "<span id=\"stands\" role=\"status\">live</span>",
        "> · 0 events behind<",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let side_by_side = text(&here, "/stats/plays?key=a/b&key=c").await;
    assert!(side_by_side.contains(">1,234,567<") && side_by_side.contains("/stats/plays/a%2Fb"));
    let visits = text(&here, "/stats/visits/a").await;
    assert!(visits.contains("data-periods=\"day month\"") && visits.contains(">–<"));
    assert!(text(&here, "/stats/plays").await.contains("Name a key"));
}

#[tokio::test]
async fn what_a_key_says_is_text_and_nothing_else() {
    let here = Here::new("");
    let key = "<script>alert('\"')</script>";
    let escaped = crate::query_string::encoded(key);
    for address in [
        format!("/stats/plays/{escaped}"),
        format!("/stats/plays?key={escaped}"),
    ] {
        let page = text(&here, &address).await;
        assert!(
            !page.contains("<script>") && page.contains("&lt;script&gt;"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_page_loads_nothing_from_elsewhere_and_little_from_here() {
    let here = Here::new("");
    let address = "/stats/plays/a";
    let got = here.get(address).await;
    let policy = got.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = text(&here, address).await;
    let mut bytes = page.len();
    let loaded: BTreeSet<&str> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| named(&page, attribute))
        .filter(|address| !address.starts_with("/stats/"))
        .collect();
    assert_eq!(loaded.len(), 5, "{loaded:?}");
    for address in loaded {
        assert!(address.starts_with("/assets/"), "{address}");
        let asset = text(&here, address).await;
        bytes += asset.len();
        for elsewhere in ["fetch(\"http", "url(http", "@import", "//cdn"] {
            assert!(!asset.contains(elsewhere), "{address}: {elsewhere}");
        }
    }
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
    assert!(
        text(&here, "/assets/uplot.LICENSE")
            .await
            .contains("MIT License")
    );
}

#[tokio::test]
async fn a_page_that_cannot_be_shown_says_which_can() {
    let here = Here::new("");
    let many: Vec<_> = (0..9).map(|n| format!("key={n}")).collect();
    for (address, status) in [
        ("/stats/nothing/a".to_owned(), 404),
        ("/stats/plays/a?day=1".to_owned(), 400),
        (format!("/stats/plays?{}", many.join("&")), 400),
        ("/assets/none.js".to_owned(), 404),
    ] {
        let got = here.get(&address).await;
        assert_eq!(got.status, status, "{address}");
        let example = got.json()["example"].as_str().unwrap().to_owned();
        assert_eq!(here.get(&example).await.status, 200, "{example}");
    }
    let guarded = Here::new("STITCH_API__TOKENS=[\"0123456789abcdef\"]");
    assert_eq!(guarded.get("/stats/plays/a").await.status, 401);
}
