//! What the servers were asked: how much of it, and how large.

use stitch_common::ports::Operation;

use super::request::{Answer, Op, Reply};

/// Requests and bytes since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestCounts {
    /// Requests that the server of the session answers by itself.
    pub(crate) reads: u64,
    /// Requests that the leader orders: changes, `sync`, and ends of sessions.
    pub(crate) writes: u64,
    /// Watches that have fired.
    pub(crate) notifications: u64,
    /// Bytes of data and names in answers to reads.
    pub(crate) bytes_read: u64,
    /// Bytes of data that was written.
    pub(crate) bytes_written: u64,
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl RequestCounts {
    /// Reads and writes.
    #[cfg(test)]
    pub(crate) const fn total(&self) -> u64 {
        self.reads + self.writes
    }

    /// What came after `before`.
    pub(crate) const fn since(&self, before: &Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            notifications: self.notifications - before.notifications,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
        }
    }

    pub(super) fn add_request(&mut self, op: &Op) {
        match op {
            Op::Get(_) | Op::Children(_) | Op::WatchChildren(..) | Op::WatchNode(..) => {
                self.reads += 1;
            }
            Op::Set(_, data, _) => {
                self.writes += 1;
                self.bytes_written += bytes(data.len());
            }
            Op::Multi(operations) => {
                self.writes += 1;
                let data = operations.iter().map(|operation| match operation {
                    Operation::Create { data, .. } | Operation::Set { data, .. } => data.len(),
                    Operation::Check { .. } | Operation::Delete { .. } => 0,
                });
                self.bytes_written += bytes(data.sum());
            }
            Op::Sync | Op::Close => self.writes += 1,
        }
    }

    pub(super) fn add_answer(&mut self, answer: &Answer) {
        let length = match answer {
            Ok(Reply::Node(Some(node))) => node.data.len(),
            Ok(Reply::Names(Some(names))) => names.iter().map(String::len).sum(),
            Ok(
                Reply::Node(None)
                | Reply::Names(None)
                | Reply::Nothing
                | Reply::Stat(_)
                | Reply::Many(_),
            )
            | Err(_) => 0,
        };
        self.bytes_read += bytes(length);
    }
}
