//! The pages to watch during the story: the API's page about one key, and the operator's page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use stitch_harness::events::Record;
use stitch_harness::process::Process;
use stitch_harness::recount::{Cells, Rules};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

/// Longest graceful shutdown of the API.
const STOP_BOUND: Duration = Duration::from_secs(30);

/// Longest time until the page has read of a load.
const LAYERS_BOUND: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Characters that are percent-encoded in a part of an address.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The API that runs during the story.
pub(crate) struct Pages {
    pub(crate) api: Process,
    address: String,
    /// About the key that is counted most.
    page: String,
    /// Whether its counter has periods of which the page shows one that has ended: not one that is kept for all time alone, or
    /// by periods that are all shorter than what is allowed for late events.
    has_closed_periods: bool,
}

impl Pages {
    /// Starts the API. At least one event of `history` must be counted.
    pub(crate) async fn open(namespace: &TestNamespace, history: &[Record]) -> Result<Self> {
        let MostCounted {
            counter,
            key,
            has_closed_periods,
        } = most_counted(&namespace.config, history)?;
        let mut program = namespace.api_command("run", &[])?;
        "api".clone_into(&mut program.name);
        let mut api = program.start()?;
        let address = TestNamespace::address(&mut api).await?;
        let part = |text| utf8_percent_encode(text, ENCODED).to_string();
        Ok(Self {
            api,
            address,
            page: format!("/stats/{}/{}", part(&counter), part(&key)),
            has_closed_periods,
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

    /// Waits until the timeline's page has points of batch beside others; false if it has none that could be in batch.
    ///
    /// # Errors
    /// It does not, although it should.
    pub(crate) async fn until_both_layers(&self) -> Result<bool> {
        if !self.has_closed_periods {
            return Ok(false);
        }
        let shown = async {
            loop {
                let (_, page) = get(&self.address, &self.page).await?;
                if page.contains("are from batch") {
                    return anyhow::Ok(());
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        let page = self.timeline();
        let shown = timeout(LAYERS_BOUND, shown).await;
        shown.with_context(|| format!("{page} has no periods from batch"))??;
        Ok(true)
    }

    /// Stops the API; fails unless it exits with 0.
    pub(crate) async fn close(self) -> Result<()> {
        let finished = self.api.stop(STOP_BOUND).await?;
        ensure!(
            finished.code == Some(0),
            "the API exited with {:?}: {}",
            finished.code,
            finished.errors
        );
        Ok(())
    }
}

/// The counter with most granularities, and its key that these events count most.
#[derive(Debug, PartialEq, Eq)]
struct MostCounted {
    counter: String,
    key: String,
    has_closed_periods: bool,
}

fn most_counted(config: &Path, events: &[Record]) -> Result<MostCounted> {
    let rules = Rules::read(config)?;
    let mut cells = Cells::new();
    for event in events {
        rules.count(event.value.as_deref(), &mut cells);
    }
    choose(&cells).context("none of these events is counted: see [event] and [[counter]]")
}

fn choose(cells: &Cells) -> Option<MostCounted> {
    let mut granularities_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut sums: BTreeMap<(&str, &str), u128> = BTreeMap::new();
    for (id, count) in cells {
        let (counter, key) = (id.counter.as_str(), id.key.as_str());
        granularities_of
            .entry(counter)
            .or_default()
            .insert(&id.granularity);
        *sums.entry((counter, key)).or_default() += u128::from(count.unsigned_abs());
    }
    let granularities = |counter: &str| granularities_of.get(counter).map_or(0, BTreeSet::len);
    let most = sums
        .into_iter()
        .max_by_key(|((counter, _), sum)| (granularities(counter), *sum))?;
    let ((counter, key), _) = most;
    let has = |kept: &BTreeSet<&str>| {
        ["day", "month", "year"]
            .iter()
            .any(|one| kept.contains(one))
    };
    let kept = granularities_of.get(counter);
    Some(MostCounted {
        counter: counter.to_owned(),
        key: key.to_owned(),
        has_closed_periods: kept.is_some_and(has),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_harness::recount::CellId;

    #[test]
    fn the_key_is_the_most_counted_one_of_the_counter_with_the_finest_timeline() {
        let mut cells = Cells::new();
        assert_eq!(choose(&cells), None);
        for (counter, key, granularity, count) in [
            ("cents", "a", "all", 1_000_000),
            ("plays", "a", "day", 3),
            ("plays", "a", "all", 3),
            ("plays", "b", "day", -5),
            ("plays", "b", "all", -5),
        ] {
            let id = CellId {
                counter: counter.to_owned(),
                key: key.to_owned(),
                granularity: granularity.to_owned(),
                bucket_ms: 0,
            };
            cells.insert(id, count);
        }
        let most = |key: &str, has_closed_periods| MostCounted {
            counter: "plays".to_owned(),
            key: key.to_owned(),
            has_closed_periods,
        };
        assert_eq!(choose(&cells), Some(most("b", true)));
        // One that is kept for all time alone has nothing that ends.
        cells.retain(|id, _| id.granularity == "all" && id.counter == "plays");
        assert_eq!(choose(&cells), Some(most("b", false)));
    }
}
