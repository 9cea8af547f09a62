//! From the file as it is to the configuration as the programs use it. The defaults stand here.

mod api;
mod counting;
mod limits;
mod servers;

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::Config;
use super::document::Document;
use super::raw::{Given, Raw};
use crate::user_error::UserError;

/// The longest wait that can be configured: what is longer is a mistake in the unit.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) fn config(document: &Document<'_>, raw: Raw) -> Result<Config, UserError> {
    let root = Section {
        document,
        name: "",
        span: None,
    };
    let kafka = servers::kafka(document, raw.kafka)?;
    Ok(Config {
        namespace: namespace(&root, raw.namespace)?,
        zookeeper: servers::zookeeper(document, raw.zookeeper)?,
        cassandra: servers::cassandra(document, raw.cassandra)?,
        definitions: counting::definitions(&root, raw.ranges, raw.event, raw.counter)?,
        processor: limits::processor(document, raw.processor, &kafka)?,
        restorator: limits::restorator(document, raw.restorator)?,
        http: limits::http(document, raw.http)?,
        api: api::api(document, raw.api)?,
        kafka,
    })
}

fn namespace(root: &Section<'_>, given: Given<String>) -> Result<String, UserError> {
    let name = root.required("namespace", given, "namespace = \"plays\"")?;
    let plain = !name
        .get_ref()
        .contains(|c: char| c == '/' || c.is_control());
    if plain && !matches!(name.get_ref().trim(), "" | "." | "..") && name.get_ref().len() <= 200 {
        return Ok(name.into_inner());
    }
    let what = " cannot be the name of a ZooKeeper node";
    let help = "give it a short name without slash, for example namespace = \"plays\"";
    Err(root.wrong("namespace", &name, what, help))
}

/// A section of the file, for errors that name its keys.
struct Section<'a> {
    document: &'a Document<'a>,
    name: &'static str,
    span: Option<Range<usize>>,
}

impl<'a> Section<'a> {
    /// The section `name` and what is in it; an empty one, if the file has none.
    fn open<T: Default>(
        document: &'a Document<'a>,
        name: &'static str,
        given: Given<T>,
    ) -> (Self, T) {
        let span = given.as_ref().map(Spanned::span);
        let section = Self {
            document,
            name,
            span,
        };
        (section, given.map(Spanned::into_inner).unwrap_or_default())
    }

    fn key(&self, key: &str) -> String {
        match self.name {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    /// An error about the value of `key`; `what` goes on where the key ends.
    fn wrong<T>(
        &self,
        key: &str,
        value: &Spanned<T>,
        what: &str,
        help: impl Into<String>,
    ) -> UserError {
        let span = Some(value.span());
        self.document.wrong(span, &self.key(key), what, help)
    }

    /// An error about a key that is not there.
    fn missing(&self, key: &str, example: &str) -> UserError {
        let help = match self.name {
            "" => format!("add {example}"),
            name => format!("add {example} to [{name}]"),
        };
        let span = self.span.clone();
        self.document
            .wrong(span, &self.key(key), " is missing", help)
    }

    fn required<T>(
        &self,
        key: &str,
        given: Given<T>,
        example: &str,
    ) -> Result<Spanned<T>, UserError> {
        given.ok_or_else(|| self.missing(key, example))
    }

    /// A text that is not empty.
    fn text(&self, key: &str, given: Spanned<String>, example: &str) -> Result<String, UserError> {
        if given.get_ref().trim().is_empty() {
            let help = format!("write {example}");
            return Err(self.wrong(key, &given, " is empty", help));
        }
        Ok(given.into_inner())
    }

    /// A text that is not empty, or none at all.
    fn optional_text(
        &self,
        key: &str,
        given: Given<String>,
        example: &str,
    ) -> Result<Option<String>, UserError> {
        given
            .map(|given| self.text(key, given, example))
            .transpose()
    }

    /// An IP address and a port.
    fn listen(
        &self,
        given: Given<String>,
        default: SocketAddr,
        example: &str,
    ) -> Result<SocketAddr, UserError> {
        let Some(listen) = given else {
            return Ok(default);
        };
        listen.get_ref().parse().map_err(|_| {
            let what = format!(
                " = \"{}\" is not an IP address and a port",
                listen.get_ref()
            );
            let help = format!("write it like {example}; port 0 lets the system choose");
            self.wrong("listen", &listen, &what, help)
        })
    }

    fn number(
        &self,
        key: &str,
        given: Given<u64>,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<u64, UserError> {
        let Some(given) = given else {
            return Ok(default);
        };
        let number = *given.get_ref();
        if allowed.contains(&number) {
            return Ok(number);
        }
        let (least, most) = allowed.into_inner();
        let what = format!(" = {number} is not within {least} and {most}");
        let help = format!("the default is {default}");
        Err(self.wrong(key, &given, &what, help))
    }

    fn count(
        &self,
        key: &str,
        given: Given<u64>,
        default: u32,
        allowed: RangeInclusive<u32>,
    ) -> Result<usize, UserError> {
        let (least, most) = allowed.into_inner();
        let allowed = u64::from(least)..=u64::from(most);
        let number = self.number(key, given, u64::from(default), allowed)?;
        Ok(usize::try_from(number).expect("at most 32 bits are allowed"))
    }

    fn milliseconds(
        &self,
        key: &str,
        given: Given<u64>,
        default: u64,
        least: u64,
    ) -> Result<Duration, UserError> {
        let number = self.number(key, given, default, least..=DAY_MS)?;
        Ok(Duration::from_millis(number))
    }

    /// A size in MiB, as bytes.
    fn mebibytes(&self, key: &str, given: Given<u64>, default: u32) -> Result<usize, UserError> {
        Ok(self.count(key, given, default, 1..=1 << 20)? << 20)
    }
}
