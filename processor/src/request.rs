//! Requests: batches of counters that are sent as one.
//!
//! A request costs Cassandra more than what it asks for, so the batches that the engine sends at one moment share requests
//! where one outcome for all of them does no harm: within a range, whose in-doubt marker would cover them all, and with
//! the same replicas, all of them up, so that one is refused for lack of replicas only if all are.

use std::collections::BTreeMap;

use stitch_common::cell::Counter;
use stitch_common::lease::Permit;
use stitch_common::ports::{CounterBatch, Replicas};
use stitch_common::range::RangeId;

use crate::engine::{BatchId, BatchRequest};

/// Counters of one request: Cassandra warns of batches over more partitions than this
/// (`unlogged_batch_across_partitions_warn_threshold`).
const COUNTERS_MAX: usize = 10;

/// A request that is to be sent once.
#[derive(Debug)]
pub(crate) struct Request {
    /// The batches, by their ids.
    pub(crate) ids: Vec<BatchId>,
    pub(crate) permit: Permit,
    pub(crate) batches: Vec<CounterBatch>,
}

/// The requests that are being put together.
#[derive(Debug)]
pub(crate) struct Requests {
    cells_max: usize,
    /// Those that have room left.
    open: BTreeMap<(RangeId, Replicas), Request>,
    complete: Vec<Request>,
}

impl Requests {
    /// Requests of up to this many cells, if they have more than one counter.
    pub(crate) const fn new(cells_max: usize) -> Self {
        Self {
            cells_max,
            open: BTreeMap::new(),
            complete: Vec::new(),
        }
    }

    /// Adds a batch, to a request that it can share or to one of its own. `replicas` are those of its counter, if all of
    /// them are up.
    pub(crate) fn add(
        &mut self,
        id: BatchId,
        permit: Permit,
        batch: CounterBatch,
        request: BatchRequest,
        replicas: impl FnOnce(&Counter) -> Option<Replicas>,
    ) {
        let replicas = match request {
            BatchRequest::Own => None,
            BatchRequest::Shared(range) => replicas(&batch.counter).map(|nodes| (range, nodes)),
        };
        let own = |batch| Request {
            ids: vec![id],
            permit,
            batches: vec![batch],
        };
        let Some(replicas) = replicas else {
            self.complete.push(own(batch));
            return;
        };
        match self.open.get_mut(&replicas) {
            Some(open) if open.permit == permit && open.has_room(&batch, self.cells_max) => {
                open.ids.push(id);
                open.batches.push(batch);
            }
            Some(_) | None => self.complete.extend(self.open.insert(replicas, own(batch))),
        }
    }

    /// Takes all of them.
    pub(crate) fn take(&mut self) -> Vec<Request> {
        let open = std::mem::take(&mut self.open);
        self.complete.extend(open.into_values());
        std::mem::take(&mut self.complete)
    }
}

impl Request {
    fn has_room(&self, batch: &CounterBatch, cells_max: usize) -> bool {
        let cells: usize = self.batches.iter().map(|batch| batch.amounts.len()).sum();
        self.batches.len() < COUNTERS_MAX && cells + batch.amounts.len() <= cells_max
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stitch_common::cell::{Amount, Bucket, CellSlot, Granularity};
    use stitch_common::clock::Moment;
    use stitch_common::lease::Lease;
    use stitch_common::ports::NodeId;

    use super::*;

    const CELLS_MAX: usize = 50;
    const HERE: BatchRequest = BatchRequest::Shared(RangeId(1));

    fn permit(renewed_ms: u64) -> Permit {
        let mut lease = Lease::new(Duration::from_secs(30));
        let renewed = Moment::new(Duration::from_millis(renewed_ms));
        lease.renew(renewed);
        lease.permit(renewed).expect("it is valid")
    }

    fn batch(id: u64, cells: i64) -> CounterBatch {
        let slot = |bucket| CellSlot {
            granularity: Granularity::Hour,
            bucket: Bucket(bucket),
        };
        CounterBatch {
            counter: Counter::new("plays", format!("key-{id}")),
            amounts: (0..cells).map(|bucket| (slot(bucket), Amount(1))).collect(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the port says it")]
    fn nodes(nodes: [u128; 3]) -> Option<Replicas> {
        let ids = nodes.map(|node| NodeId(uuid::Uuid::from_u128(node)));
        Some(ids.into_iter().collect())
    }

    /// The ids of each request that comes of batches with this many cells, their requests and the replicas of their
    /// counters.
    fn sent(batches: Vec<(i64, BatchRequest, Option<Replicas>)>) -> Vec<Vec<u64>> {
        let mut requests = Requests::new(CELLS_MAX);
        for (id, (cells, request, replicas)) in (0..).zip(batches) {
            let batch = batch(id, cells);
            requests.add(BatchId(id), permit(0), batch, request, |_| replicas);
        }
        let ids = |request: Request| {
            assert_eq!(request.ids.len(), request.batches.len());
            request.ids.into_iter().map(|BatchId(id)| id).collect()
        };
        let sent = requests.take().into_iter().map(ids).collect();
        assert!(requests.take().is_empty(), "each is sent once");
        sent
    }

    #[test]
    fn counters_of_one_range_with_the_same_replicas_share_a_request() {
        let same = [nodes([1, 2, 3]), nodes([3, 2, 1]), nodes([2, 1, 3])];
        let batches = same.into_iter().map(|nodes| (5, HERE, nodes)).collect();
        assert_eq!(sent(batches), [[0, 1, 2]]);
    }

    #[test]
    fn counters_of_other_replicas_or_ranges_do_not() {
        let there = BatchRequest::Shared(RangeId(2));
        let batches = vec![
            (5, HERE, nodes([1, 2, 3])),
            (5, HERE, nodes([1, 2, 4])),
            (5, there, nodes([1, 2, 3])),
            (5, HERE, nodes([1, 2, 3])),
        ];
        assert_eq!(sent(batches), [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn a_counter_is_alone_if_the_engine_says_so_or_a_replica_is_not_up() {
        let batches = vec![
            (5, HERE, nodes([1, 2, 3])),
            (5, BatchRequest::Own, nodes([1, 2, 3])),
            (5, HERE, None),
            (5, HERE, None),
            (5, HERE, nodes([1, 2, 3])),
        ];
        assert_eq!(sent(batches), [vec![1], vec![2], vec![3], vec![0, 4]]);
    }

    #[test]
    fn a_request_has_ten_counters_and_the_cells_of_one_batch_at_most() {
        let of = |cells: i64, count| vec![(cells, HERE, nodes([1, 2, 3])); count];
        let counters = |sent: Vec<Vec<u64>>| -> Vec<usize> { sent.iter().map(Vec::len).collect() };
        assert_eq!(counters(sent(of(1, 23))), [10, 10, 3]);
        assert_eq!(counters(sent(of(5, 11))), [10, 1]);
        assert_eq!(counters(sent(of(20, 5))), [2, 2, 1]);
        assert_eq!(counters(sent(of(50, 2))), [1, 1]);
    }

    #[test]
    fn a_request_has_one_permit() {
        let mut requests = Requests::new(CELLS_MAX);
        for (id, renewed_ms) in [(0, 0), (1, 1), (2, 1)] {
            let batch = batch(id, 1);
            let replicas = |_: &Counter| nodes([1, 2, 3]);
            requests.add(BatchId(id), permit(renewed_ms), batch, HERE, replicas);
        }
        let permits: Vec<_> = requests.take().iter().map(|one| one.permit).collect();
        assert_eq!(permits, [permit(0), permit(1)]);
    }
}
