use std::collections::BTreeMap;

use stitch_common::cell::{Bucket, CellSlot, Counter, Granularity};
use stitch_common::offset::{Offset, Partition};

use super::*;
use crate::testing::{World, at, block_on};

fn all() -> CellSlot {
    CellSlot {
        granularity: Granularity::All,
        bucket: Bucket(0),
    }
}

fn held(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let cells = of.iter().map(|(name, value)| ((*name).to_owned(), *value));
    cells.collect()
}

#[test]
fn a_first_load_writes_every_cell_and_the_next_one_what_changed() {
    block_on(async {
        let world = World::new();
        for key in ["a", "b", "c"] {
            world.play(key, 5);
        }
        let first = world.build().await;
        let published = world.publish(&first, 10, false).await.unwrap();
        assert_eq!(published.loaded.unwrap().cells, 9);
        assert_eq!(published.base, Base::Table);
        world.play("b", 7);
        let second = world.build().await;
        let published = world.publish(&second, 20, false).await.unwrap();
        assert_eq!(published.loaded.unwrap().cells, 3, "those of b");
        assert_eq!(published.base, Base::Totals(first.id.0.clone()));
        let record = world.record().await.unwrap();
        let generation = record.published.unwrap();
        assert_eq!(generation.totals, second.id.0);
        assert_eq!((generation.as_of, record.loading), (at(20), None));
        assert_eq!(world.held()["bytes b all"], 12);
        assert_eq!(world.held()["plays b hour"], 2);
    });
}

#[test]
fn totals_that_are_published_already_are_read_back_move_the_as_of_and_write_nothing() {
    block_on(async {
        let world = World::new();
        world.play("a", 5);
        let totals = world.build().await;
        world.publish(&totals, 10, false).await.unwrap();
        let inserted = world.table.inserted.get();
        let published = world.publish(&totals, 30, false).await.unwrap();
        assert_eq!(
            (published.loaded, published.generation.as_of),
            (None, at(30))
        );
        let published = world.publish(&totals, 20, false).await.unwrap();
        assert_eq!(published.generation.as_of, at(30), "it never goes back");
        assert_eq!(world.table.inserted.get(), inserted);
    });
}

#[test]
fn killed_after_any_change_and_run_again_it_is_right_and_never_half_published() {
    block_on(async {
        let mut kills = 0;
        for spared in 0.. {
            let world = World::new();
            for key in ["a", "b", "c"] {
                world.play(key, 5);
            }
            let first = world.build().await;
            world.publish(&first, 10, false).await.unwrap();
            for key in ["a", "b", "d"] {
                world.play(key, -5);
            }
            let second = world.build().await;
            world.life.spare(spared);
            let killed = world.publish(&second, 20, false).await.is_err();
            let record = world.record().await.unwrap();
            let published = record.published.unwrap();
            if published.totals == second.id.0 {
                assert_eq!(world.held()["plays d all"], 1, "published as a whole");
                assert_eq!(world.held().get("bytes a all"), None);
            } else {
                assert_eq!(published.as_of, at(10));
            }
            world.life.spare(u64::MAX);
            let published = world.publish(&second, 30, false).await.unwrap();
            assert_eq!(published.generation.as_of, at(30));
            let expected = [
                ("plays a all", 2),
                ("plays a hour", 2),
                ("plays b all", 2),
                ("plays b hour", 2),
                ("plays c all", 1),
                ("plays c hour", 1),
                ("bytes c all", 5),
                ("plays d all", 1),
                ("plays d hour", 1),
                ("bytes d all", -5),
            ];
            assert_eq!(world.held(), held(&expected), "{spared}");
            if !killed {
                break;
            }
            kills += 1;
        }
        assert!(kills > 10, "{kills}");
    });
}

#[test]
fn nothing_is_published_while_older_totals_are_loaded() {
    block_on(async {
        let mut kills = 0;
        for spared in 0.. {
            let world = World::new();
            world.play("a", 5);
            let older = world.build().await;
            world.play("a", 2);
            let newer = world.build().await;
            world.publish(&newer, 20, false).await.unwrap();
            world.life.spare(spared);
            let killed = world.publish(&older, 10, false).await.is_err();
            let published = world.record().await.unwrap().published;
            let is_whole = |published: &Generation| {
                let bytes = if published.totals == older.id.0 { 5 } else { 7 };
                world.held()["bytes a all"] == bytes
            };
            assert!(
                published.as_ref().is_none_or(is_whole),
                "{spared}: {published:?}"
            );
            world.life.spare(u64::MAX);
            world.publish(&older, 10, false).await.unwrap();
            assert_eq!(world.held()["bytes a all"], 5);
            if !killed {
                break;
            }
            kills += 1;
        }
        assert!(kills > 3, "{kills}");
    });
}

/// A world in which the first of two totals are published, and the others have more of `a`, and `b` besides.
async fn published_and_newer() -> (World, Manifest, Manifest) {
    let world = World::new();
    world.play("a", 5);
    let published = world.build().await;
    world.publish(&published, 10, false).await.unwrap();
    world.play("a", 2);
    world.play("b", 3);
    let newer = world.build().await;
    (world, published, newer)
}

#[test]
fn a_load_that_was_given_up_leaves_nothing_to_the_next_one() {
    block_on(async {
        for spared in 0..20 {
            let (world, _, given_up) = published_and_newer().await;
            // Adds up, in the end, to what is published: no difference of totals shows what the given-up load has left.
            world.play("a", -2);
            world.play("b", -3);
            let last = world.build().await;
            world.life.spare(spared);
            let killed = world.publish(&given_up, 20, false).await.is_err();
            // And killed itself, and run again.
            world.life.spare(4);
            let again = world.publish(&last, 30, false).await.is_err();
            world.life.spare(u64::MAX);
            world.publish(&last, 30, false).await.unwrap();
            assert_eq!(world.held()["bytes a all"], 5, "{spared} {killed} {again}");
            assert_eq!(world.held().get("bytes b all"), None);
            assert_eq!(world.held()["plays b all"], 2);
        }
    });
}

/// Of a load that was interrupted everything may be on its way, and arrive when a load of other totals has ended.
#[test]
fn what_an_interrupted_load_has_sent_loses_against_the_next_one_however_late_it_arrives() {
    block_on(async {
        let (changed, added) = (Counter::new("bytes", "a"), Counter::new("bytes", "b"));
        for delete in [false, true] {
            let (world, first, interrupted) = published_and_newer().await;
            world.table.away.set(1000);
            world.publish(&interrupted, 20, false).await.unwrap_err();
            world.table.away.set(0);
            let sent = world.record().await.unwrap().loading.unwrap();
            assert_eq!(sent.totals, interrupted.id.0);
            assert_eq!(world.held()["bytes a all"], 5);
            if delete {
                world.folder().delete(&interrupted.id).await.unwrap();
            }
            let published = world.publish(&first, 30, false).await.unwrap();
            world.table.set(&changed, all(), sent.written.0, 7);
            assert_eq!(world.held()["bytes a all"], 5, "{published:?}");
            world.table.set(&added, all(), sent.written.0, 3);
            let found = world.held().get("bytes b all").copied();
            if delete {
                assert!(published.notes[0].contains("they are deleted"));
                assert_eq!(found, Some(3), "nothing knows of it any more");
                let again = world.publish(&first, 40, false).await.unwrap();
                assert_eq!(again.loaded.unwrap().zeroed, 1);
            } else {
                assert_eq!(found, None);
                assert_eq!(published.notes, Vec::<String>::new());
            }
            assert_eq!(world.held().get("bytes b all"), None);
            let loading = world.record().await.unwrap().loading;
            assert_eq!(loading, None, "it is published, and they are forgotten");
        }
    });
}

#[test]
fn cells_that_add_up_to_nothing_hold_nothing_and_are_said() {
    block_on(async {
        let world = World::new();
        world.play("a", 5);
        world
            .publish(&world.build().await, 10, false)
            .await
            .unwrap();
        world.play("a", -5);
        let published = world
            .publish(&world.build().await, 20, false)
            .await
            .unwrap();
        assert_eq!(published.loaded.unwrap().zeroed, 1);
        assert!(
            published.notes[0].contains("1 cells add up to 0"),
            "{published:?}"
        );
        assert_eq!(world.held().get("bytes a all"), None);
    });
}

#[test]
fn what_something_else_has_written_is_overwritten_by_the_next_load_or_named() {
    block_on(async {
        let world = World::new();
        let counter = Counter::new("bytes", "a");
        world.play("a", 5);
        let first = world.build().await;
        world.publish(&first, 10, false).await.unwrap();
        // A little later than the load.
        world.table.set(&counter, all(), 1_000_000_001, 77);
        world.play("b", 1);
        let second = world.build().await;
        let published = world.publish(&second, 20, false).await.unwrap();
        assert_eq!(world.held()["bytes a all"], 5);
        assert_eq!(published.base, Base::Table);
        assert!(
            published.notes[0].contains("something else"),
            "{published:?}"
        );
        // Nothing new was counted, and what is published is read back all the same.
        world.table.set(&counter, all(), 1_000_000_002, 78);
        let published = world.publish(&second, 30, false).await.unwrap();
        assert_eq!(published.loaded.unwrap().cells, 1);
        assert_eq!(world.held()["bytes a all"], 5);
        assert!(
            published.notes[0].contains("something else"),
            "{published:?}"
        );
        world.publish(&second, 30, true).await.unwrap();
        // From the future: no load wins over it.
        world.table.set(&counter, all(), i64::MAX - 1, 79);
        for against_table in [false, true] {
            let error = world.publish(&second, 40, against_table).await.unwrap_err();
            assert!(matches!(error, BatchError::Differs { .. }), "{error}");
        }
        let record = world.record().await.unwrap();
        assert_eq!(record.published.unwrap().as_of, at(30));
    });
}

/// The totals are lost, and Kafka has deleted the first records meanwhile. No processor knows where counting began.
#[test]
fn totals_that_lack_the_beginning_of_what_was_published_are_not_published_as_all_of_history() {
    block_on(async {
        let mut world = World::new();
        for _ in 0..5 {
            world.play("a", 5);
        }
        let first = world.build().await;
        world.publish(&first, 10, false).await.unwrap();
        world.topic.delete_below(0, 3);
        world.play("a", 5);
        let whole = std::mem::take(&mut world.store);
        let rest = world.build().await;
        for made_again in [false, true] {
            world.has_another_table.set(made_again);
            let error = world.publish(&rest, 20, false).await.unwrap_err();
            let begins_later = BatchError::BeginsLater {
                totals: rest.id.0.clone(),
                partition: Partition(0),
                from: Offset(3),
                before: Offset(0),
            };
            assert_eq!(error, begins_later);
            assert_eq!(world.held()["bytes a all"], 25, "nothing was written");
        }
        world.has_another_table.set(false);
        world.store = whole;
        let all = world.build().await;
        world.publish(&all, 30, false).await.unwrap();
        assert_eq!(world.held()["bytes a all"], 30);
    });
}

#[test]
fn no_as_of_is_said_of_what_cannot_be_read_back() {
    block_on(async {
        let world = World::new();
        world.play("a", 5);
        let totals = world.build().await;
        world.publish(&totals, 10, false).await.unwrap();
        world.table.away.set(1000);
        world.publish(&totals, 20, false).await.unwrap_err();
        world.table.away.set(0);
        let record = world.record().await.unwrap();
        assert_eq!(record.published.unwrap().as_of, at(10));
        let published = world.publish(&totals, 20, false).await.unwrap();
        assert_eq!(
            (published.loaded, published.generation.as_of),
            (None, at(20))
        );
    });
}

#[test]
fn rows_of_no_counter_are_not_published_as_whole() {
    block_on(async {
        let world = World::new();
        world.play("a", 5);
        world.table.set(&Counter::new("else", "a"), all(), 1, 1);
        let error = world
            .publish(&world.build().await, 10, false)
            .await
            .unwrap_err();
        let BatchError::Differs { foreign, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(foreign, 1);
        assert_eq!(world.record().await.unwrap().published, None);
    });
}

#[test]
fn a_load_waits_for_cassandra_and_says_when_it_gives_up() {
    block_on(async {
        let world = World::new();
        world.play("a", 5);
        let totals = world.build().await;
        world.table.away.set(5);
        world.publish(&totals, 10, false).await.unwrap();
        world.play("a", 5);
        let totals = world.build().await;
        world.table.away.set(1000);
        let error = world.publish(&totals, 20, false).await.unwrap_err();
        let error = stitch_common::user_error::UserError::from(error);
        assert!(error.help.contains("[batch.cassandra]"), "{error:?}");
        world.table.away.set(0);
        let record = world.record().await.unwrap();
        assert_eq!(record.published.unwrap().as_of, at(10));
        world.publish(&totals, 20, false).await.unwrap();
        assert_eq!(world.held()["bytes a all"], 10);
    });
}

#[test]
fn without_the_lock_nothing_is_published() {
    block_on(async {
        let world = World::new();
        world.play("a", 5);
        let totals = world.build().await;
        let lose = |tree: &mut stitch_testkit::zookeeper::Tree| {
            let entries: Vec<String> = tree
                .below("/stitch/plays/batch")
                .map(|(path, _)| path.to_owned())
                .collect();
            for entry in entries {
                tree.delete(&entry, None).unwrap();
            }
        };
        let error = world
            .publish_then(&totals, 10, false, lose)
            .await
            .unwrap_err();
        let lost = BatchError::ZooKeeper(stitch_protocol::Error::Lost {
            path: "/stitch/plays/batch".to_owned(),
        });
        assert_eq!(error, lost);
        assert_eq!(world.record().await, None);
    });
}

#[test]
fn one_process_loads_at_a_time_and_the_other_knows_which() {
    block_on(async {
        let world = World::new();
        let (one, two) = (world.session(), world.session());
        let mut held = stitch_batch::batch_lock::new(&one, "first", 7);
        let granted = stitch_batch::batch_lock::try_granted(&mut held, &one).await;
        assert_eq!(granted, Ok(None));
        let mut waiting = stitch_batch::batch_lock::new(&two, "second", 8);
        let holder = stitch_batch::batch_lock::try_granted(&mut waiting, &two).await;
        let holder = holder.unwrap().unwrap();
        assert_eq!((&*holder.host, holder.process_id), ("first", 7));
        held.release(&one).await.unwrap();
        let granted = stitch_batch::batch_lock::try_granted(&mut waiting, &two).await;
        assert_eq!(granted, Ok(None));
        waiting.release(&two).await.unwrap();
    });
}
