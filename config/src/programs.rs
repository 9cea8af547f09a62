//! The sections of the programs: `[processor]`, `[restorator]`, `[http]` and `[api]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::section::{Given, Section, section};
use crate::tls::TlsFiles;
use crate::{Batch, Kafka, LayerChoice};
use stitch_common::ports::Level;
use stitch_common::secret::Secret;
use stitch_common::user_error::UserError;

section! {
    /// `[processor]`
    pub Processor(kafka: &Kafka) {
        /// Counter batches in flight at once.
        requests_in_flight_max: usize = count("requests_in_flight_max"; 128, 1..=16_384),
        /// Bytes of the events ingested and not acknowledged yet: the window in which they are coalesced.
        window_bytes_max: usize = mebibytes("window_mib_max"; 64),
        /// Counters of which increments are sent in one turn of a range: the work that a clean stop has to finish.
        turn_counters_max: usize = count("turn_counters_max"; 50_000, 1..=100_000_000),
        /// Bytes of one counter batch; the default is below Cassandra's warning at 5 KiB.
        batch_bytes_max: usize = count("batch_bytes_max"; 4096, 1..=1_048_576),
        /// How long a clean stop or a hand-over may take; below Kafka's session timeout. For three quarters of it they
        /// try to apply what they must finish. By default at most half of that session timeout.
        stop_timeout: Duration = stop_timeout("stop_timeout_ms"; 20_000, kafka),
        /// How long a range that yields to a restoration tries to apply what it must finish; the restoration repairs the
        /// rest. By default at most half of `stop_timeout`.
        drain_timeout: Duration = drain_timeout("drain_timeout_ms"; 2000, stop_timeout),
        /// How often the checkpoint is written and committed.
        checkpoint_interval: Duration = milliseconds("checkpoint_interval_ms"; 500, 10),
    }
}

section! {
    /// `[restorator]`
    pub Restorator() {
        /// Bytes of memory for expected totals.
        memory_bytes_max: usize = mebibytes("memory_mib_max"; 1024),
        /// Reads and increments in flight at once.
        requests_in_flight_max: usize = count("requests_in_flight_max"; 64, 1..=16_384),
        /// Ranges that are restored at once.
        ranges_in_flight_max: usize = count("ranges_in_flight_max"; 2, 1..=4096),
        /// How long one range may be waited for or held before it is released unverified, not counting quiescence
        /// barriers.
        range_timeout: Duration = milliseconds("range_timeout_ms"; 60_000, 100),
        /// How long quiescence is awaited.
        quiescence_timeout: Duration = milliseconds("quiescence_timeout_ms"; 300_000, 1000),
        /// An audit has converged when at most this many cells are dirty.
        dirty_cells_target: usize = count("dirty_cells_target"; 1000, 0..=100_000_000),
        /// The consistency of reads: every replica, unless the operator accepts less by `--read-consistency`. It has no
        /// key.
        read_level: Level = every_replica(),
        /// The folder of the journals.
        journal: PathBuf = folder("journal"; "stitch-journal"),
    }
}

section! {
    /// `[http]`
    pub Http() {
        /// Where the processor serves health, readiness and metrics. With port 0 the system chooses.
        listen: SocketAddr = listen("listen"; "127.0.0.1:0", "127.0.0.1:9464"),
    }
}

section! {
    /// `[api]`
    pub Api(batch: &Batch) {
        /// Where counts are served.
        listen: SocketAddr = listen("listen"; "127.0.0.1:8080", "127.0.0.1:8080"),
        /// Where the operator's page and the metrics are served instead, if they are not to be where counts are.
        operator_listen: Option<SocketAddr> = other_listen("operator_listen"; "127.0.0.1:8081", "api.listen", listen),
        /// The consistency of reads.
        consistency: ReadConsistency = one_of(
            "consistency"; ReadConsistency::LocalQuorum, "consistency of reads", &ReadConsistency::EVERY
        ),
        /// Which counts answer a request that does not say.
        layer: LayerChoice = layer("layer"; batch),
        /// How long a request may take in all.
        request_timeout: Duration = milliseconds("request_timeout_ms"; 5000, 10),
        /// After this time a read is sent to another node as well.
        speculative_after: Duration = milliseconds("speculative_after_ms"; 100, 1),
        /// Connections at once.
        connections_max: usize = count("connections_max"; 4096, 1..=1_000_000),
        /// Connections at once from one address, or one IPv6 network of 64 bits.
        connections_per_address_max: usize = count("connections_per_address_max"; 1024, 1..=1_000_000),
        /// Requests in progress at once; a request for many keys counts as up to 32.
        requests_in_flight_max: usize = count("requests_in_flight_max"; 512, 1..=1_000_000),
        /// How long a request waits for a permit before it is refused.
        admission_timeout: Duration = milliseconds("admission_timeout_ms"; 200, 0),
        /// Reads from Cassandra in flight at once.
        reads_in_flight_max: usize = count("reads_in_flight_max"; 256, 1..=1_000_000),
        /// Keys in one request.
        keys_max: usize = count("keys_max"; 200, 1..=10_000),
        /// Points on one page of a time series.
        points_max: usize = count("points_max"; 1000, 1..=10_000),
        /// Counts are reported as lagging if events have waited this long.
        lagging_after: Duration = milliseconds("lagging_after_ms"; 5000, 100),
        /// How long caches may keep counts of buckets that can still grow.
        open_max_age: Duration = seconds("open_max_age_s"; 1),
        /// How long caches may keep counts of past buckets.
        closed_max_age: Duration = seconds("closed_max_age_s"; 3600),
        /// How long caches may then still answer with what they have while they ask for what is new.
        stale_while_revalidate: Duration = seconds("stale_while_revalidate_s"; 5),
        /// How long caches may answer with what they have while the server has only errors.
        stale_if_error: Duration = seconds("stale_if_error_s"; 86_400),
        /// How long a clean stop waits for requests in progress.
        stop_timeout: Duration = milliseconds("stop_timeout_ms"; 10_000, 1),
        /// Origins of pages that may read counts from within a browser.
        cors_origins: Vec<String> = origins("cors_origins"),
        /// Bearer tokens that open everything; without any, here or in the file, reads need none.
        tokens: Vec<Secret> = tokens("tokens"),
        /// The file of further tokens, with names and scopes, and of keys for links. It may change while the API runs.
        tokens_file: Option<PathBuf> = optional_file("tokens_file"; "tokens_file = \"/run/secrets/tokens\""),
        /// Serves HTTPS with these files, otherwise plain HTTP.
        tls: Option<TlsFiles> = tls("tls_certificate", "tls_key"),
    }
}

/// The consistency of reads of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// One replica of the local data centre.
    LocalOne,
    /// A majority of the local data centre's replicas.
    LocalQuorum,
    /// One replica.
    One,
    /// A majority of all replicas.
    Quorum,
    /// Every replica.
    All,
}

impl ReadConsistency {
    /// Every level, with its name.
    pub const EVERY: [(Self, &str); 5] = [
        (Self::LocalOne, "LOCAL_ONE"),
        (Self::LocalQuorum, "LOCAL_QUORUM"),
        (Self::One, "ONE"),
        (Self::Quorum, "QUORUM"),
        (Self::All, "ALL"),
    ];
}

impl Section<'_> {
    /// If a clean stop took as long as Kafka's session, its partitions would be reassigned before its end. The default
    /// follows a shorter session; a configured value that is too long is an error.
    fn stop_timeout(
        &mut self,
        key: &str,
        default_ms: u64,
        kafka: &Kafka,
    ) -> Result<Duration, UserError> {
        let session = kafka.session_timeout();
        let other = format!("Kafka's session timeout of {} ms", session.as_millis());
        let help = "shorten it, or set \"session.timeout.ms\" in [kafka.client] above it";
        self.shorter(key, default_ms, session, &other, help)
    }

    /// Draining must leave time for the rest of a stop.
    fn drain_timeout(
        &mut self,
        key: &str,
        default_ms: u64,
        stop: Duration,
    ) -> Result<Duration, UserError> {
        let other = format!("processor.stop_timeout_ms = {}", stop.as_millis());
        let help = "shorten it, or lengthen processor.stop_timeout_ms";
        self.shorter(key, default_ms, stop, &other, help)
    }

    /// A time in milliseconds below `limit`, which errors call `other`; by default at most half of it.
    fn shorter(
        &mut self,
        key: &str,
        default_ms: u64,
        limit: Duration,
        other: &str,
        help: &str,
    ) -> Result<Duration, UserError> {
        let source = self.entries.get(key).map(|entry| entry.source);
        let half_ms = u64::try_from(limit.as_millis() / 2).unwrap_or(u64::MAX);
        let timeout = self.milliseconds(key, default_ms.min(half_ms.max(1)), 1)?;
        match source {
            Some(source) if timeout >= limit => {
                let what = format!(" = {} is not below {other}", timeout.as_millis());
                Err(self.wrong(key, source, &what, help))
            }
            Some(_) | None => Ok(timeout),
        }
    }

    fn every_replica(&self) -> Result<Level, UserError> {
        Ok(Level::All)
    }

    pub(super) fn folder(&mut self, key: &str, default: &str) -> Result<PathBuf, UserError> {
        self.text_or(key, default).map(PathBuf::from)
    }

    /// An IP address and a port.
    fn listen(&mut self, key: &str, default: &str, example: &str) -> Result<SocketAddr, UserError> {
        let configured = self.optional_listen(key, example)?;
        Ok(match configured {
            Some(address) => address,
            None => default.parse().expect("the default is an address"),
        })
    }

    /// An IP address and a port, if it is configured.
    fn optional_listen(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Option<SocketAddr>, UserError> {
        let Some(Given {
            value: text,
            source,
        }) = self.string(key)?
        else {
            return Ok(None);
        };
        let address = text.parse().map_err(|_| {
            let what = format!(" = \"{text}\" is not an IP address and a port");
            let help =
                format!("write it like {key} = \"{example}\"; port 0 lets the system choose");
            self.wrong(key, source, &what, help)
        })?;
        Ok(Some(address))
    }

    /// As [`Section::optional_listen`], but not where `first` listens already, as `first_key` says.
    fn other_listen(
        &mut self,
        key: &str,
        example: &str,
        first_key: &str,
        first: SocketAddr,
    ) -> Result<Option<SocketAddr>, UserError> {
        let source = self.entries.get(key).map(|entry| entry.source);
        let address = self.optional_listen(key, example)?;
        match (address, source) {
            (Some(address), Some(source)) if collide(first, address) => {
                let what = format!(" = \"{address}\" is in use already: {first_key} is {first}");
                let help =
                    "choose another port, or leave it out, which serves all at the other address";
                Err(self.wrong(key, source, &what, help))
            }
            (address, Some(_) | None) => Ok(address),
        }
    }

    /// Tokens that open everything.
    fn tokens(&mut self, key: &str) -> Result<Vec<Secret>, UserError> {
        let Some(given) = self.strings(key)? else {
            return Ok(Vec::new());
        };
        let token = |entry: Given<'_, String>| match token_problem(&entry.value) {
            Ok(()) => Ok(Secret::new(entry.value)),
            Err((what, help)) => Err(self.wrong(key, entry.source, what, help)),
        };
        given.value.into_iter().map(token).collect()
    }
}

/// Whether one program cannot listen at both: no two have a port of one address, and an unspecified one stands for all of
/// its family.
fn collide(first: SocketAddr, second: SocketAddr) -> bool {
    let is_any = first.ip().is_unspecified() || second.ip().is_unspecified();
    let is_same_host = match is_any {
        true => first.is_ipv4() == second.is_ipv4(),
        false => first.ip() == second.ip(),
    };
    // With port 0 the system chooses a free one.
    is_same_host && first.port() == second.port() && first.port() != 0
}

/// What is wrong with a token, as the rest of a sentence, and the help.
///
/// # Errors
/// It has characters that cannot follow `Authorization: Bearer`, or is so short that it can be guessed.
pub fn token_problem(token: &str) -> Result<(), (&'static str, &'static str)> {
    let help = "make each of at least 16 letters, digits and -._~+/=, for example by `openssl rand -hex 16`";
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if !(16..=512).contains(&token.len()) {
        return Err((" has an entry that is too short or too long", help));
    }
    if !token.chars().all(plain) {
        return Err((" has an entry that cannot be sent in a header", help));
    }
    Ok(())
}
