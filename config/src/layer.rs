//! Which counts the API answers with where a request does not say: `[api] layer`.

use crate::Batch;
use crate::section::Section;
use stitch_common::user_error::UserError;

/// Which counts are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerChoice {
    /// Batch for closed buckets, real time for the rest.
    Auto,
    /// What processors have counted.
    Realtime,
    /// What the published batch has.
    Batch,
}

impl LayerChoice {
    /// Every choice, with its name.
    pub const EVERY: [(Self, &str); 3] = [
        (Self::Auto, "auto"),
        (Self::Realtime, "realtime"),
        (Self::Batch, "batch"),
    ];
}

impl Section<'_> {
    /// By default `auto` where there is batch. A layer that the namespace does not have is refused.
    pub(crate) fn layer(&mut self, key: &str, batch: &Batch) -> Result<LayerChoice, UserError> {
        let source = self.entries.get(key).map(|entry| entry.source);
        let default = if batch.enabled {
            LayerChoice::Auto
        } else {
            LayerChoice::Realtime
        };
        let choice = self.one_of(key, default, "layer", &LayerChoice::EVERY)?;
        let Some(source) = source else {
            return Ok(choice);
        };
        match choice {
            LayerChoice::Batch if !batch.enabled => {
                let what = " = \"batch\", and batch.enabled is false: there are no batch counts";
                let help = "write enabled = true in [batch], or layer = \"realtime\"";
                Err(self.wrong(key, source, what, help))
            }
            LayerChoice::Realtime if !batch.realtime => {
                let what =
                    " = \"realtime\", and batch.realtime is false: nothing counts in real time";
                let help = "write layer = \"batch\", or leave it out";
                Err(self.wrong(key, source, what, help))
            }
            LayerChoice::Auto | LayerChoice::Realtime | LayerChoice::Batch => Ok(choice),
        }
    }
}
