//! The section `[totals]`.

use std::path::PathBuf;

use crate::section::{Given, Section, section};
use stitch_common::user_error::UserError;

section! {
    /// `[totals]`
    pub Totals() {
        /// Where totals are; by default where the archive is, and without one in a local folder.
        url: Option<String> = optional_text("url"; "url = \"file:///var/lib/stitch\""),
        /// Bytes of contributions in memory.
        memory_bytes_max: usize = mebibytes("memory_mib_max"; 512),
        /// The folder of sorted runs.
        spill: PathBuf = folder("spill"; "stitch-spill"),
        /// Bytes of sorted runs, and of one file that is being written.
        spill_bytes_max: usize = mebibytes("spill_mib_max"; 65_536),
        /// What adds up.
        engine: Engine = engine("engine"),
    }
}

/// What adds records up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This process.
    Local,
}

impl Section<'_> {
    fn engine(&mut self, key: &str) -> Result<Engine, UserError> {
        let Some(Given { value, source }) = self.string(key)? else {
            return Ok(Engine::Local);
        };
        match value.as_str() {
            "local" => Ok(Engine::Local),
            "spark" => {
                let what = " = \"spark\" is not in this version of Stitch";
                Err(self.wrong(key, source, what, "use engine = \"local\""))
            }
            _ => {
                let what = format!(" = \"{value}\" is no engine");
                Err(self.wrong(key, source, &what, "use engine = \"local\""))
            }
        }
    }
}
