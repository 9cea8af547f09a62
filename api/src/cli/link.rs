//! `link`: makes a signed link to the page of one key, which opens until a date. Asks no server.

use std::io::{self, Write};

use chrono::NaiveDate;
use clap::Args;
use serde::Serialize;
use stitch_access::{LinkTarget, token_file_poller};
use stitch_common::cell::Key;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::output::{Exit, Report};
use stitch_common::time::parse_rfc3339;
use stitch_common::user_error::UserError;
use stitch_config::{Config, origin_sent};

use crate::access::{SIGNATURE, time};
use crate::query_string::encoded;

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkOptions {
    /// The counter, as its definition names it
    counter: String,
    /// The key
    key: String,
    /// The last day on which the link opens, in UTC, or the time at which it ends: 2026-12-31, 2026-12-31T18:00:00+01:00
    #[arg(long, value_name = "DATE")]
    until: String,
    /// The origin by which people reach the API, for example stats.example.org with its scheme. By default where it listens, if that
    /// is one address
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
}

/// A link that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Link {
    link: String,
    /// When it ends.
    until: String,
    /// The name of the key that it is signed with.
    signing_key: String,
}

/// Signs the link with the first key of the file of tokens.
pub(super) fn link(config: &Config, options: &LinkOptions) -> Result<Link, UserError> {
    let LinkOptions {
        counter,
        key,
        until,
        origin,
    } = options;
    if config.definitions.counter(counter).is_none() {
        let names: Vec<&str> = config
            .definitions
            .counters
            .iter()
            .map(|counter| &*counter.name.0)
            .collect();
        let message = format!("\"{counter}\" is no counter of the configuration");
        return Err(UserError::new(
            message,
            format!("use one of {}", names.join(", ")),
        ));
    }
    check_key(key)?;
    let origin = origin_of(config, origin.as_deref())?;
    let until_s = end(until, SystemClock.wall().timestamp())?;
    let tokens = token_file_poller::read(&config.api)?;
    let Some(signing_key) = tokens.signing_keys().first() else {
        let help = "add a line to the file that api.tokens_file names: links-1 sign SECRET, with a secret by \
                    `openssl rand -hex 32`; without tokens no link is needed";
        return Err(UserError::new("there is no key that signs links", help));
    };
    let target = LinkTarget {
        namespace: &config.namespace,
        counter,
        key,
    };
    Ok(Link {
        link: format!(
            "{}/stats/{}/{}?{SIGNATURE}={}",
            origin,
            encoded(counter),
            encoded(key),
            signing_key.sign(&target, until_s)
        ),
        until: time(until_s),
        signing_key: signing_key.name().to_owned(),
    })
}

fn origin_of(config: &Config, origin: Option<&str>) -> Result<String, UserError> {
    let Some(origin) = origin else {
        return listen_origin(config);
    };
    plain_origin(origin).ok_or_else(|| {
        let message = format!("--origin {origin} is no origin of the web");
        let help = "write --origin https://stats.example.org: scheme, host, and a port if it has one of its own";
        UserError::new(message, help)
    })
}

/// Where the API listens, if that is an address that leads there.
fn listen_origin(config: &Config) -> Result<String, UserError> {
    let listen = config.api.listen;
    if listen.ip().is_unspecified() || listen.port() == 0 {
        let message = format!("api.listen = {listen} is no address that a link can lead to");
        let help = "write --origin https://stats.example.org, by which people reach the API";
        return Err(UserError::new(message, help));
    }
    let scheme = if config.api.tls.is_some() {
        "https"
    } else {
        "http"
    };
    Ok(format!("{scheme}://{listen}"))
}

/// The origin without a slash at its end; `None` if it is none, or more than one: a link has its own path.
fn plain_origin(origin: &str) -> Option<String> {
    let origin = origin.strip_suffix('/').unwrap_or(origin);
    let (_, rest) = origin.split_once("://")?;
    let is_whole = !rest.contains(['/', '?', '#']);
    is_whole.then(|| origin_sent(origin)).flatten()
}

fn check_key(key: &str) -> Result<(), UserError> {
    let help = "name one key of the counter";
    if !(1..=Key::BYTES_MAX).contains(&key.len()) {
        let message = format!("a key has 1 to {} bytes", Key::BYTES_MAX);
        return Err(UserError::new(message, help));
    }
    // As the last part of a path, browsers resolve these, whether they are encoded or not.
    if matches!(key, "." | "..") {
        let message = format!("\"{key}\" cannot be linked: browsers take it for a folder");
        return Err(UserError::new(message, help));
    }
    Ok(())
}

/// The end that `until` names, in seconds since 1970; after `now_s`.
fn end(until: &str, now_s: i64) -> Result<i64, UserError> {
    let day = until
        .parse::<NaiveDate>()
        .ok()
        .filter(|day| day.to_string() == until)
        .and_then(|day| day.succ_opt()?.and_hms_opt(0, 0, 0))
        .map(|midnight| midnight.and_utc().timestamp());
    let moment = || parse_rfc3339(until).map(|time| time.ms().div_euclid(1000));
    let help = "write --until 2026-12-31, the last day in UTC, or a time with an offset";
    match day.or_else(moment) {
        None => Err(UserError::new(
            format!("--until {until} is neither a date nor a time with an offset"),
            help,
        )),
        Some(end) if end <= now_s => {
            let message = format!("--until {until} has passed: the link would open nothing");
            Err(UserError::new(message, help))
        }
        Some(end) => Ok(end),
    }
}

impl Report for Link {
    fn outcome(&self) -> &'static str {
        "signed"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.link)?;
        writeln!(
            out,
            "opens until {}, for everyone who has it; signed with {}",
            self.until, self.signing_key
        )
    }
}

#[cfg(test)]
mod tests;
