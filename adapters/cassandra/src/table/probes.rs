//! The existing table of probes.

use scylla::client::session::Session;

use super::{SchemaError, columns, datacenters, replication};
use crate::schema::{self, PROBES};

/// Checks that the table of probes beside this keyspace is as wanted.
pub(super) async fn check(session: &Session, keyspace: &str) -> Result<(), SchemaError> {
    let probes = schema::probes_keyspace(keyspace);
    let table = format!("{}.{PROBES}", schema::quoted(&probes));
    let Some(actual) = replication(session, &probes).await? else {
        return Err(SchemaError::ProbesMissing(table));
    };
    let datacenters = datacenters(session).await?;
    if let Some(difference) = schema::probes_replication_difference(&actual, &datacenters) {
        return Err(SchemaError::Differs {
            table: format!("keyspace \"{probes}\""),
            differences: vec![difference],
        });
    }
    let existing = columns(session, &probes, PROBES).await?;
    if existing.is_empty() {
        return Err(SchemaError::ProbesMissing(table));
    }
    let differences = schema::differences(&existing, &schema::probes_columns());
    if differences.is_empty() {
        Ok(())
    } else {
        Err(SchemaError::Differs { table, differences })
    }
}
