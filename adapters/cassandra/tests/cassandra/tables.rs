//! Creating the table, and recognising another one.

use stitch_cassandra::{
    BATCH_TABLE, COUNTS_TABLE, EnsureOutcome, Replication, SchemaError, SpeculativeRetry,
    set_speculative_retry,
};
use stitch_common::ports::{Cql, Store, StoreError};

use crate::support::{Keyspace, bare_session, member};

fn once() -> Replication {
    "1".parse().unwrap()
}

#[tokio::test]
async fn init_creates_what_is_missing_and_changes_nothing_that_exists() {
    let keyspace = Keyspace::named();
    let schema = keyspace.cql().connect_schema().await.unwrap();
    assert_eq!(
        schema.ensure(Some(&once())).await,
        Ok(EnsureOutcome::Created)
    );
    let identity = schema.check().await.unwrap();
    assert_eq!(
        schema.ensure(Some(&once())).await,
        Ok(EnsureOutcome::Unchanged)
    );
    assert_eq!(schema.ensure(None).await, Ok(EnsureOutcome::Unchanged));
    assert_eq!(schema.check().await.unwrap(), identity);
    assert_eq!(keyspace.store().await.table(), &identity);
}

#[tokio::test]
async fn a_session_says_which_table_has_the_name_that_it_counts_in() {
    let keyspace = Keyspace::ready().await;
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let store = keyspace.store().await;
    let joined = schema.check().await.unwrap();
    assert_eq!(store.current_table().await, Ok(Some(joined.clone())));
    let session = bare_session().await;
    let drop = format!("DROP TABLE {}.counts", keyspace.name);
    session.query_unpaged(drop, ()).await.unwrap();
    assert_eq!(store.current_table().await, Ok(None));
    schema.ensure(None).await.unwrap();
    let again = schema.check().await.unwrap();
    assert_ne!(again, joined);
    assert_eq!(store.current_table().await, Ok(Some(again)));
}

#[tokio::test]
async fn a_read_of_the_tables_waits_shortly_for_a_silent_replica() {
    let keyspace = Keyspace::ready().await;
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let wanted = Some(SpeculativeRetry::wanted());
    assert_eq!(schema.speculation(COUNTS_TABLE).await.unwrap(), wanted);
    assert_eq!(schema.speculation(BATCH_TABLE).await.unwrap(), None);
    schema.ensure_batch(None).await.unwrap();
    assert_eq!(schema.speculation(BATCH_TABLE).await.unwrap(), wanted);

    let session = bare_session().await;
    let defaults = format!(
        "ALTER TABLE {}.counts WITH speculative_retry = '99p' AND additional_write_policy = '99p'",
        keyspace.name
    );
    session.query_unpaged(defaults, ()).await.unwrap();
    let found = schema.speculation(COUNTS_TABLE).await.unwrap().unwrap();
    assert!(found.depends_on_earlier_reads(), "{found:?}");
    let statement = set_speculative_retry(&keyspace.name, COUNTS_TABLE);
    session.query_unpaged(statement, ()).await.unwrap();
    assert_eq!(schema.speculation(COUNTS_TABLE).await.unwrap(), wanted);
}

#[tokio::test]
async fn a_missing_keyspace_is_reported_with_a_statement_that_creates_it() {
    let keyspace = Keyspace::named();
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let error = schema.ensure(None).await.unwrap_err();
    let SchemaError::KeyspaceMissing { statement, .. } = error else {
        panic!("{error}");
    };
    bare_session()
        .await
        .query_unpaged(statement, ())
        .await
        .unwrap();
    assert_eq!(schema.ensure(None).await, Ok(EnsureOutcome::Created));
    let replication = schema.replication().await.unwrap().unwrap();
    assert_eq!(
        replication["class"],
        "org.apache.cassandra.locator.NetworkTopologyStrategy"
    );
}

#[tokio::test]
async fn a_table_that_was_dropped_and_created_again_is_another_one() {
    let keyspace = Keyspace::ready().await;
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let before = schema.check().await.unwrap();
    let drop = format!("DROP TABLE {}.counts", keyspace.name);
    bare_session().await.query_unpaged(drop, ()).await.unwrap();
    assert!(matches!(
        schema.check().await,
        Err(SchemaError::TableMissing(_))
    ));
    schema.ensure(None).await.unwrap();
    let after = schema.check().await.unwrap();
    assert_eq!(before.cluster, after.cluster);
    assert_ne!(before.table, after.table);
}

#[tokio::test]
async fn a_table_that_another_namespace_owns_is_refused_everywhere() {
    let keyspace = Keyspace::ready().await;
    let mut other = Keyspace::named();
    other.config.cassandra.keyspace.clone_from(&keyspace.name);
    let schema = other.cql().connect_schema().await.unwrap();
    for refused in [
        schema.ensure(None).await.map(|_| ()),
        schema.check().await.map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, SchemaError::Claimed { by, .. }
                if by.to_string() == format!("/stitch/{}", keyspace.name)),
            "{error}"
        );
    }
    let error = other.cql().connect_store(&member(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(keyspace.cql().connect_store(&member(1)).await.is_ok());
}

#[tokio::test]
async fn a_table_without_an_owner_is_claimed_by_init_alone() {
    let keyspace = Keyspace::ready().await;
    let session = bare_session().await;
    let clear_owner = format!(
        "ALTER TABLE {}.counts WITH comment = 'counts'",
        keyspace.name
    );
    session.query_unpaged(clear_owner, ()).await.unwrap();
    assert!(keyspace.cql().connect_store(&member(1)).await.is_err());
    let schema = keyspace.cql().connect_schema().await.unwrap();
    assert!(matches!(
        schema.check().await,
        Err(SchemaError::Unclaimed(_))
    ));
    assert_eq!(schema.ensure(None).await, Ok(EnsureOutcome::Claimed));
    assert_eq!(schema.ensure(None).await, Ok(EnsureOutcome::Unchanged));
}

#[tokio::test]
async fn a_table_of_another_schema_and_a_keyspace_of_another_replication_are_reported() {
    let keyspace = Keyspace::named();
    let session = bare_session().await;
    let make = format!(
        "CREATE KEYSPACE {} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
        keyspace.name
    );
    session.query_unpaged(make, ()).await.unwrap();
    let make = format!(
        "CREATE TABLE {}.counts (counter text, key blob, granularity text, bucket timestamp, value counter, \
         PRIMARY KEY (counter, key, granularity, bucket)) WITH CLUSTERING ORDER BY (key ASC, granularity DESC, bucket ASC)",
        keyspace.name
    );
    session.query_unpaged(make, ()).await.unwrap();
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let error = schema.ensure(Some(&once())).await.unwrap_err();
    let SchemaError::Differs { differences, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        differences,
        [
            "column \"bucket\": wanted timestamp clustering 1 asc, in the table timestamp clustering 2 asc",
            "column \"granularity\": wanted text clustering 0 asc, in the table text clustering 1 desc",
            "column \"key\": wanted text partition_key 1, in the table blob clustering 0 asc",
        ]
    );
    let error = schema
        .ensure(Some(&"3".parse().unwrap()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("replication: wanted 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_data_centre_and_an_unreachable_server_are_reported() {
    let mut keyspace = Keyspace::ready().await;
    keyspace.config.cassandra.local_datacenter = Some("nowhere".to_owned());
    let error = keyspace.cql().connect_store(&member(1)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Refused(why) if why.contains("nowhere")),
        "{error}"
    );
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let error = schema.ensure(Some(&"nowhere=1".parse().unwrap())).await;
    assert!(error.is_err());

    keyspace.config.cassandra.nodes = "127.0.0.1:1".parse().unwrap();
    let error = keyspace.cql().connect_store(&member(1)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("127.0.0.1:1")),
        "{error}"
    );
}

#[tokio::test]
async fn the_table_of_probes_is_created_checked_and_created_again() {
    let keyspace = Keyspace::ready().await;
    let schema = keyspace.cql().connect_schema().await.unwrap();
    let session = bare_session().await;
    let probes = format!("{}_probes", keyspace.name);
    for missing in [
        format!("DROP TABLE {probes}.probes"),
        format!("DROP KEYSPACE {probes}"),
    ] {
        session.query_unpaged(missing, ()).await.unwrap();
        let error = schema.check().await.unwrap_err();
        assert!(matches!(error, SchemaError::ProbesMissing(_)), "{error}");
        assert_eq!(schema.ensure(None).await, Ok(EnsureOutcome::Created));
        assert!(schema.check().await.is_ok());
    }
    let alter = format!(
        "ALTER KEYSPACE {probes} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 3}}"
    );
    session.query_unpaged(alter, ()).await.unwrap();
    let error = schema.check().await.unwrap_err().to_string();
    assert!(
        error.contains("replication") && error.contains("_probes"),
        "{error}"
    );
}
