//! Which totals a build begins with.

use super::*;

/// Cuts at checkpoints and cuts at the log's end need not follow each other in every partition. The newest have most records.
#[test]
fn older_totals_are_the_base_where_the_records_since_the_newest_are_lost() {
    let mut namespace = Namespace::new();
    namespace.has_archive = false;
    block_on(async {
        for number in 0..6 {
            namespace.play(0, "a", number);
            namespace.play(1, "b", number);
        }
        let at = async |base: BaseChoice, cut: &[(i32, i64)]| {
            let cut = samples::offsets(cut);
            let build_at = async |records: &Records<'_, _, _, _>, request: &BuildRequest<'_>| {
                let request = BuildRequest {
                    cut: Some(cut),
                    base: request.base.clone(),
                    ..*request
                };
                build(
                    &namespace.folder(),
                    records,
                    &request,
                    &SystemClock,
                    &NoProgress,
                )
                .await
            };
            namespace.with(base, &[], build_at).await
        };
        let older = at(BaseChoice::Newest, &[(0, 5), (1, 1)]).await.unwrap();
        let newest = at(BaseChoice::FromBeginning, &[(0, 3), (1, 4)])
            .await
            .unwrap();
        namespace.topic.delete_below(0, 4);
        let built = namespace.build().await.unwrap();
        let based_on = SourceKind::Totals(older.manifest.id.clone());
        assert!(
            built
                .manifest
                .sources
                .iter()
                .any(|span| span.source == based_on),
            "{built:?}"
        );
        assert!(
            built.notes[0].contains("a gap between offset 3 and offset 4"),
            "{built:?}"
        );
        let only = BaseChoice::Only(newest.manifest.id);
        let refused = namespace.build_with(only, &[]).await;
        let Err(BuildError::Records(RecordsError::Gap { from, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(from, Offset(3));
    });
}

/// A topic that was made again, whose first records nobody kept, or one that has lost its end.
#[test]
fn a_log_that_ends_below_the_newest_totals_is_refused_by_its_offsets() {
    let mut namespace = Namespace::new();
    block_on(async {
        for number in 0..6 {
            namespace.play(0, "a", number);
        }
        namespace.build().await.unwrap();
        namespace.topic = SampleTopic::default();
        for number in 0..4 {
            namespace.play(0, "other", number);
        }
        let refused = namespace.build().await.unwrap_err();
        let shorter = BuildError::Records(RecordsError::Shorter {
            partition: Partition(0),
            end: Offset(4),
            counted: Offset(6),
        });
        assert_eq!(refused, shorter);
        assert!(UserError::from(refused).help.contains("totals.md"));
        // A cut that is chosen may lie below totals: the checkpoints of processors that lag behind.
        let cut = samples::offsets(&[(0, 3)]);
        let build_at = async |records: &Records<'_, _, _, _>, request: &BuildRequest<'_>| {
            let request = BuildRequest {
                cut: Some(cut),
                base: request.base.clone(),
                ..*request
            };
            let folder = namespace.folder();
            build(&folder, records, &request, &SystemClock, &NoProgress).await
        };
        let built = namespace.with(BaseChoice::Newest, &[], build_at).await;
        let notes = built.unwrap().notes;
        assert!(notes[0].contains("passed over: their cut"), "{notes:?}");
    });
}

/// However long the log is again: as long as it was, or longer.
#[test]
fn totals_that_count_records_which_the_log_has_lost_are_no_base() {
    for is_archived in [false, true] {
        for length in [6, 9] {
            let namespace = Namespace::new();
            block_on(async {
                for number in 0..6 {
                    namespace.play(0, "a", number);
                    namespace.play(1, "b", number);
                    if number == 3 {
                        namespace.build().await.unwrap();
                    }
                }
                if is_archived {
                    // What Kafka keeps of both is not what the last records are known by.
                    namespace.topic.archive(&namespace.store, 0, &[0, 6]).await;
                    namespace
                        .topic
                        .archive(&namespace.store, 1, &[0, 2, 6])
                        .await;
                }
                let lost = namespace.build().await.unwrap().manifest;
                let last: Vec<_> = lost
                    .last_records
                    .iter()
                    .map(|(p, at)| (p.0, at.offset.0))
                    .collect();
                assert_eq!(last, [(0, 5), (1, 5)]);
                // The archive, which has the lost records, is another matter: it is refused.
                let objects = namespace.store.objects();
                let is_archived = |name: &ObjectName| name.0.starts_with("archive/");
                for name in objects.names().into_iter().filter(is_archived) {
                    objects.delete(&name);
                }
                namespace.topic.truncate(1, 5);
                while namespace.topic.end(1) < length {
                    namespace.play(1, "c", 7);
                }
                let only = BaseChoice::Only(lost.id.clone());
                let refused = namespace.build_with(only, &[]).await.unwrap_err();
                assert!(
                    refused
                        .to_string()
                        .contains("the log has lost the record at offset 5 of partition 1"),
                    "{refused}"
                );
                let built = namespace.build().await.unwrap();
                assert!(
                    built.notes[0].contains(&format!(
                        "the totals {} are passed over: the log has lost",
                        lost.id
                    )),
                    "{built:?}"
                );
                // Those of offset 4 are in order.
                assert_eq!(
                    built.records,
                    u64::try_from(2 + length - 4).unwrap(),
                    "{built:?}"
                );
                let cut = &built.manifest.subject.cut;
                assert_eq!(
                    namespace.cells(&built.manifest).await,
                    namespace.recount(cut)
                );
                let again = namespace.build().await.unwrap();
                assert_eq!((again.manifest, again.is_new), (built.manifest, false));
            });
        }
    }
}

/// Nothing is missed that Kafka has deleted with the log's beginning, and nothing follows from an old end.
#[test]
fn the_last_records_of_a_base_need_not_be_in_the_log() {
    for begin in [5, 6, 7] {
        let namespace = Namespace::new();
        block_on(async {
            for number in 0..6 {
                namespace.play(0, "a", number);
            }
            let base = namespace.build().await.unwrap().manifest;
            for number in 0..4 {
                namespace.play(0, "b", number);
            }
            namespace.topic.delete_below(0, begin.min(6));
            let at = samples::offsets(&[(0, 8)]);
            let build_at = async |records: &Records<'_, _, _, _>, request: &BuildRequest<'_>| {
                // The question for the last record is asked later: a part of the log may be gone by then.
                namespace.topic.delete_below(0, begin);
                let request = BuildRequest {
                    cut: Some(at),
                    base: request.base.clone(),
                    ..*request
                };
                plan(&namespace.folder(), records.log(), &request).await
            };
            let work = namespace
                .with(BaseChoice::Newest, &[], build_at)
                .await
                .unwrap();
            assert_eq!(work.base.map(|found| found.id), Some(base.id), "{begin}");
        });
    }
}

#[test]
fn totals_that_lack_an_added_counter_are_older_than_those_that_count_it_at_the_same_cut() {
    for events in 1..9 {
        let mut namespace = Namespace::new();
        let all = namespace.definitions.clone();
        let plays = CounterName("plays".into());
        block_on(async {
            namespace.definitions = only(&all, &[CounterName("bytes".into())]);
            for number in 0..events {
                namespace.play(0, "a", number);
            }
            namespace.build().await.unwrap();
            namespace.definitions = all;
            let added = slice::from_ref(&plays);
            let built = namespace.build_with(BaseChoice::Newest, added).await;
            let counted = built.unwrap().manifest.id;
            let again = namespace.build().await.unwrap();
            assert_eq!((&again.manifest.id, again.is_new), (&counted, false));
            namespace.play(0, "a", 1);
            let next = namespace.build().await.unwrap();
            let based_on = SourceKind::Totals(counted);
            assert_eq!(next.manifest.sources[0].source, based_on);
        });
    }
}

#[test]
fn totals_of_other_definitions_are_no_base() {
    let mut namespace = Namespace::new();
    block_on(async {
        namespace.play(0, "a", 1);
        namespace.build().await.unwrap();
        namespace.definitions.event.time = "at".to_owned();
        let built = namespace.build().await.unwrap();
        assert_eq!(built.records, 1, "all are read again");
        assert!(
            built.notes[0].contains("passed over: their definitions differ"),
            "{:?}",
            built.notes
        );
    });
}

#[test]
fn totals_from_the_beginning_replace_what_is_damaged_or_was_altered() {
    let namespace = Namespace::new();
    block_on(async {
        for number in 0..50 {
            namespace.play(0, "a", number);
        }
        let first = namespace.build().await.unwrap().manifest;
        let expected = namespace.recount(&first.subject.cut);
        let file = namespace
            .folder()
            .file(&first.id, first.files[0].first_range);
        let whole = namespace.store.objects().get(&file).unwrap().to_vec();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        let manifest = namespace.folder().manifest_name(&first.id);
        // Whole in itself, and not what the records add up to.
        let mut other = first.clone();
        let digest = other.files[0].digest;
        other.files[0].digest = digest.plus(digest);
        other.digest = other.digest.plus(digest);
        let altered = [
            (file, damaged),
            (manifest.clone(), b"no manifest".to_vec()),
            (manifest, other.encode()),
        ];
        for (name, content) in altered {
            namespace.store.objects().set(name, content);
            let again = namespace.build_with(BaseChoice::FromBeginning, &[]).await;
            let again = again.unwrap();
            assert_eq!((again.records, again.is_new), (50, true));
            assert_eq!(again.manifest.id, first.id);
            let there = namespace
                .folder()
                .manifest(&first.id)
                .await
                .unwrap()
                .unwrap();
            assert_eq!((there.digest, there.rows), (first.digest, first.rows));
            assert_eq!(namespace.cells(&there).await, expected);
        }
    });
}

/// The first member of a partition opens it where the log begins then: what was deleted before is in no count.
#[test]
fn a_partition_that_was_empty_at_the_cut_of_the_base_is_counted_from_its_origin() {
    for has_archive in [false, true] {
        let mut namespace = Namespace::new();
        namespace.has_archive = has_archive;
        block_on(async {
            namespace.play(0, "a", 1);
            for number in 0..3 {
                namespace.play(1, "b", number);
            }
            namespace.topic.delete_below(1, 3);
            let empty = namespace.build().await.unwrap();
            assert_eq!(empty.manifest.subject.cut.of(Partition(1)), Offset(3));
            for number in 0..5 {
                namespace.play(1, "b", number);
            }
            namespace.topic.archive(&namespace.store, 1, &[3, 8]).await;
            namespace.topic.delete_below(1, 8);
            namespace.origins = samples::offsets(&[(1, 8)]);
            for number in 0..2 {
                namespace.play(1, "b", number);
            }
            let built = namespace.build().await.unwrap();
            assert_eq!(built.records, 2, "{built:?}");
            let subject = &built.manifest.subject;
            assert_eq!(subject.from.of(Partition(1)), Offset(8));
            namespace.play(1, "b", 3);
            let next = namespace.build().await.unwrap();
            assert_eq!(next.records, 1, "it is the base of the next: {next:?}");
            let recount = namespace.verify(&next.manifest.id).await.unwrap();
            assert_eq!(recount.differences, [""; 0]);
        });
    }
}
