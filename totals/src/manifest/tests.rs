use super::*;
use crate::testing::instance;
use stitch_testkit::samples;

fn subject() -> Subject {
    Subject {
        namespace: "plays".to_owned(),
        instance: instance(),
        cluster: "cluster".to_owned(),
        topic: "events".to_owned(),
        definitions: samples::definitions(),
        from: samples::offsets(&[(0, 0), (1, 3)]),
        later: Vec::new(),
        cut: samples::offsets(&[(0, 10), (1, 5)]),
    }
}

fn manifest(subject: Subject) -> Manifest {
    Manifest {
        format: FORMAT,
        id: subject.id(),
        subject,
        made_at: "2026-01-02T03:04:05Z".to_owned(),
        as_of: None,
        last_records: Default::default(),
        sources: Vec::new(),
        accounts: Vec::new(),
        rows: 0,
        digest: Digest::default(),
        files: Vec::new(),
    }
}

fn name() -> ObjectName {
    ObjectName("totals/v1/plays/x/manifest.json".to_owned())
}

#[test]
fn a_manifest_is_read_back() {
    let manifest = manifest(subject());
    let read = Manifest::decode(&name(), &manifest.id, &manifest.encode());
    assert_eq!(read, Ok(manifest));
}

#[test]
fn the_same_work_has_the_same_name_and_other_work_another_one() {
    let mut ids = vec![subject().id()];
    assert_eq!(subject().id(), ids[0]);
    let changes: [fn(&mut Subject); 7] = [
        |subject| subject.namespace.push('x'),
        |subject| subject.cluster.push('x'),
        |subject| subject.topic.push('x'),
        |subject| subject.definitions.decoder_version += 1,
        |subject| subject.from = samples::offsets(&[(0, 1), (1, 3)]),
        |subject| subject.cut = samples::offsets(&[(0, 11), (1, 5)]),
        |subject| {
            subject.later.push(LateCounter {
                counter: CounterName("plays".into()),
                from: samples::offsets(&[(0, 5)]),
            });
        },
    ];
    for change in changes {
        let mut subject = subject();
        change(&mut subject);
        ids.push(subject.id());
    }
    let distinct = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), distinct);
}

#[test]
fn a_manifest_of_another_format_is_refused_by_its_number() {
    let mut manifest = manifest(subject());
    manifest.format = 2;
    let refused = Manifest::decode(&name(), &manifest.id, &manifest.encode()).unwrap_err();
    let TotalsError::Newer { format: 2, .. } = refused else {
        panic!("{refused}");
    };
    // Whatever else a later version has changed.
    let later = br#"{"format": 3, "else": []}"#;
    let refused = Manifest::decode(&name(), &manifest.id, later).unwrap_err();
    assert!(matches!(refused, TotalsError::Newer { format: 3, .. }));
}

#[test]
fn a_manifest_that_is_not_that_of_its_name_is_refused() {
    let mut other = manifest(subject());
    let id = other.id.clone();
    let refused = |manifest: &Manifest, id: &TotalsId| {
        let read = Manifest::decode(&name(), id, &manifest.encode());
        assert!(matches!(read, Err(TotalsError::Damaged { .. })), "{read:?}");
    };
    refused(&other, &TotalsId("0123456789abcdef".to_owned()));
    other.subject.cut = samples::offsets(&[(0, 11)]);
    refused(&other, &id);
    let mut without_file = manifest(subject());
    without_file.rows = 1;
    refused(&without_file, &id);
    let cut_short = &manifest(subject()).encode()[..100];
    assert!(Manifest::decode(&name(), &id, cut_short).is_err());
}

#[test]
fn totals_are_the_base_of_the_same_definitions_at_a_later_cut_alone() {
    let wanted = subject();
    let mut base = subject();
    base.cut = samples::offsets(&[(0, 9)]);
    assert_eq!(base.differs_as_base_of(&wanted), None);
    assert_eq!(wanted.differs_as_base_of(&wanted), None);
    let differs = |change: fn(&mut Subject), part: &str| {
        let mut base = base.clone();
        change(&mut base);
        let why = base.differs_as_base_of(&wanted).unwrap();
        assert!(why.contains(part), "{why}");
    };
    differs(|base| base.namespace.push('x'), "namespace playsx");
    differs(|base| base.topic.push('x'), "topic eventsx");
    differs(|base| base.instance.generation += 1, "earlier namespace");
    differs(
        |base| base.instance.table.cluster.push('x'),
        "earlier namespace",
    );
    differs(|base| base.cluster.push('x'), "cluster clusterx");
    differs(
        |base| base.definitions.decoder_version += 1,
        "decoder version",
    );
    differs(
        |base| base.cut = samples::offsets(&[(1, 6)]),
        "cut of partition 1",
    );
    differs(
        |base| base.from = samples::offsets(&[(0, 1)]),
        "partition 0 from 1 and not from 0",
    );
    // None of its records was counted: it would seem that all up to the cut were.
    differs(
        |base| base.from = base.cut.clone(),
        "partition 0 from 9 and not from 0",
    );
}
