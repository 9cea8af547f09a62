//! The part of Kafka's protocol that a proxy needs: a broker advertises its own address, so in every response the
//! broker's port is replaced by the proxy's.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt};

const LENGTH_BYTES: usize = 4;
const PORT_BYTES: usize = 4;

/// The broker's address as encoded in responses, and the port that replaces its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortRewrite {
    host: Vec<u8>,
    from: [u8; PORT_BYTES],
    to: [u8; PORT_BYTES],
}

impl PortRewrite {
    /// A broker at this host and port, behind a proxy on the same host.
    pub(super) fn new(host: &str, broker_port: u16, proxy_port: u16) -> Self {
        Self {
            host: host.as_bytes().to_vec(),
            from: u32::from(broker_port).to_be_bytes(),
            to: u32::from(proxy_port).to_be_bytes(),
        }
    }

    /// Replaces the port wherever it follows the host, in any response of any version. Lengths stay the same, so nothing
    /// else of a response has to be decoded.
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

/// Reads the next request or response, with its length prefix.
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
    fn only_the_port_after_the_brokers_host_is_replaced() {
        let rewrite = PortRewrite::new("127.0.0.1", 9092, 5000);
        let response = |port: u32| {
            let host = b"127.0.0.1".as_slice();
            [
                b"len.\x00\x01".as_slice(),
                host,
                &port.to_be_bytes(),
                b" 9092 127.0.0.1",
            ]
            .concat()
        };
        let mut frame = response(9092);
        rewrite.apply(&mut frame);
        assert_eq!(frame, response(5000));
        let mut other = response(9093);
        rewrite.apply(&mut other);
        assert_eq!(other, response(9093));
    }
}
