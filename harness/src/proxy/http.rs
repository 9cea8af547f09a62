//! The part of HTTP that a proxy needs: the head of a request, by which it is held, or changed on its way.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::watch;

use super::{Direction, Mode, Shared};

/// Longer than the head of any request of a client of an object store.
const HEAD_BYTES_MAX: usize = 64 << 10;
const END: &[u8] = b"\r\n\r\n";
const IF_ABSENT: &[u8] = b"if-none-match:";

/// What happens to requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    held: Mutex<Option<Hold>>,
    /// How many requests are, or were, held.
    pub(super) count: watch::Sender<u64>,
    /// Incremented when what is held changes.
    pub(super) changes: watch::Sender<u64>,
    pub(super) overwrites: AtomicBool,
}

/// The requests that are held.
#[derive(Clone, Debug)]
struct Hold {
    method: String,
    path: String,
    /// How many pass before.
    after: u64,
}

impl Requests {
    /// Holds requests of this method whose path has this text, once `after` of them have passed.
    pub(super) fn hold(&self, method: &str, path: &str, after: u64) {
        let hold = Hold {
            method: method.to_owned(),
            path: path.to_owned(),
            after,
        };
        self.set(Some(hold));
    }

    pub(super) fn hold_nothing(&self) {
        self.set(None);
    }

    fn set(&self, hold: Option<Hold>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Whether a request with this head is held. Each is asked for once as long as nothing changes.
    fn holds(&self, head: &[u8]) -> bool {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((method, path)) = line.split_once(' ') else {
            return false;
        };
        match &mut *held {
            Some(hold) if hold.method == method && path.contains(&hold.path) => {
                let is_held = hold.after == 0;
                hold.after = hold.after.saturating_sub(1);
                is_held
            }
            Some(_) | None => false,
        }
    }
}

/// Carries one request after the other. The server gets a connection with the first one: one that serves a connection at a
/// time is not kept by what is held.
pub(super) async fn carry(client: TcpStream, server: &str, shared: &Shared) -> Result<()> {
    let mut cuts = shared.cuts.subscribe();
    client.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    // A cut ends the connection: what is dropped need not be cancel-safe.
    let head = tokio::select! {
        biased;
        _ = cuts.changed() => return Ok(()),
        head = read_head(&mut from_client) => head?,
    };
    let head = tokio::select! {
        biased;
        _ = cuts.changed() => return Ok(()),
        head = until_it_passes(head, shared) => head?,
    };
    let server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let (from_server, mut to_server) = server.into_split();
    to_server.write_all(&head).await?;
    let requests = Direction::of_requests(from_client, to_server, shared);
    let replies = Direction::of_replies(from_server, to_client, shared);
    tokio::select! {
        biased;
        _ = cuts.changed() => Ok(()),
        end = requests.copy() => end,
        end = replies.copy() => end,
    }
}

/// Reads the head of a request, and whatever came with it.
async fn read_head(from: &mut OwnedReadHalf) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(END.len()).any(|window| window == END) {
        ensure!(
            head.len() < HEAD_BYTES_MAX,
            "a request has no end of its head"
        );
        let read = from.read_buf(&mut head).await?;
        ensure!(read > 0, "the client has gone");
    }
    Ok(head)
}

/// Waits while the request is held; returns what is sent instead of its head.
async fn until_it_passes(mut head: Vec<u8>, shared: &Shared) -> Result<Vec<u8>> {
    let requests = &shared.requests_held;
    let mut changes = requests.changes.subscribe();
    changes.mark_unchanged();
    let mut mode = shared.mode.subscribe();
    while requests.holds(&head) {
        requests.count.send_modify(|count| *count += 1);
        changes.changed().await?;
    }
    mode.wait_for(|mode| *mode != Mode::Blackhole).await?;
    if requests.overwrites.load(Ordering::SeqCst) {
        hide_condition(&mut head);
    }
    Ok(head)
}

/// Renames the header by which a put is one of an absent object only. What is signed is another header then: this is for
/// servers that do not check signatures.
fn hide_condition(head: &mut [u8]) {
    let at = head
        .windows(IF_ABSENT.len())
        .position(|window| window.eq_ignore_ascii_case(IF_ABSENT));
    if let Some(at) = at {
        head[at..at + 2].copy_from_slice(b"xx");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_held_by_method_and_path_after_as_many_as_pass() {
        let requests = Requests::default();
        let put = b"PUT /bucket/p=0/1.parquet HTTP/1.1\r\nhost: x\r\n\r\n";
        assert!(!requests.holds(put));
        requests.hold("PUT", ".parquet", 1);
        assert!(!requests.holds(b"GET /bucket/p=0/1.parquet HTTP/1.1\r\n\r\n"));
        assert!(!requests.holds(b"PUT /bucket/p=0/1.json HTTP/1.1\r\n\r\n"));
        assert!(!requests.holds(put));
        assert!(requests.holds(put));
        requests.hold_nothing();
        assert!(!requests.holds(put));
    }

    #[test]
    fn a_put_of_an_absent_object_becomes_any_put() {
        let mut head = b"PUT /x HTTP/1.1\r\nIf-None-Match: *\r\n\r\n".to_vec();
        hide_condition(&mut head);
        assert_eq!(head, b"PUT /x HTTP/1.1\r\nxx-None-Match: *\r\n\r\n");
        let mut other = b"GET /x HTTP/1.1\r\n\r\n".to_vec();
        hide_condition(&mut other);
        assert_eq!(other, b"GET /x HTTP/1.1\r\n\r\n");
    }
}
