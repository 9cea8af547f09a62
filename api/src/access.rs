//! Decides who may have what: by a bearer token, by the cookie that a browser got for one, or by a signed link.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use chrono::{DateTime, SecondsFormat};
use percent_encoding::percent_decode_str;
use stitch_access::{AccessScope, AccessToken, AccessTokens, LinkError, LinkTarget, SignedLink};

use crate::problem::{Kind, Problem};
use crate::query_string::Query;

/// The cookie that [`crate::web`] gives to a browser that signs in: a token, percent-encoded.
pub(crate) const COOKIE_NAME: &str = "stitch-token";
/// Where a person signs in.
pub(crate) const SIGN_IN: &str = "/sign-in";
/// The parameter of a page that has the signature of its link.
pub(crate) const SIGNATURE: &str = "signature";

/// By what a request was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// The server is open.
    Open,
    /// A token has the scope.
    Token(TokenGrant),
    /// A link to one key, which ends at this second since 1970.
    Link { until_s: i64 },
}

/// The token that let a request in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenGrant {
    pub(crate) name: String,
    /// A browser sends cookies of itself, whatever page has it send a request.
    pub(crate) by_cookie: bool,
}

/// What a request needs to be let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    pub(crate) scope: AccessScope,
    /// The key that it is about, if it is about one alone: a link to it is enough.
    pub(crate) key: Option<LinkTarget<'a>>,
}

/// Lets a request in, or says what is missing.
pub(crate) fn authorize(
    tokens: &AccessTokens,
    headers: &HeaderMap,
    query: Option<&str>,
    need: Need<'_>,
    now_s: i64,
) -> Result<Grant, Problem> {
    if tokens.are_open() {
        return Ok(Grant::Open);
    }
    let bearer = bearer(headers);
    let mut known: Option<&AccessToken> = None;
    let sent = bearer.map(|token| (false, token.as_bytes().to_vec()));
    let cookies = cookies(headers).map(|token| (true, token));
    for (by_cookie, token) in sent.into_iter().chain(cookies) {
        let found = tokens.find(&token);
        if let Some(token) = found.filter(|token| token.scopes.has(need.scope)) {
            let name = token.name.clone();
            return Ok(Grant::Token(TokenGrant { name, by_cookie }));
        }
        known = known.or(found);
    }
    let signature = signature(query).or_else(|| bearer.map(str::to_owned));
    let mut ended = None;
    if let (Some(signature), Some(target)) = (signature, need.key) {
        match SignedLink::verify(&signature, &target, now_s, tokens.signing_keys()) {
            Ok(SignedLink { until_s }) => return Ok(Grant::Link { until_s }),
            Err(LinkError::Ended(until_s)) => ended = Some(until_s),
            Err(LinkError::Unknown) => {}
        }
    }
    Err(refusal(known, ended, need.scope))
}

fn refusal(known: Option<&AccessToken>, ended: Option<i64>, scope: AccessScope) -> Problem {
    if let Some(token) = known {
        let (name, scopes, scope) = (&token.name, token.scopes, scope.name());
        let detail = format!("the token \"{name}\" opens {scopes}, and this address needs {scope}");
        return Problem::new(Kind::Forbidden, detail).with_example(SIGN_IN);
    }
    let detail = match ended {
        Some(until_s) => format!(
            "this link ended at {}: ask for another where it came from",
            time(until_s)
        ),
        None => "neither the header Authorization nor a cookie has one of this server's tokens, and no link opens this"
            .to_owned(),
    };
    Problem::new(Kind::Unauthorized, detail).with_example(SIGN_IN)
}

/// A second since 1970 for people, in UTC.
pub(crate) fn time(second: i64) -> String {
    let time = DateTime::from_timestamp(second, 0).unwrap_or(DateTime::UNIX_EPOCH);
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Vec<u8>> {
    let cookies = headers.get_all(COOKIE).into_iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, token)| percent_decode_str(token).collect())
}

fn signature(query: Option<&str>) -> Option<String> {
    let query = Query::parse_for_page(query, SIGNATURE, String::new()).ok()?;
    query.get(SIGNATURE).map(str::to_owned)
}
