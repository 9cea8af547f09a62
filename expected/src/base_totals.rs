//! Totals at a cut in the object store, to which later events are added.

use stitch_common::definition::Definitions;
use stitch_common::ports::ObjectStore;
use stitch_common::range::RangeId;

use stitch_totals::manifest::Manifest;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::totals_file::reader::TotalsReader;
use stitch_totals::totals_folder::TotalsFolder;

/// Totals at a cut.
#[derive(Debug)]
pub struct BaseTotals<S> {
    folder: TotalsFolder<S>,
    manifest: Manifest,
    names: CounterNames,
}

impl<S: ObjectStore> BaseTotals<S> {
    /// The totals of `manifest` in `folder`, whose counters are all in `definitions`.
    pub fn new(folder: TotalsFolder<S>, manifest: Manifest, definitions: &Definitions) -> Self {
        Self {
            folder,
            manifest,
            names: CounterNames::new(definitions),
        }
    }

    /// The cells of these tokens.
    pub fn cells_of(&self, tokens: TokenSelection) -> TotalsReader<'_, S> {
        TotalsReader::new(&self.folder, &self.manifest, &self.names, tokens)
    }

    /// About how many cells are in `range`: a file may have those of several.
    pub fn cells_in(&self, range: RangeId) -> u64 {
        let mut files = self.manifest.files.iter();
        let file = files.find(|file| (file.first_range..=file.last_range).contains(&range));
        file.map_or(0, |file| {
            let ranges = u64::from(file.last_range.0 - file.first_range.0) + 1;
            file.rows.div_ceil(ranges)
        })
    }
}
