//! Sorts contributions: adds them up in memory, spills sorted runs at the bound, and yields everything as one stream.

use std::path::Path;

use stitch_common::cell::Amount;
use stitch_common::token::Token;

use super::accumulator::{Accumulator, SortedMemory};
use super::counter_names::NameRank;
use super::merge::Merge;
use super::run::{Run, RunReader, RunWriter};
use super::snapshot::Snapshot;
use super::spill_folder::{SpillError, SpillFolder};
use super::{CellTotal, SortedCells};
use crate::scan_key::PackedSlot;

/// Runs that are merged at a time. Each open one takes a file descriptor and a block of memory.
const FAN_IN: usize = 64;

/// Contributions in any order become cells in scan order.
#[derive(Debug)]
pub struct Sorter {
    accumulator: Accumulator,
    bytes_max: usize,
    folder: SpillFolder,
    /// The runs of level `n + 1` are each merged from [`FAN_IN`] runs of level `n`, so that few files are open, and each
    /// cell is written once a level.
    levels: Vec<Vec<Run>>,
    fan_in: usize,
}

impl Sorter {
    /// A sorter that keeps about `bytes_max` in memory, and the rest in `folder`.
    pub fn new(bytes_max: usize, folder: SpillFolder) -> Self {
        Self {
            accumulator: Accumulator::default(),
            bytes_max,
            folder,
            levels: Vec::new(),
            fan_in: FAN_IN,
        }
    }

    /// Adds `amount` to the cells `slots` of one counter. Then [`Sorter::is_full`] says whether to spill.
    pub fn add(
        &mut self,
        token: Token,
        name: NameRank,
        key: &[u8],
        slots: &[PackedSlot],
        amount: Amount,
    ) {
        self.accumulator.add(token, name, key, slots, amount);
    }

    /// Whether the bound of memory is reached: spill before more is added.
    pub const fn is_full(&self) -> bool {
        self.accumulator.bytes() > self.bytes_max
    }

    /// Where it spills to.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes what is in memory as a sorted run.
    ///
    /// # Errors
    /// The sorter is of no use then, nor when the call is cancelled.
    pub async fn spill(&mut self) -> Result<(), SpillError> {
        let cells = std::mem::take(&mut self.accumulator).into_sorted();
        let mut run = write_run(&self.folder, vec![LocalCells::Memory(cells)]).await?;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < self.fan_in {
                break;
            }
            let full = std::mem::take(&mut self.levels[level]);
            let streams = full.into_iter().map(LocalCells::of_run).collect();
            run = write_run(&self.folder, streams).await?;
        }
        Ok(())
    }

    /// The number of runs in the folder.
    pub fn runs(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    /// Everything that was added, in scan order: the streams to merge, at most [`FAN_IN`] runs and what is in memory.
    ///
    /// # Errors
    /// The folder's.
    pub async fn finish(mut self) -> Result<Vec<LocalCells>, SpillError> {
        let mut runs: Vec<Run> = self.levels.drain(..).flatten().collect();
        // The smallest are merged first: they cost least.
        runs.sort_by_key(|run| std::cmp::Reverse(run.bytes()));
        while runs.len() > self.fan_in {
            let excess = (runs.len() - self.fan_in + 1).min(self.fan_in);
            let smallest = runs.split_off(runs.len() - excess);
            let streams = smallest.into_iter().map(LocalCells::of_run).collect();
            let merged = write_run(&self.folder, streams).await?;
            let at = runs.partition_point(|run| run.bytes() >= merged.bytes());
            runs.insert(at, merged);
        }
        let memory = LocalCells::Memory(self.accumulator.into_sorted());
        let runs = runs.into_iter().map(LocalCells::of_run);
        Ok(runs.chain([memory]).collect())
    }
}

/// Writes what these streams add up to as one run.
///
/// # Errors
/// The folder's.
pub async fn write_run(folder: &SpillFolder, streams: Vec<LocalCells>) -> Result<Run, SpillError> {
    let mut merge = Merge::new(streams);
    let mut run = RunWriter::new(folder)?;
    while let Some(cell) = merge.next().await? {
        run.push(&cell)?;
    }
    run.finish()
}

/// Sorted cells of this process: in memory, or in the spill folder.
#[derive(Debug)]
pub enum LocalCells {
    Memory(SortedMemory),
    Snapshot(Snapshot),
    Run(Box<RunReader>),
}

impl LocalCells {
    fn of_run(run: Run) -> Self {
        Self::Run(Box::new(run.into_cells()))
    }
}

impl SortedCells for LocalCells {
    type Error = SpillError;

    fn current(&self) -> Option<CellTotal<'_>> {
        match self {
            Self::Memory(cells) => cells.current(),
            Self::Snapshot(cells) => cells.current(),
            Self::Run(cells) => cells.current(),
        }
    }

    fn step(&mut self) -> Result<bool, SpillError> {
        match self {
            Self::Memory(cells) => Ok(cells.step().unwrap_or_else(|never| match never {})),
            Self::Snapshot(cells) => Ok(cells.step().unwrap_or_else(|never| match never {})),
            Self::Run(cells) => cells.step(),
        }
    }

    async fn load(&mut self) -> Result<bool, SpillError> {
        match self {
            Self::Memory(cells) => Ok(cells.load().await.unwrap_or_else(|never| match never {})),
            Self::Snapshot(cells) => Ok(cells.load().await.unwrap_or_else(|never| match never {})),
            Self::Run(cells) => cells.load().await,
        }
    }
}

#[cfg(test)]
mod tests;
