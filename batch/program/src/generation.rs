//! Brings totals into the table of batch counts, and publishes them.
//!
//! 1. The load is recorded (`/batch`, `loading`): its totals, the time of its writes, and what the table held before.
//! 2. The cells that differ from that are written; after loads of other totals that did not end, first those that differ
//!    from these: what was sent of them may still arrive, and loses against the later time.
//! 3. The table is read back at `ALL`. If it is not the totals, cells that differ from what the table holds are written
//!    once more, with a later time: something else has written to it.
//! 4. The generation is published, in the same write that removes the record of the load.
//!
//! Totals that are published already need no load, and are read back all the same: an as-of says that the table holds what
//! was counted by then, whatever became of it since it was read last.
//!
//! Killed between any two steps, the same call goes on. Readers rely on what is published alone: until step 4 they say
//! the former as-of, and a cell may at most be newer than that.

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_batch::batch_lock::BatchLock;
use stitch_batch::batch_node;
use stitch_batch::record::{BatchRecord, CountedCounters, Generation, LoadRecord};
use stitch_common::clock::Clock;
use stitch_common::ports::{
    BatchTable, ObjectStore, Session, SessionState, TableIdentity, WriteTime,
};
use stitch_common::range::TokenInterval;
use stitch_common::token::Token;
use stitch_protocol::NamespaceSession;
use stitch_totals::manifest::{Manifest, Subject, TotalsId};
use stitch_totals::sorted::SortedCells;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::totals_file::reader::TotalsReader;
use stitch_totals::totals_folder::TotalsFolder;

use crate::batch_error::BatchError;
use crate::difference::Differences;
use crate::load::{Loaded, load};
use crate::patience::Patience;
use crate::read_back::{Content, read_back};
use crate::rule;
use crate::table_cells::TableCells;

/// Every token.
pub(crate) const ALL: TokenInterval = TokenInterval {
    first: Token(i64::MIN),
    last: Token(i64::MAX),
};

const WRITTEN_BY_ANOTHER: &str = "the table was not what the last load left: something else has written to it; \
                                  what differs was written again";

/// What a load needs.
pub struct Loader<'a, S, Z, T, C> {
    pub folder: &'a TotalsFolder<S>,
    /// Of all counters of the configuration.
    pub names: &'a CounterNames,
    pub table: &'a T,
    pub identity: &'a TableIdentity,
    pub keyspace: &'a str,
    pub session: &'a NamespaceSession<Z, C>,
    /// Held.
    pub lock: &'a BatchLock,
    pub patience: &'a Patience<'a, C>,
}

/// How a load has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub generation: Generation,
    /// What was written; `None` if the same totals were published before.
    pub loaded: Option<Loaded>,
    /// With what the load began.
    pub base: Base,
    pub notes: Vec<String>,
}

/// What the table was taken to hold before a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// These totals.
    Totals(String),
    /// What its scan showed.
    Table,
}

impl<S: ObjectStore, Z: Session, T: BatchTable, C: Clock> Loader<'_, S, Z, T, C> {
    /// Loads, reads back and publishes these totals, which count every event that was in the log at `as_of`. With
    /// `against_table` nothing is taken for granted of what the table holds.
    ///
    /// # Errors
    /// Nothing was published, and what was published before is as it was, but for cells that are newer; older totals are
    /// loaded over what is withdrawn first. Totals that lack the beginning of what was published are not loaded.
    pub async fn publish(
        &self,
        manifest: &Manifest,
        as_of: Option<DateTime<Utc>>,
        against_table: bool,
    ) -> Result<Published, BatchError> {
        let mut notes = Vec::new();
        let mut record = self.record(&mut notes).await?;
        refuse_lost_beginning(&record, manifest)?;
        let same = record
            .published
            .clone()
            .filter(|published| published.totals == manifest.id.0);
        let known = same.as_ref().map(|published| published.as_of);
        let as_of = as_of.max(known);
        let as_of = as_of.ok_or_else(|| BatchError::NoAsOf(manifest.id.0.clone()))?;
        let mut against_table = against_table;
        if let Some(generation) = same
            && record.loading.is_none()
            && !against_table
        {
            if is_right(&self.read_back(manifest).await?, manifest) {
                record.counted_from.clone_from(&manifest.subject.from);
                return self.move_as_of(record, generation, as_of).await;
            }
            notes.push(WRITTEN_BY_ANOTHER.to_owned());
            against_table = true;
        }
        let (mut loaded, mut base) = self
            .load_recorded(&mut record, manifest, against_table, &mut notes)
            .await?;
        let mut content = self.read_back(manifest).await?;
        if !is_right(&content, manifest) {
            notes.push(WRITTEN_BY_ANOTHER.to_owned());
            let again = self.load_recorded(&mut record, manifest, true, &mut notes);
            let (again, table) = again.await?;
            loaded += again;
            base = table;
            content = self.read_back(manifest).await?;
        }
        if !is_right(&content, manifest) {
            return Err(differs(&content, manifest));
        }
        if loaded.zeroed > 0 {
            notes.push(format!(
                "{} cells add up to 0 now, and hold 0: events took back what others had added",
                loaded.zeroed
            ));
        }
        let generation = self.generation(&record, manifest, as_of);
        record.published = Some(generation.clone());
        record.counted_from.clone_from(&manifest.subject.from);
        record.loading = None;
        batch_node::write(self.session, self.lock, &record).await?;
        Ok(Published {
            generation,
            loaded: Some(loaded),
            base,
            notes,
        })
    }

    /// Publishes what is published, as of later.
    async fn move_as_of(
        &self,
        mut record: BatchRecord,
        mut generation: Generation,
        as_of: DateTime<Utc>,
    ) -> Result<Published, BatchError> {
        generation.as_of = as_of;
        record.published = Some(generation.clone());
        batch_node::write(self.session, self.lock, &record).await?;
        Ok(Published {
            base: Base::Totals(generation.totals.clone()),
            generation,
            loaded: None,
            notes: Vec::new(),
        })
    }

    /// What is known of the table.
    async fn record(&self, notes: &mut Vec<String>) -> Result<BatchRecord, BatchError> {
        let mut new = BatchRecord::new(self.identity.clone(), self.keyspace.to_owned());
        match batch_node::read(self.session).await? {
            Some(record) if record.table == *self.identity => Ok(record),
            Some(record) => {
                new.counted_from = record.counted_from;
                notes.push(format!(
                    "the batch was in another table, {} in the keyspace {} of {}: it is loaded as a whole",
                    record.table.table, record.keyspace, record.table.cluster
                ));
                Ok(new)
            }
            None => Ok(new),
        }
    }

    /// Records the load, and writes what differs.
    async fn load_recorded(
        &self,
        record: &mut BatchRecord,
        manifest: &Manifest,
        against_table: bool,
        notes: &mut Vec<String>,
    ) -> Result<(Loaded, Base), BatchError> {
        let now = self.session.clock().wall();
        let mut loading = record.next_load(&manifest.id.0, now, against_table);
        let mut base = None;
        if let Some(id) = &loading.base {
            base = self.folder.manifest(&TotalsId(id.clone())).await?;
            if base.is_none() {
                loading.base = None;
            }
        }
        record.loading = Some(loading.clone());
        record.withdraw_unless_counted(&manifest.subject.cut, &counters_of(manifest));
        batch_node::write(self.session, self.lock, record).await?;
        let clock = self.session.clock();
        let began = clock.now();
        let outdated = self.outdate_interrupted(manifest, &loading, notes).await?;
        let mut loaded = self.write(manifest, base.as_ref(), &loading).await?;
        loaded.cells += outdated;
        loaded.took = clock.now().since(began);
        let base = loading.base.map_or(Base::Table, Base::Totals);
        Ok((loaded, base))
    }

    /// Writes the cells in which totals whose loads did not end differ from these. Returns how many.
    async fn outdate_interrupted(
        &self,
        manifest: &Manifest,
        loading: &LoadRecord,
        notes: &mut Vec<String>,
    ) -> Result<u64, BatchError> {
        let progress = self.patience.progress();
        let mut cells = 0;
        for id in &loading.interrupted {
            let interrupted = self.folder.manifest(&TotalsId(id.clone())).await?;
            // Of what is not known any more, every cell is taken to differ.
            let (held, tokens) = match &interrupted {
                Some(interrupted) => (interrupted, TokenSelection::ALL),
                None => (manifest, TokenSelection::listed([])),
            };
            if interrupted.is_none() {
                notes.push(format!(
                    "the load of the totals {id} did not end, and they are deleted: every cell is written again; one that only \
                     they had may appear, until `stitch-batch run` reads the table back next"
                ));
            }
            progress.begin("loading what an interrupted load may change", "cells", None);
            let wanted = TotalsReader::new(self.folder, manifest, self.names, TokenSelection::ALL);
            let held = TotalsReader::new(self.folder, held, self.names, tokens);
            let loaded = self.write_over(wanted, held, loading.written).await;
            progress.end();
            cells += loaded?.cells;
        }
        Ok(cells)
    }

    async fn write(
        &self,
        manifest: &Manifest,
        base: Option<&Manifest>,
        loading: &LoadRecord,
    ) -> Result<Loaded, BatchError> {
        let progress = self.patience.progress();
        let tokens = TokenSelection::ALL;
        let wanted = TotalsReader::new(self.folder, manifest, self.names, tokens.clone());
        // How many cells differ is not known, but of a first load.
        let total = base.is_none().then_some(manifest.rows);
        progress.begin("loading what differs", "cells", total);
        let written = loading.written;
        let loaded = match base {
            Some(base) => {
                let held = TotalsReader::new(self.folder, base, self.names, tokens);
                self.write_over(wanted, held, written).await
            }
            None => {
                let held = TableCells::new(self.table, self.names, ALL, self.patience);
                self.write_over(wanted, held, written).await
            }
        };
        progress.end();
        loaded
    }

    /// Writes the cells that are not `held` as they are `wanted`.
    async fn write_over<W, H>(
        &self,
        wanted: W,
        held: H,
        written: WriteTime,
    ) -> Result<Loaded, BatchError>
    where
        W: SortedCells<Error: Into<BatchError>>,
        H: SortedCells<Error: Into<BatchError>>,
    {
        let is_over = || self.session.zookeeper().state() == SessionState::Over;
        let mut differences = Differences::new(wanted, held, self.names);
        load(
            &mut differences,
            self.table,
            written,
            self.patience,
            is_over,
        )
        .await
    }

    async fn read_back(&self, manifest: &Manifest) -> Result<Content, BatchError> {
        let progress = self.patience.progress();
        progress.begin("reading back", "cells", Some(manifest.rows));
        let bits = manifest.subject.definitions.range_bits;
        let content = read_back(self.table, self.names, bits, self.patience).await;
        progress.end();
        content
    }

    fn generation(
        &self,
        record: &BatchRecord,
        manifest: &Manifest,
        as_of: DateTime<Utc>,
    ) -> Generation {
        let subject = &manifest.subject;
        let CountedCounters { whole, later } = counters_of(manifest);
        Generation {
            totals: manifest.id.0.clone(),
            cut: subject.cut.clone(),
            as_of,
            written: record
                .loading
                .as_ref()
                .map(|loading| loading.written)
                .unwrap_or_default(),
            rows: manifest.rows,
            digest: manifest.digest.to_string(),
            counters: whole,
            later,
            published_at: self.session.clock().wall(),
        }
    }
}

/// Refuses totals that lack the beginning of what was published: made again when the former were lost, and Kafka had deleted
/// the first records, they would be published as all of history.
fn refuse_lost_beginning(record: &BatchRecord, manifest: &Manifest) -> Result<(), BatchError> {
    let from = &manifest.subject.from;
    match record.lost_beginning(from) {
        None => Ok(()),
        Some((partition, before)) => Err(BatchError::BeginsLater {
            totals: manifest.id.0.clone(),
            partition,
            from: from.of(partition),
            before,
        }),
    }
}

/// The counters of these totals.
fn counters_of(manifest: &Manifest) -> CountedCounters {
    let Subject {
        definitions, later, ..
    } = &manifest.subject;
    let later: Vec<_> = later.iter().map(|late| late.counter.clone()).collect();
    let counters = definitions.counters.iter();
    let mut whole: Vec<_> = counters.map(|counter| counter.name.clone()).collect();
    whole.retain(|name| !later.contains(name));
    CountedCounters { whole, later }
}

fn is_right(content: &Content, manifest: &Manifest) -> bool {
    let is_equal =
        (content.rows, content.digest, content.foreign) == (manifest.rows, manifest.digest, 0);
    is_equal || !rule::what_is_read_back_counts()
}

fn differs(content: &Content, manifest: &Manifest) -> BatchError {
    BatchError::Differs {
        totals: manifest.id.0.clone(),
        rows: content.rows,
        digest: content.digest.to_string(),
        rows_wanted: manifest.rows,
        digest_wanted: manifest.digest.to_string(),
        foreign: content.foreign,
    }
}

#[cfg(test)]
mod tests;
