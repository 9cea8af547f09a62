//! As much of CQL's binary protocol, version 4, as it takes to find the reply to a batch: a frame's nine bytes of
//! header are version, flags, stream (two), opcode and length (four), and a reply has the stream of its request.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt};

const HEADER_BYTES: usize = 9;
const OPCODE_BATCH: u8 = 0x0D;

/// The batches of one connection that were not answered yet, by stream.
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

/// The next frame, header and body.
pub(super) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
    frame.resize(HEADER_BYTES + usize::try_from(length)?, 0);
    from.read_exact(&mut frame[HEADER_BYTES..]).await?;
    Ok(frame)
}
