//! The part of CQL's binary protocol, version 4, that matches replies to batches: a frame's header has nine bytes
//! (version, flags, two for the stream, opcode, four for the length), and a reply has the stream of its request.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt};

const HEADER_BYTES: usize = 9;
const OPCODE_BATCH: u8 = 0x0D;

/// The unanswered batches of one connection, by stream.
#[derive(Default)]
pub(super) struct Batches {
    open: Mutex<HashSet<[u8; 2]>>,
}

impl Batches {
    pub(super) fn is_request(&self, frame: &[u8]) -> bool {
        let is_batch = frame[4] == OPCODE_BATCH;
        if is_batch {
            self.open().insert([frame[2], frame[3]]);
        }
        is_batch
    }

    pub(super) fn is_reply(&self, frame: &[u8]) -> bool {
        self.open().remove(&[frame[2], frame[3]])
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the next frame, header and body.
pub(super) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
    frame.resize(HEADER_BYTES + usize::try_from(length)?, 0);
    from.read_exact(&mut frame[HEADER_BYTES..]).await?;
    Ok(frame)
}
