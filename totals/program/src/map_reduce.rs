//! Adds up the archive on a cluster: segments are mapped where there are processors, and come back as one stream of cells
//! in scan order. What the cluster says of it has to agree with itself and with the archive.

use std::collections::BTreeMap;

use stitch_common::cell::CounterName;
use stitch_common::ports::{ObjectEntry, ObjectError, ObjectName, ObjectStore};
use stitch_common::user_error::UserError;
use stitch_totals::cluster::{ArchivedWork, Cluster, ClusterCells};
use stitch_totals::contributions::Tally;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::{CellTotal, SortedCells};
use stitch_totals::totals_error::TotalsError;

use crate::job::{
    FORMAT, Job, JobError, JobFolder, JobObjects, JobRunner, MapTask, PartialAccount, Receipt,
};
use crate::partial::reader::{GroupedCells, GroupedSum};

/// A cluster that maps segments to partial sums and groups them by cell.
#[derive(Clone, Debug)]
pub struct MapReduce<S, J> {
    store: S,
    objects: JobObjects,
    runner: J,
}

impl<S: ObjectStore, J: JobRunner> MapReduce<S, J> {
    /// The cluster behind `runner`, which exchanges objects through `store`.
    pub const fn new(store: S, objects: JobObjects, runner: J) -> Self {
        Self {
            store,
            objects,
            runner,
        }
    }

    /// A task for each segment in each pass.
    fn divide(&self, work: &ArchivedWork<'_>) -> (Job, Vec<MapTask>) {
        let passes = work.passes.iter();
        let job = Job {
            format: FORMAT,
            cluster: work.kafka.to_owned(),
            topic: work.topic.to_owned(),
            passes: passes.map(|pass| pass.definitions.clone()).collect(),
        };
        let mut tasks = Vec::new();
        for (number, pass) in work.passes.iter().enumerate() {
            for span in &pass.spans {
                let chain = work.reach.chains.get(&span.partition);
                let segments = chain.map(|chain| chain.at_or_above(span.from));
                let segments = segments.into_iter().flatten();
                for segment in segments.take_while(|segment| segment.from < span.to) {
                    let mut task = MapTask {
                        pass: number,
                        partition: span.partition,
                        from: span.from.max(segment.from),
                        to: span.to.min(segment.to),
                        segment: segment.clone(),
                        partial: String::new(),
                    };
                    task.partial = self.objects.partial(&task.partial_id(&job)).0;
                    tasks.push(task);
                }
            }
        }
        (job, tasks)
    }

    async fn run<'c>(&'c self, work: &ArchivedWork<'c>) -> Result<ReducedCells<'c, S>, RunError> {
        let (job, tasks) = self.divide(work);
        let folder = self.objects.job(work.id, work.begun_ms);
        self.runner.run(&job, &tasks, &folder).await?;
        let receipts = self.receipts(&folder).await?;
        let (tally, accounts) = account_for(&job, &tasks, receipts, work.names)?;
        let files = parts(&self.store, &folder.cells(), ".parquet").await?;
        Ok(ReducedCells {
            cells: GroupedCells::new(&self.store, work.names, files),
            names: work.names,
            tally,
            accounts,
        })
    }

    async fn receipts(&self, folder: &JobFolder) -> Result<Vec<Receipt>, RunError> {
        let mut receipts = Vec::new();
        for entry in parts(&self.store, &folder.receipts(), "").await? {
            let text = self.store.get(&entry.name).await;
            let text = text.map_err(TotalsError::from)?;
            let lines = text.split(|byte| *byte == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                let receipt = serde_json::from_slice::<Receipt>(line);
                let unreadable = |error| {
                    let name = &entry.name;
                    JobError::Unaccounted(format!("a line of {name} is no receipt: {error}"))
                };
                receipts.push(receipt.map_err(unreadable)?);
            }
        }
        Ok(receipts)
    }

    async fn delete(
        &self,
        work: &ArchivedWork<'_>,
        with_partials: bool,
    ) -> Result<(), ObjectError> {
        if with_partials {
            for task in self.divide(work).1 {
                self.store.delete(&ObjectName(task.partial)).await?;
            }
        }
        let JobFolder(folder) = self.objects.job(work.id, work.begun_ms);
        for entry in self.store.list(&folder, None).await? {
            self.store.delete(&entry.name).await?;
        }
        Ok(())
    }
}

impl<S: ObjectStore, J: JobRunner> Cluster for MapReduce<S, J> {
    type Cells<'c>
        = ReducedCells<'c, S>
    where
        Self: 'c;

    async fn add_up<'c>(&'c self, work: &ArchivedWork<'c>) -> Result<Self::Cells<'c>, UserError> {
        match self.run(work).await {
            Ok(cells) => Ok(cells),
            Err(RunError::Job(error @ JobError::Unaccounted(_))) => {
                // The partial sums may be what is wrong.
                self.clean_up(work, false).await;
                Err(error.into())
            }
            Err(RunError::Job(error)) => Err(error.into()),
            Err(RunError::Totals(error)) => Err(error.into()),
        }
    }

    async fn clean_up(&self, work: &ArchivedWork<'_>, is_resumable: bool) {
        // Partial sums of a job that failed are of use to the next one.
        if let Err(error) = self.delete(work, !is_resumable).await {
            tracing::warn!(%error, "objects of the job could not be deleted; nothing reads them any more");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Totals(#[from] TotalsError),
}

/// What the cluster has added up.
pub struct ReducedCells<'a, S> {
    cells: GroupedCells<'a, S>,
    names: &'a CounterNames,
    tally: Tally,
    /// By rank, of all receipts.
    accounts: Vec<PartialAccount>,
}

impl<S: ObjectStore> SortedCells for ReducedCells<'_, S> {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        self.cells.current()
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        self.cells.step()
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        self.cells.load().await
    }
}

impl<S: ObjectStore> ClusterCells for ReducedCells<'_, S> {
    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn check(&self) -> Result<(), UserError> {
        let grouped = self.cells.sums();
        for ((name, account), grouped) in self.names.iter().zip(&self.accounts).zip(grouped) {
            if !is_same(account, grouped) {
                return Err(JobError::Unaccounted(format!(
                    "counter {}: the receipts have {} partial sums that add up to {}, and the grouped cells are made of {} \
                     that add up to {}",
                    name.0, account.cells, account.sum, grouped.partials, grouped.sum.0
                ))
                .into());
            }
        }
        Ok(())
    }
}

fn is_same(account: &PartialAccount, grouped: &GroupedSum) -> bool {
    u64::try_from(grouped.partials) == Ok(account.cells) && grouped.sum.0 == account.sum
}

/// The objects that the tasks of a stage have written, in the order of the tasks: `part-<number>…`.
async fn parts(
    store: &impl ObjectStore,
    folder: &ObjectName,
    ending: &str,
) -> Result<Vec<ObjectEntry>, TotalsError> {
    let below = format!("{folder}/part-");
    let mut parts = Vec::new();
    for entry in store.list(folder, None).await? {
        let Some(rest) = entry.name.0.strip_prefix(&below) else {
            continue;
        };
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        let number = digits.and_then(|digits| digits.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| rest.ends_with(ending)) {
            parts.push((number, entry));
        }
    }
    parts.sort_by(|(a, a_entry), (b, b_entry)| (a, &a_entry.name).cmp(&(b, &b_entry.name)));
    Ok(parts.into_iter().map(|(_, entry)| entry).collect())
}

/// Adds up receipts: one of each task, with the records that its segment has.
fn account_for(
    job: &Job,
    tasks: &[MapTask],
    receipts: Vec<Receipt>,
    names: &CounterNames,
) -> Result<(Tally, Vec<PartialAccount>), JobError> {
    let unaccounted = |what: String| Err(JobError::Unaccounted(what));
    let mut by_partial: BTreeMap<String, Receipt> = BTreeMap::new();
    for receipt in receipts {
        if let Some(twice) = by_partial.insert(receipt.partial.clone(), receipt) {
            return unaccounted(format!("there are two receipts of {}", twice.partial));
        }
    }
    let mut tally = Tally::new(names);
    let mut accounts = vec![PartialAccount::default(); names.iter().len()];
    for task in tasks {
        let (partition, from) = (task.partition, task.segment.from);
        let segment = format!("the segment of partition {partition} from {from}");
        let Some(receipt) = by_partial.remove(&task.partial) else {
            return unaccounted(format!("there is no receipt of {segment}"));
        };
        let (read, rows) = (receipt.records, task.segment.rows);
        if read > rows || (task.is_whole() && read < rows) {
            return unaccounted(format!(
                "{segment} has {rows} records, and {read} were mapped"
            ));
        }
        tally.records += read;
        let counters = &job.passes[task.pass].counters;
        let counters: Vec<&CounterName> = counters.iter().map(|counter| &counter.name).collect();
        let mut receipted: Vec<_> = receipt.accounts.iter().collect();
        receipted.retain(|(name, _)| counters.contains(name));
        if receipted.len() != counters.len() || receipt.accounts.len() != counters.len() {
            return unaccounted(format!("the receipt of {segment} is of other counters"));
        }
        for (name, account) in receipted {
            let rank = names
                .rank(&name.0)
                .expect("a pass counts some of the names");
            let rank = usize::from(rank.0);
            let total = &mut accounts[rank];
            total.contributions += account.contributions;
            total.cells += account.cells;
            total.sum = total.sum.wrapping_add(account.sum);
            tally.contributions[rank] += account.contributions;
            tally.sums[rank] = tally.sums[rank].wrapping_add(account.sum);
        }
    }
    match by_partial.into_keys().next() {
        None => Ok((tally, accounts)),
        Some(partial) => unaccounted(format!("there is a receipt of no task, {partial}")),
    }
}

#[cfg(test)]
mod tests;
