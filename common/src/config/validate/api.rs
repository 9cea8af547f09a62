//! `[api]`: the server that counts are read from.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use toml::Spanned;

use super::Section;
use crate::config::document::Document;
use crate::config::raw::{self, Given};
use crate::config::{Api, ReadConsistency, TlsFiles, Token};
use crate::user_error::UserError;

/// What HTTP takes for ever.
const YEAR_S: u64 = 365 * 24 * 60 * 60;
const PORT_DEFAULT: u16 = 8080;
/// Shorter ones can be guessed.
const TOKEN_CHARACTERS_MIN: usize = 16;
const TOKEN_CHARACTERS_MAX: usize = 512;

pub(super) fn api(document: &Document<'_>, given: Given<raw::Api>) -> Result<Api, UserError> {
    let (section, raw) = Section::open(document, "api", given);
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_DEFAULT));
    let count = |key, given, default| section.count(key, given, default, 1..=1_000_000);
    let time = |key, given, default, least| section.milliseconds(key, given, default, least);
    let seconds = |key, given, default| {
        let number = section.number(key, given, default, 0..=YEAR_S)?;
        Ok::<_, UserError>(Duration::from_secs(number))
    };
    Ok(Api {
        listen: section.listen(raw.listen, default, "listen = \"127.0.0.1:8080\"")?,
        consistency: consistency(&section, raw.consistency)?,
        request_timeout: time("request_timeout_ms", raw.request_timeout_ms, 5000, 10)?,
        speculative_after: time("speculative_after_ms", raw.speculative_after_ms, 100, 1)?,
        connections_max: count("connections_max", raw.connections_max, 4096)?,
        requests_in_flight_max: count("requests_in_flight_max", raw.requests_in_flight_max, 512)?,
        admission_timeout: time("admission_timeout_ms", raw.admission_timeout_ms, 200, 0)?,
        reads_in_flight_max: count("reads_in_flight_max", raw.reads_in_flight_max, 256)?,
        keys_max: section.count("keys_max", raw.keys_max, 200, 1..=10_000)?,
        points_max: section.count("points_max", raw.points_max, 1000, 1..=10_000)?,
        lagging_after: time("lagging_after_ms", raw.lagging_after_ms, 5000, 100)?,
        open_max_age: seconds("open_max_age_s", raw.open_max_age_s, 1)?,
        closed_max_age: seconds("closed_max_age_s", raw.closed_max_age_s, 3600)?,
        stop_timeout: time("stop_timeout_ms", raw.stop_timeout_ms, 10_000, 1)?,
        cors_origins: list(&section, "cors_origins", raw.cors_origins, origin)?,
        tokens: list(&section, "tokens", raw.tokens, token)?
            .into_iter()
            .map(Token)
            .collect(),
        tls: tls(&section, raw.tls_certificate, raw.tls_key)?,
    })
}

fn consistency(section: &Section<'_>, given: Given<String>) -> Result<ReadConsistency, UserError> {
    let Some(given) = given else {
        return Ok(ReadConsistency::LocalQuorum);
    };
    let name = given.get_ref().to_ascii_uppercase();
    let mut every = ReadConsistency::EVERY.iter();
    let found = every.find(|(_, known)| *known == name);
    found.map(|(level, _)| *level).ok_or_else(|| {
        let known = ReadConsistency::EVERY.map(|(_, name)| name).join(", ");
        let what = format!(" = \"{}\" is no consistency of reads", given.get_ref());
        section.wrong("consistency", &given, &what, format!("use one of {known}"))
    })
}

/// What is wrong with one entry of a list, and the way out.
type Wrong = (&'static str, &'static str);

fn list(
    section: &Section<'_>,
    key: &str,
    given: Given<Vec<Spanned<String>>>,
    valid: fn(&str) -> Result<(), Wrong>,
) -> Result<Vec<String>, UserError> {
    let entries = given.map(Spanned::into_inner).unwrap_or_default();
    let entry = |entry: Spanned<String>| match valid(entry.get_ref()) {
        Ok(()) => Ok(entry.into_inner()),
        Err((what, help)) => Err(section.wrong(key, &entry, what, help)),
    };
    entries.into_iter().map(entry).collect()
}

/// `*`, or what a browser sends as `Origin`: scheme and host, without a path.
fn origin(origin: &str) -> Result<(), Wrong> {
    let named = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .is_some_and(|host| {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
            !host.is_empty() && host.chars().all(plain)
        });
    if origin == "*" || named {
        return Ok(());
    }
    let help = "write it like cors_origins = [\"https://example.org\"], without a path; [\"*\"] lets every page read";
    Err((" has an entry that is no origin", help))
}

/// What may stand behind `Authorization: Bearer`.
fn token(token: &str) -> Result<(), Wrong> {
    let help = "make each of at least 16 letters, digits and -._~+/=, for example by `openssl rand -hex 16`";
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let length = TOKEN_CHARACTERS_MIN..=TOKEN_CHARACTERS_MAX;
    if !length.contains(&token.len()) {
        return Err((" has an entry that is too short or too long", help));
    }
    if !token.chars().all(plain) {
        return Err((" has an entry that cannot be sent in a header", help));
    }
    Ok(())
}

fn tls(
    section: &Section<'_>,
    certificate: Given<String>,
    key: Given<String>,
) -> Result<Option<TlsFiles>, UserError> {
    let (certificate_example, key_example) =
        ("tls_certificate = \"api.crt\"", "tls_key = \"api.key\"");
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            certificate: section
                .text("tls_certificate", certificate, certificate_example)?
                .into(),
            key: section.text("tls_key", key, key_example)?.into(),
        })),
        (Some(_), None) => Err(section.missing("tls_key", key_example)),
        (None, Some(_)) => Err(section.missing("tls_certificate", certificate_example)),
    }
}
