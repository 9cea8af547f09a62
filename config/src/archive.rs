//! The section `[archive]`.

use std::time::Duration;

use crate::section::{Section, section};
use stitch_common::user_error::UserError;

section! {
    /// `[archive]`
    pub Archive() {
        /// Where the archive is; without it there is none. Credentials come from the environment.
        url: Option<String> = optional_text("url"; "url = \"file:///var/lib/stitch\""),
        /// Bytes of one segment: it is put at once, and stores take so much at once.
        segment_bytes: usize = segment_mebibytes("segment_mib"; 128),
        /// How long a record waits for its segment to become full. Until then Kafka has it.
        segment_age: Duration = milliseconds("segment_ms"; 600_000, 100),
        /// Bytes of records that are read and not archived yet.
        memory_bytes_max: usize = mebibytes("memory_mib_max"; 512),
    }
}

impl Section<'_> {
    fn segment_mebibytes(&mut self, key: &str, default: u32) -> Result<usize, UserError> {
        Ok(self.count(key, default, 1..=256)? << 20)
    }
}
