//! What viewers of a page cost the server that keeps them up to date: each of them asks again and again, as the pages do, and
//! has 304 unless something has changed; or each has one connection on which the server sends what has changed
//! (server-sent events). Nothing of this is in the product
//! ([decision 0030](../../../docs/decisions/0030-pages-poll.md)).
//!
//!     cargo bench -p stitch-api-request --bench server_sent_events -- VIEWERS SECONDS
//!
//! Time is ten times as fast as at the pages, whose polls are 2 s apart: a request or an event costs the same. One thread
//! serves, another one has the viewers; it is the CPU time of the first that is printed, for each update that has reached
//! a viewer, and as the share of a core that a thousand viewers take at the pages' pace. Reading the counts is left out: it
//! costs the same wherever it is done, and a cache answers most polls of one page without it.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep};

/// How much faster time is than at the pages.
const SPEED: u32 = 10;
/// The pages' poll interval.
const POLL: Duration = Duration::from_secs(2);
/// How often the counts of a page change: at each poll, now and then, seldom.
const CHANGES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
];
/// So long is the JSON of a month of days with totals.
const BODY_BYTES: usize = 2000;

type AnyError = Box<dyn Error + Send + Sync>;

/// The version of the counts; what is sent follows from it.
type Versions = watch::Receiver<u64>;

/// How viewers are kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Polls,
    Events,
}

/// What one run has cost.
struct Measured {
    cpu: Duration,
    took: Duration,
    updates: u64,
    requests: u64,
}

fn main() -> Result<(), AnyError> {
    let numbers = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok());
    let numbers: Vec<u32> = numbers.collect();
    let viewers = numbers.first().copied().unwrap_or(200);
    let seconds = numbers.get(1).copied().unwrap_or(12);
    let time = Duration::from_secs(seconds.into());
    let mut out = io::stdout();
    writeln!(
        out,
        "{viewers} viewers of one page, {seconds} s each; CPU of the server\n\n\
         | counts change every | way | updates | µs for each update | µs a viewer and second | a core by 1,000 viewers |\n\
         |---|---|---|---|---|---|"
    )?;
    for change in CHANGES {
        for way in [Way::Polls, Way::Events] {
            let measured = measure(way, change, viewers, time)?;
            writeln!(out, "{}", measured.row(way, change, viewers))?;
        }
    }
    Ok(())
}

impl Measured {
    fn row(&self, way: Way, change: Duration, viewers: u32) -> String {
        let Self {
            cpu,
            took,
            updates,
            requests,
        } = self;
        let (what, number) = match way {
            Way::Polls => ("polls", format!(" of {requests} polls")),
            Way::Events => ("events", String::new()),
        };
        let cpu_us = cpu.as_secs_f64() * 1e6;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let each = cpu_us / (*updates).max(1) as f64;
        // At the pages' pace.
        let pace = took.as_secs_f64() * f64::from(SPEED) * f64::from(viewers);
        let of_viewer = cpu_us / pace;
        format!(
            "| {} s | {what} | {updates}{number} | {each:.0} | {of_viewer:.1} | {:.2} % |",
            change.as_secs(),
            of_viewer * 1000.0 / 1e4
        )
    }
}

/// Serves on a thread of its own, and watches from this one.
fn measure(way: Way, change: Duration, viewers: u32, time: Duration) -> Result<Measured, AnyError> {
    let (versions, seen) = watch::channel(0);
    let (address_sender, address) = std::sync::mpsc::channel();
    let (end, ended) = watch::channel(false);
    let server = std::thread::spawn(move || serve(seen, ended, &address_sender));
    let address = address.recv()?;
    let watching = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = watching.block_on(watch_page(
        way,
        (change, time),
        viewers,
        (address, versions),
    ));
    end.send_replace(true);
    server.join().map_err(|_| "the server has panicked")??;
    measured
}

fn serve(
    versions: Versions,
    mut ended: watch::Receiver<bool>,
    address: &std::sync::mpsc::Sender<SocketAddr>,
) -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        address.send(listener.local_addr()?)?;
        let router = Router::new()
            .route("/counts", get(counts))
            .route("/events", get(events))
            .route("/cpu", get(cpu))
            .with_state(versions);
        tokio::select! {
            served = axum::serve(listener, router) => Ok(served?),
            // Cuts off the connections of events, which do not end.
            _ = ended.wait_for(|ended| *ended) => Ok(()),
        }
    })
}

fn body(version: u64) -> String {
    let mut body = format!("{{\"version\":{version},\"counts\":[");
    while body.len() < BODY_BYTES {
        body.push_str("12345,");
    }
    body.push_str("0]}");
    body
}

/// As the API answers: the version that the client has is not sent again.
async fn counts(State(versions): State<Versions>, headers: HeaderMap) -> Response {
    let version = *versions.borrow();
    let tag = format!("W/\"{version:016x}\"");
    let kept = "public, max-age=1, stale-while-revalidate=5, stale-if-error=86400";
    let known = headers.get(IF_NONE_MATCH).map(|known| known.as_bytes());
    let headers = [(ETAG, tag.clone()), (CACHE_CONTROL, kept.to_owned())];
    if known == Some(tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, body(version)).into_response()
}

async fn events(
    State(mut versions): State<Versions>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    versions.mark_changed();
    let events = stream::unfold(versions, async |mut versions| {
        versions.changed().await.ok()?;
        let version = *versions.borrow_and_update();
        Some((Ok(Event::default().data(body(version))), versions))
    });
    // As proxies need it.
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15) / SPEED))
}

/// The CPU time of the thread that serves, in nanoseconds.
async fn cpu() -> String {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    nanoseconds.to_string()
}

/// What the viewers have seen.
#[derive(Default)]
struct Seen {
    updates: AtomicU64,
    requests: AtomicU64,
}

async fn watch_page(
    way: Way,
    (change, time): (Duration, Duration),
    viewers: u32,
    (address, versions): (SocketAddr, watch::Sender<u64>),
) -> Result<Measured, AnyError> {
    let seen = Arc::new(Seen::default());
    for number in 0..viewers {
        let seen = Arc::clone(&seen);
        let first = Instant::now() + POLL / SPEED * number / viewers;
        match way {
            Way::Polls => drop(tokio::spawn(poll(address, first, seen))),
            Way::Events => drop(tokio::spawn(listen(address, seen))),
        }
    }
    // Until all are connected, and have the first version.
    while seen.updates.load(Ordering::Relaxed) < viewers.into() {
        sleep(Duration::from_millis(10)).await;
    }
    let numbers = || {
        let Seen { updates, requests } = &*seen;
        (
            updates.load(Ordering::Relaxed),
            requests.load(Ordering::Relaxed),
        )
    };
    let (started, before, cpu_before) = (Instant::now(), numbers(), cpu_of(address).await?);
    let mut changes = interval_at(started + change / SPEED / 2, change / SPEED);
    while started.elapsed() < time {
        changes.tick().await;
        versions.send_modify(|version| *version += 1);
    }
    let (after, cpu) = (numbers(), cpu_of(address).await?);
    Ok(Measured {
        cpu: Duration::from_nanos(cpu - cpu_before),
        took: started.elapsed(),
        updates: after.0 - before.0,
        requests: after.1 - before.1,
    })
}

async fn cpu_of(address: SocketAddr) -> Result<u64, AnyError> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"GET /cpu HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("an answer")?;
    Ok(body.parse()?)
}

/// Asks every two seconds of the pages, on one connection, with the version that it has.
async fn poll(address: SocketAddr, first: Instant, seen: Arc<Seen>) -> Result<(), AnyError> {
    let mut connection = BufReader::new(TcpStream::connect(address).await?);
    let mut due = interval_at(first, POLL / SPEED);
    let mut tag = String::new();
    loop {
        due.tick().await;
        let request = format!("GET /counts HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let (status, length, version) = head(&mut connection).await?;
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await?;
        seen.requests.fetch_add(1, Ordering::Relaxed);
        if status == "200" {
            seen.updates.fetch_add(1, Ordering::Relaxed);
            tag = version;
        }
    }
}

/// Status, length of the body and version of an answer.
async fn head(connection: &mut BufReader<TcpStream>) -> Result<(String, usize, String), AnyError> {
    let (mut status, mut length, mut version) = (String::new(), 0, String::new());
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err("the connection has ended".into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, length, version));
        }
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.chars().take(3).collect();
        }
        match line.split_once(": ") {
            Some(("content-length", text)) => length = text.parse()?,
            Some(("etag", text)) => text.clone_into(&mut version),
            Some(_) | None => {}
        }
    }
}

/// Takes what it is sent.
async fn listen(address: SocketAddr, seen: Arc<Seen>) -> Result<(), AnyError> {
    let mut connection = BufReader::new(TcpStream::connect(address).await?);
    let request = b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
    connection.write_all(request).await?;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 0 {
        if line.starts_with("data:") {
            seen.updates.fetch_add(1, Ordering::Relaxed);
        }
        line.clear();
    }
    Ok(())
}
