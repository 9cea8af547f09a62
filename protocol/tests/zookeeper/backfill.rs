//! Backfills that are pending.

use futures_util::future::try_join_all;
use stitch_common::cell::{CounterName, Granularity};
use stitch_common::definition::{AmountSource, CounterDefinition};
use stitch_common::ports::Session;
use stitch_common::range::RangeId;
use stitch_protocol::definition_node::{self, NamespaceRecord, UpdateOutcome};
use stitch_protocol::restoration::RestorationLock;
use stitch_protocol::{backfill, snapshot};

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{Namespace, RANGE, SESSION, TestSession, bits, record, server, soon};

/// `record` with a counter of this name.
fn with_counter(record: &NamespaceRecord, name: &str) -> NamespaceRecord {
    let mut added = record.clone();
    let definition = CounterDefinition {
        name: CounterName(name.into()),
        on: vec!["play".to_owned()],
        key: "track".to_owned(),
        amount: AmountSource::Fixed(1),
        granularities: Granularity::DEFAULT.to_vec(),
    };
    added.definitions.counters.push(definition);
    added
}

/// Defines the namespace with `plays`, and adds `likes`.
async fn add(session: &TestSession) -> UpdateOutcome {
    let first = with_counter(&record(), "plays");
    let known = definition_node::create(session, &first).await.unwrap();
    let mut lock = RestorationLock::new(session, "here", 1);
    soon(lock.wait_granted(session)).await.unwrap();
    let added = with_counter(&first, "likes");
    let outcome = soon(definition_node::update(session, &lock, &known, &added)).await;
    lock.release(session).await.unwrap();
    outcome.unwrap()
}

#[tokio::test]
async fn an_added_counter_lacks_its_past_in_every_range_until_each_is_complete() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    assert_eq!(add(&session).await, UpdateOutcome::Written);
    let pending = backfill::list(&session, bits()).await.unwrap();
    let names: Vec<_> = pending.iter().map(|one| &*one.counter.0).collect();
    assert_eq!(names, ["likes"], "what was there before lacks nothing");
    assert_eq!(pending[0].record.ranges.iter().count(), 8);
    let likes = pending[0].counter.clone();
    backfill::complete(&session, &likes, RANGE, bits())
        .await
        .unwrap();
    backfill::complete(&session, &likes, RANGE, bits())
        .await
        .unwrap();
    let light = snapshot::light(&session, bits()).await.unwrap();
    let full = snapshot::full(&session, bits()).await.unwrap();
    for uncertainty in [light.uncertainty, full.uncertainty()] {
        let certain = bits()
            .ranges()
            .filter(|range| uncertainty.is_certain(*range));
        assert_eq!(certain.collect::<Vec<_>>(), [RANGE]);
    }
    // The ranges of one restoration end beside each other.
    let rest = bits().ranges().filter(|range| *range != RANGE);
    let rest = rest.map(|range| backfill::complete(&session, &likes, range, bits()));
    try_join_all(rest).await.unwrap();
    assert_eq!(backfill::list(&session, bits()).await.unwrap(), []);
    let path = session.paths().backfill(&likes);
    assert_eq!(session.get(&path).await.unwrap(), None);
    namespace.remove().await;
}

#[tokio::test]
async fn a_backfill_begins_and_ends_once_whether_the_request_or_the_answer_is_lost() {
    for lose in [Fault::Answer, Fault::Request] {
        let namespace = Namespace::new().await;
        let proxy = Proxy::before(server()).await;
        let session = namespace.session_by(&proxy, SESSION).await;
        proxy.lose(lose(RequestKind::Multi));
        assert_eq!(add(&session).await, UpdateOutcome::Written);
        assert!(proxy.has_lost_it());
        let likes = CounterName("likes".into());
        for (range, kind) in (0..8).zip(
            [RequestKind::SetData; 7]
                .into_iter()
                .chain([RequestKind::Delete]),
        ) {
            proxy.lose(lose(kind));
            let complete = backfill::complete(&session, &likes, RangeId(range), bits());
            soon(complete).await.unwrap();
            assert!(proxy.has_lost_it());
            let left = backfill::list(&session, bits()).await.unwrap();
            let left = left
                .first()
                .map_or(0, |pending| pending.record.ranges.iter().count());
            assert_eq!(left, 7 - usize::from(range));
        }
        namespace.remove().await;
    }
}

/// Whatever became of the record, its counter lacks its past.
#[tokio::test]
async fn a_damaged_record_says_that_every_range_is_pending_and_is_mended_by_restorations() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    assert_eq!(add(&session).await, UpdateOutcome::Written);
    let likes = CounterName("likes".into());
    let path = session.paths().backfill(&likes);
    session.zookeeper().set(&path, b"{", None).await.unwrap();
    let pending = async || backfill::list(&session, bits()).await.unwrap();
    assert_eq!(pending().await[0].record.ranges.iter().count(), 8);
    assert!(
        pending().await[0].record.since.timestamp() > 0,
        "when its node was made"
    );
    backfill::complete(&session, &likes, RANGE, bits())
        .await
        .unwrap();
    assert_eq!(pending().await[0].record.ranges.iter().count(), 7);
    namespace.remove().await;
}

/// Namespaces from before there were backfills have no directory for them.
#[tokio::test]
async fn without_the_directory_nothing_is_pending_and_nothing_is_added() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    session.delete(&session.paths().backfills()).await.unwrap();
    assert_eq!(backfill::list(&session, bits()).await.unwrap(), []);
    let first = with_counter(&record(), "plays");
    let known = definition_node::create(&session, &first).await.unwrap();
    let mut lock = RestorationLock::new(&session, "here", 1);
    soon(lock.wait_granted(&session)).await.unwrap();
    let added = with_counter(&first, "likes");
    let refused = definition_node::update(&session, &lock, &known, &added).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("stitch-processor init"), "{text}");
    let now = definition_node::read(&session).await.unwrap();
    assert_eq!(now, Some(known), "neither is changed");
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}
