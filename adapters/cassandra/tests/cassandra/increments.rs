//! Increments and their outcomes.

use std::time::Duration;

use stitch_common::cell::{Count, Counter, Granularity};
use stitch_common::outcome::Outcome;
use stitch_common::ports::{CellSelection, Level, Store};

use crate::support::{Keyspace, add, all_of, bare_session, batch, hour, permit, permit_from, slot};

fn plays() -> Counter {
    Counter::new("plays", "Ünïcode — 曲")
}

#[tokio::test]
async fn increments_of_one_batch_are_applied_each_to_its_cell() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let all = slot(Granularity::All, 0);
    let year = slot(Granularity::Year, -62_135_596_800_000);
    add(
        &store,
        &plays(),
        &[(hour(-1), 2), (hour(1), -5), (all, 7), (year, 1)],
    )
    .await;
    add(&store, &plays(), &[(hour(1), 4)]).await;
    assert_eq!(
        all_of(&store, &plays()).await,
        [(all, 7), (hour(-1), 2), (hour(1), -1), (year, 1)],
        "in the table's order"
    );
}

#[tokio::test]
async fn counters_wrap_at_64_bits_and_may_be_negative() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    add(
        &store,
        &plays(),
        &[(hour(0), i64::MAX), (hour(1), i64::MIN)],
    )
    .await;
    add(&store, &plays(), &[(hour(0), 1), (hour(1), -1)]).await;
    assert_eq!(
        all_of(&store, &plays()).await,
        [(hour(0), i64::MIN), (hour(1), i64::MAX)]
    );
    let back = Count(5).minus(Count(i64::MIN));
    add(&store, &plays(), &[(hour(0), back.0)]).await;
    assert_eq!(all_of(&store, &plays()).await[0], (hour(0), 5));
}

#[tokio::test]
async fn counters_of_one_request_are_incremented_each_by_its_own_amounts() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let counters: Vec<_> = (0..10)
        .map(|n| Counter::new("plays", format!("track-{n}")))
        .collect();
    let amounts = |n: i64| [(hour(0), n), (hour(1), -n), (slot(Granularity::All, 0), 1)];
    let batches: Vec<_> = (1..)
        .zip(&counters)
        .map(|(n, counter)| batch(counter, &amounts(n)))
        .collect();
    for _ in 0..2 {
        assert_eq!(store.increment(permit(), &batches).await, Outcome::Applied);
    }
    for (n, counter) in (1..).zip(&counters) {
        let twice = [
            (slot(Granularity::All, 0), 2),
            (hour(0), 2 * n),
            (hour(1), -2 * n),
        ];
        assert_eq!(all_of(&store, counter).await, twice, "{counter}");
    }
}

#[tokio::test]
async fn one_counter_that_is_refused_has_the_whole_request_refused() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let many: Vec<_> = (0..20_000).map(|n| (hour(n), 1)).collect();
    let large = batch(&Counter::new("plays", "k".repeat(1024)), &many);
    let small = batch(&plays(), &[(hour(0), 1)]);
    for batches in [[small.clone(), large.clone()], [large, small]] {
        let outcome = store.increment(permit(), &batches).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        assert_eq!(all_of(&store, &plays()).await, []);
    }
}

#[tokio::test]
async fn replicas_are_known_while_all_of_them_are_admitted() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let replicas = store.replicas(&plays());
    assert!(replicas.is_some());
    assert_eq!(store.replicas(&Counter::new("plays", "other")), replicas);
    store.admit(&[]);
    assert_eq!(store.replicas(&plays()), None);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_refused_as_a_whole() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let counter = Counter::new("plays", "k".repeat(1024));
    for cells in [20_000, 70_000] {
        let large: Vec<_> = (0..cells).map(|n| (hour(n), 1)).collect();
        let outcome = store.increment(permit(), &[batch(&counter, &large)]).await;
        assert!(
            matches!(outcome, Outcome::Refused(_)),
            "{cells} cells: {outcome:?}"
        );
        assert_eq!(all_of(&store, &counter).await, []);
    }
    let small: Vec<_> = (0..20).map(|n| (hour(n), 1)).collect();
    add(&store, &counter, &small).await;
    assert_eq!(all_of(&store, &counter).await.len(), 20);
}

#[tokio::test]
async fn a_batch_larger_than_the_cached_ones_is_applied() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let many: Vec<_> = (0..200).map(|n| (hour(n), n + 1)).collect();
    add(&store, &plays(), &many).await;
    assert_eq!(all_of(&store, &plays()).await, many);
}

#[tokio::test]
async fn nothing_is_sent_under_an_expired_permit() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let ended = permit_from(Duration::from_secs(61));
    let outcome = store
        .increment(ended, &[batch(&plays(), &[(hour(0), 1)])])
        .await;
    assert!(matches!(outcome, Outcome::NotApplied(_)), "{outcome:?}");
    assert_eq!(all_of(&store, &plays()).await, []);
}

#[tokio::test]
async fn nothing_is_sent_to_a_node_that_is_not_admitted() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let nodes = store.nodes().await;
    assert!(!nodes.is_empty());
    store.admit(&[]);
    assert!(store.nodes().await.iter().all(|known| known.own_address));
    let increment = [batch(&plays(), &[(hour(0), 1)])];
    let outcome = store.increment(permit(), &increment).await;
    assert!(matches!(outcome, Outcome::NotApplied(_)), "{outcome:?}");
    assert_eq!(all_of(&store, &plays()).await, []);
    let ids: Vec<_> = nodes.iter().map(|known| known.node.id).collect();
    store.admit(&ids);
    assert_eq!(
        store.increment(permit(), &increment).await,
        Outcome::Applied
    );
}

#[tokio::test]
async fn increments_and_reads_of_a_dropped_table_are_refused() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let drop = format!("DROP TABLE {}.counts", keyspace.name);
    bare_session().await.query_unpaged(drop, ()).await.unwrap();
    let outcome = store
        .increment(permit(), &[batch(&plays(), &[(hour(0), 1)])])
        .await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    let read = store.read(&plays(), CellSelection::Whole, Level::All).await;
    assert!(
        matches!(read, Err(stitch_common::ports::StoreError::Refused(_))),
        "{read:?}"
    );
}

/// The reason why a cell deleted by hand is reported by name: Cassandra loses the increments that follow.
#[tokio::test]
async fn a_cell_that_was_deleted_by_hand_ignores_increments() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    add(&store, &plays(), &[(hour(0), 7), (hour(1), 1)]).await;
    delete(&keyspace, "DELETE value").await;
    add(&store, &plays(), &[(hour(0), 3), (hour(1), 1)]).await;
    assert_eq!(
        all_of(&store, &plays()).await,
        [(hour(1), 2)],
        "the increment was acknowledged, and is invisible"
    );
}

/// A deleted *row* reappears with the next increment, with or without its former count: so it is read, not assumed to be
/// 0.
#[tokio::test]
async fn a_row_that_was_deleted_by_hand_is_missing_until_the_next_increment() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    add(&store, &plays(), &[(hour(0), 7)]).await;
    delete(&keyspace, "DELETE").await;
    assert_eq!(all_of(&store, &plays()).await, []);
    add(&store, &plays(), &[(hour(0), 3)]).await;
    let cells = all_of(&store, &plays()).await;
    assert!([3, 10].contains(&cells[0].1), "{cells:?}");
}

async fn delete(keyspace: &Keyspace, delete: &str) {
    let delete = format!(
        "{delete} FROM {}.counts WHERE counter = 'plays' AND key = ? AND granularity = 'hour' AND bucket = 0",
        keyspace.name
    );
    let session = bare_session().await;
    let key = (&*plays().key.0,);
    session.query_unpaged(delete, key).await.unwrap();
}

#[tokio::test]
async fn few_and_many_named_cells_are_read_at_both_levels() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let mut written: Vec<_> = (0..1500).map(|n| (hour(n), n + 1)).collect();
    written.push((slot(Granularity::Month, 0), 9));
    for part in written.chunks(100) {
        add(&store, &plays(), part).await;
    }
    for level in [Level::All, Level::Quorum] {
        for count in [0, 1, 100, 101, 999, 1000, 1501] {
            let mut wanted: Vec<_> = written[..count].iter().map(|(slot, _)| *slot).collect();
            wanted.push(slot(Granularity::Day, 0));
            let read = store
                .read(&plays(), CellSelection::Cells(&wanted), level)
                .await
                .unwrap();
            let expected: Vec<_> = written[..count]
                .iter()
                .map(|(slot, amount)| (*slot, Count(*amount)))
                .collect();
            assert_eq!(
                read, expected,
                "{count} cells at {level:?}; one was never written"
            );
        }
    }
}
