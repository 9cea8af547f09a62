//! The seam for clusters, which add up what is archived where there are more processors than here. What they answer is
//! checked as far as it can be: by the accounts of what they have read.

use std::convert::Infallible;

use stitch_common::user_error::UserError;

use crate::contributions::{Pass, Tally};
use crate::manifest::TotalsId;
use crate::records::Reach;
use crate::sorted::counter_names::CounterNames;
use crate::sorted::{CellTotal, SortedCells};
use crate::totals_error::TotalsError;

/// Archived records to add up.
#[derive(Clone, Copy, Debug)]
pub struct ArchivedWork<'a> {
    /// The totals that are built.
    pub id: &'a TotalsId,
    /// Kafka's id of the cluster.
    pub kafka: &'a str,
    pub topic: &'a str,
    pub names: &'a CounterNames,
    pub reach: &'a Reach,
    /// Their spans are all of the archive.
    pub passes: &'a [Pass],
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: i64,
}

/// A cluster.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Cluster {
    /// What it has added up.
    type Cells<'c>: ClusterCells
    where
        Self: 'c;

    /// Adds up the records of `work`, each once.
    ///
    /// # Errors
    /// The cluster has not done its work, or what it says of it contradicts itself or the archive.
    async fn add_up<'c>(&'c self, work: &ArchivedWork<'c>) -> Result<Self::Cells<'c>, UserError>;

    /// Deletes what it has put for `work`. If that is resumable, another build may still use what is of use to it.
    async fn clean_up(&self, work: &ArchivedWork<'_>, is_resumable: bool);
}

/// What a cluster has added up, in scan order.
pub trait ClusterCells: SortedCells<Error = TotalsError> {
    /// What it has read.
    fn tally(&self) -> &Tally;

    /// Checks that the cells, all of which were read, are made of what it has read.
    ///
    /// # Errors
    /// They are not.
    fn check(&self) -> Result<(), UserError>;
}

/// No cluster.
#[derive(Clone, Copy, Debug)]
pub enum NoCluster {}

impl Cluster for NoCluster {
    type Cells<'c> = NoCells;

    async fn add_up<'c>(&'c self, _: &ArchivedWork<'c>) -> Result<NoCells, UserError> {
        match *self {}
    }

    async fn clean_up(&self, _: &ArchivedWork<'_>, _: bool) {
        match *self {}
    }
}

/// The cells of no cluster.
#[derive(Clone, Copy, Debug)]
pub struct NoCells(Infallible);

impl SortedCells for NoCells {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        match self.0 {}
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        match self.0 {}
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        match self.0 {}
    }
}

impl ClusterCells for NoCells {
    fn tally(&self) -> &Tally {
        match self.0 {}
    }

    fn check(&self) -> Result<(), UserError> {
        match self.0 {}
    }
}
