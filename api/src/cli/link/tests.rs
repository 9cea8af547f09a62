use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn options(counter: &str, key: &str, until: &str) -> LinkOptions {
    LinkOptions {
        counter: counter.to_owned(),
        key: key.to_owned(),
        until: until.to_owned(),
        origin: Some("https://stats.example/".to_owned()),
    }
}

fn made(file: &str, options: &LinkOptions) -> Result<Link, UserError> {
    made_by(file, options, "127.0.0.1:8080")
}

/// Of a server that listens there.
fn made_by(file: &str, options: &LinkOptions, listen: &str) -> Result<Link, UserError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, file).unwrap();
    let text = include_str!("../../../../deploy/stitch.toml");
    let variable = path.display().to_string();
    let environment = [
        ("STITCH_API__TOKENS_FILE", variable.as_str()),
        ("STITCH_API__LISTEN", listen),
    ];
    let config = Config::parse("stitch.toml", text, &environment.into_iter().collect()).unwrap();
    link(&config, options)
}

#[test]
fn a_link_is_signed_with_the_first_key_and_shows_no_secret() {
    let file = format!("cdn read c{SECRET}\nnew sign n{SECRET}\nold sign {SECRET}\n");
    let link = made(&file, &options("plays", "a b/ä", "2999-12-31")).unwrap();
    assert_eq!(
        (&*link.until, &*link.signing_key),
        ("3000-01-01T00:00:00Z", "new")
    );
    let begin = "https://stats.example/stats/plays/a%20b%2F%C3%A4?signature=new.32503680000.";
    assert!(link.link.starts_with(begin), "{}", link.link);
    let mut text = Vec::new();
    link.text(&mut text).unwrap();
    assert!(!String::from_utf8(text).unwrap().contains(SECRET));
}

#[test]
fn what_cannot_be_linked_is_refused_with_what_to_do() {
    let file = format!("new sign {SECRET}\n");
    for (file, options, message, help) in [
        (
            &*file,
            options("nothing", "a", "2999-01-01"),
            "no counter",
            "plays",
        ),
        (
            &*file,
            options("plays", "", "2999-01-01"),
            "1 to 1024",
            "key",
        ),
        (
            &*file,
            options("plays", "..", "2999-01-01"),
            "browsers",
            "key",
        ),
        (
            &*file,
            options("plays", "a", "2026-01-01"),
            "has passed",
            "2026-12-31",
        ),
        (
            &*file,
            options("plays", "a", "tomorrow"),
            "neither a date",
            "2026-12-31",
        ),
        (
            &*file,
            options("plays", "a", "+2999-1-1"),
            "neither a date",
            "2026-12-31",
        ),
        (
            "cdn read 0123456789abcdef",
            options("plays", "a", "2999-01-01"),
            "no key",
            "sign",
        ),
    ] {
        let error = made(file, &options).unwrap_err();
        assert!(
            error.message.contains(message) && error.help.contains(help),
            "{error}"
        );
    }
}

#[test]
fn a_link_leads_to_an_origin_and_nothing_else_is_taken_for_one() {
    let file = format!("new sign {SECRET}\n");
    let with = |origin: &str| {
        let mut options = options("plays", "a", "2999-01-01");
        options.origin = Some(origin.to_owned());
        made(&file, &options)
    };
    for origin in [
        "https://stats.example",
        "http://localhost:8080",
        "https://192.0.2.7/",
        "http://[::1]:8080",
        "https://my_host.example.:8443",
    ] {
        let begin = format!("{}/stats/plays/a?", origin.trim_end_matches('/'));
        let link = with(origin).unwrap().link;
        assert!(link.starts_with(&begin), "{link}");
    }
    for none in [
        "",
        "stats.example",
        "ftp://stats.example",
        "https://",
        "https:///",
        "https://:8080",
        "https://stats.example:0",
        "https://stats.example:x",
        "https://stats.example:65536",
        "https://stats.example/behind",
        "https://stats.example//",
        "https://stats.example?a=b",
        "https://stats.example#top",
        "https://reader@stats.example",
        "https://reader:secret@stats.example",
        "https://stats.example\\evil.example",
        "https://stats.example,evil.example",
        "https://a b.example",
        "https://b\u{fc}cher.example",
    ] {
        let error = with(none).expect_err(none);
        assert!(error.message.contains("no origin"), "{none}: {error}");
        assert!(error.help.contains("--origin https://"), "{none}: {error}");
    }
}

#[test]
fn without_an_origin_a_link_leads_to_where_the_api_listens_if_that_is_one_address() {
    let file = format!("new sign {SECRET}\n");
    let mut options = options("plays", "a", "2999-01-01");
    options.origin = None;
    for listen in ["127.0.0.1:8080", "[::1]:80"] {
        let link = made_by(&file, &options, listen).unwrap().link;
        assert!(link.starts_with(&format!("http://{listen}/stats/plays/a?")));
    }
    for listen in ["0.0.0.0:8080", "[::]:8080", "127.0.0.1:0"] {
        let error = made_by(&file, &options, listen).expect_err(listen);
        assert!(error.message.contains(&format!("api.listen = {listen}")));
        assert!(error.help.contains("--origin https://"), "{error}");
    }
}

#[test]
fn a_link_ends_after_the_named_day_or_at_the_named_time() {
    let now = 1_800_000_000;
    assert_eq!(end("2027-01-31", now).unwrap(), 1_801_440_000);
    assert_eq!(
        end("2027-02-01T01:00:00+01:00", now).unwrap(),
        1_801_440_000
    );
    assert_eq!(
        end("2027-02-01T00:00:00Z", 1_801_439_999).unwrap(),
        1_801_440_000
    );
    assert!(end("2027-02-01T00:00:00Z", 1_801_440_000).is_err());
}
