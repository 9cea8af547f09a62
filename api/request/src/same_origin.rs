//! Keeps pages of other origins from giving commands by the browser of a person who is signed in.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};

use crate::problem::{Kind, Problem};

/// What browsers say of the page that a request comes from.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a request that a page of another origin had a browser send. `by_cookie`: what let it in is sent by a browser of
/// itself, so the request has to say where it comes from.
///
/// # Errors
/// It comes from elsewhere, or does not say.
pub fn check(headers: &HeaderMap, uri: &Uri, by_cookie: bool) -> Result<(), Problem> {
    let header = |name: &str| {
        let value = headers.get(name)?;
        // What cannot be read is no origin that is known.
        Some(value.to_str().unwrap_or_default())
    };
    let site = header(SEC_FETCH_SITE);
    let origin = header(ORIGIN.as_str());
    let is_own = match (site, origin) {
        (Some(site), _) => site == "same-origin",
        // Browsers say nothing of the site to a host that they reach without TLS.
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let host = uri.authority().map(|authority| authority.as_str());
            authority.is_some() && authority == host.or_else(|| header(HOST.as_str()))
        }
        (None, None) => !by_cookie,
    };
    if is_own {
        return Ok(());
    }
    let from = match (site, origin) {
        (Some(site), _) => format!("Sec-Fetch-Site is {site:?}, not \"same-origin\""),
        (None, Some(origin)) => format!("Origin is {origin:?}, which is not this server"),
        (None, None) => {
            "a cookie let it in, and neither Sec-Fetch-Site nor Origin says which page sent it"
                .to_owned()
        }
    };
    Err(Problem::new(Kind::CrossOrigin, from).with_example("/operator"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(by_cookie: bool, pairs: &[(&'static str, &'static str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers = HeaderMap::from_iter(headers);
        check(&headers, &Uri::from_static("/operator/control"), by_cookie).is_ok()
    }

    #[test]
    fn only_pages_of_this_server_pass_and_programs_that_send_a_token() {
        let host = ("host", "stitch.example:8081");
        let own = ("origin", "https://stitch.example:8081");
        let others = [
            ("origin", "https://stitch.example"),
            ("origin", "https://stitch.example:8080"),
            ("origin", "https://stitch.example:8081.example.org"),
            ("origin", "null"),
            ("origin", ""),
        ];
        for by_cookie in [true, false] {
            assert!(passes(by_cookie, &[host, own]));
            for other in others {
                assert!(!passes(by_cookie, &[host, other]), "{other:?}");
                // The browser knows better than a proxy's Host.
                let site = ("sec-fetch-site", "same-origin");
                assert!(passes(by_cookie, &[host, other, site]));
            }
            for site in ["same-site", "cross-site", "none", ""] {
                let site = ("sec-fetch-site", site);
                assert!(!passes(by_cookie, &[host, own, site]), "{site:?}");
            }
        }
        assert!(passes(false, &[host]));
        assert!(!passes(true, &[host]));
    }

    #[test]
    fn the_authority_of_http_2_is_the_host() {
        let headers = HeaderMap::from_iter([(ORIGIN, "https://a:1".parse().unwrap())]);
        let uri = |text: &'static str| Uri::from_static(text);
        assert!(check(&headers, &uri("https://a:1/operator/control"), true).is_ok());
        assert!(check(&headers, &uri("https://b:1/operator/control"), true).is_err());
    }
}
