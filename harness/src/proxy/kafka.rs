//! As much of Kafka's protocol as it takes to stand between its clients and a broker: a broker tells everybody its own
//! address, so every answer that has it gets the proxy's port in place of the broker's.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt};

const LENGTH_BYTES: usize = 4;
const PORT_BYTES: usize = 4;

/// The broker's address as answers spell it, and the port that stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readdressing {
    host: Vec<u8>,
    from: [u8; PORT_BYTES],
    to: [u8; PORT_BYTES],
}

impl Readdressing {
    /// For a broker at this host and port, behind a proxy on the same host.
    pub(super) fn new(host: &str, broker_port: u16, proxy_port: u16) -> Self {
        Self {
            host: host.as_bytes().to_vec(),
            from: u32::from(broker_port).to_be_bytes(),
            to: u32::from(proxy_port).to_be_bytes(),
        }
    }

    /// Wherever the host is followed by its port, in whatever answer of whatever version, the port is changed: lengths
    /// stay as they are, so nothing else of an answer has to be understood.
    pub(super) fn apply(&self, frame: &mut [u8]) {
        let length = self.host.len() + PORT_BYTES;
        let mut at = LENGTH_BYTES;
        while let Some(window) = frame.get_mut(at..at + length) {
            let (host, port) = window.split_at_mut(self.host.len());
            if host == self.host && port == self.from {
                port.copy_from_slice(&self.to);
                at += length;
            } else {
                at += 1;
            }
        }
    }
}

/// The next request or answer, with its length before it.
pub(super) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut frame = vec![0; LENGTH_BYTES];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    frame.resize(LENGTH_BYTES + usize::try_from(length)?, 0);
    from.read_exact(&mut frame[LENGTH_BYTES..]).await?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_behind_the_brokers_host_is_changed() {
        let readdressing = Readdressing::new("127.0.0.1", 9092, 5000);
        let answer = |port: u32| {
            let host = b"127.0.0.1".as_slice();
            [
                b"len.\x00\x01".as_slice(),
                host,
                &port.to_be_bytes(),
                b" 9092 127.0.0.1",
            ]
            .concat()
        };
        let mut frame = answer(9092);
        readdressing.apply(&mut frame);
        assert_eq!(frame, answer(5000));
        let mut other = answer(9093);
        readdressing.apply(&mut other);
        assert_eq!(other, answer(9093));
    }
}
