//! What a newcomer looks at while the story is told: the API, with a page about one key and the operator's page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use stitch_harness::events::Record;
use stitch_harness::process::Process;
use stitch_harness::recount::{Cells, Rules};
use stitch_harness::test_namespace::TestNamespace;

/// How long the API may take to answer what was begun when it is asked to end.
const STOP_BOUND: Duration = Duration::from_secs(30);

/// What cannot stand in a part of an address as it is.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The API that runs beside the story.
pub(crate) struct Window {
    pub(crate) api: Process,
    address: String,
    /// Of the key that is counted most.
    page: String,
}

impl Window {
    /// Starts the API. Of `history` some event must count.
    pub(crate) async fn open(stage: &TestNamespace, history: &[Record]) -> Result<Self> {
        let (counter, key) = most_counted(&stage.config, history)?;
        let mut program = stage.api_command("run", &[])?;
        "api".clone_into(&mut program.name);
        let mut api = program.start()?;
        let address = TestNamespace::address(&mut api).await?;
        let part = |text| utf8_percent_encode(text, QUOTED).to_string();
        Ok(Self {
            api,
            address,
            page: format!("/stats/{}/{}", part(&counter), part(&key)),
        })
    }

    /// The page about the key that is counted most.
    pub(crate) fn timeline(&self) -> String {
        format!("http://{}{}", self.address, self.page)
    }

    /// The page that shows ranges, locks and restorations.
    pub(crate) fn operator(&self) -> String {
        format!("http://{}/operator", self.address)
    }

    /// Ends it, and expects that it ends well.
    pub(crate) async fn close(self) -> Result<()> {
        let finished = self.api.stop(STOP_BOUND).await?;
        ensure!(
            finished.code == Some(0),
            "the API ended with {:?}: {}",
            finished.code,
            finished.errors
        );
        Ok(())
    }
}

/// A counter that is kept at many granularities, and its key that these events count most.
fn most_counted(config: &Path, events: &[Record]) -> Result<(String, String)> {
    let rules = Rules::read(config)?;
    let mut cells = Cells::new();
    for event in events {
        rules.count(event.value.as_deref(), &mut cells);
    }
    chosen(&cells).context("none of these events is counted: see [event] and [[counter]]")
}

fn chosen(cells: &Cells) -> Option<(String, String)> {
    let mut kept: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut sums: BTreeMap<(&str, &str), u128> = BTreeMap::new();
    for (place, count) in cells {
        let (counter, key) = (place.counter.as_str(), place.key.as_str());
        kept.entry(counter).or_default().insert(&place.granularity);
        *sums.entry((counter, key)).or_default() += u128::from(count.unsigned_abs());
    }
    let granularities = |counter: &str| kept.get(counter).map_or(0, BTreeSet::len);
    let most = sums
        .into_iter()
        .max_by_key(|((counter, _), sum)| (granularities(counter), *sum))?;
    let ((counter, key), _) = most;
    Some((counter.to_owned(), key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_harness::recount::Place;

    #[test]
    fn the_key_is_the_most_counted_one_of_the_counter_with_the_finest_timeline() {
        let mut cells = Cells::new();
        for (counter, key, granularity, count) in [
            ("cents", "a", "all", 1_000_000),
            ("plays", "a", "day", 3),
            ("plays", "a", "all", 3),
            ("plays", "b", "day", -5),
            ("plays", "b", "all", -5),
        ] {
            let place = Place {
                counter: counter.to_owned(),
                key: key.to_owned(),
                granularity: granularity.to_owned(),
                bucket_ms: 0,
            };
            cells.insert(place, count);
        }
        assert_eq!(chosen(&cells), Some(("plays".to_owned(), "b".to_owned())));
        assert_eq!(chosen(&Cells::new()), None);
    }
}
