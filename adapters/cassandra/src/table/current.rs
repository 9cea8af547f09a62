//! Which table has a name now.

use scylla::client::execution_profile::ExecutionProfileHandle;
use scylla::client::session::Session;
use scylla::statement::Statement;
use stitch_common::ports::StoreError;
use uuid::Uuid;

use super::row;

/// The id of the table that has this name now; `None` if there is none. A session's statements go to that one, whichever it
/// was connected to: the driver prepares a statement again when its table was dropped and made again, and says nothing of it.
pub(crate) async fn current_id(
    session: &Session,
    keyspace: &str,
    name: &str,
    profile: Option<ExecutionProfileHandle>,
) -> Result<Option<Uuid>, StoreError> {
    let mut statement = Statement::new(
        "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
    );
    statement.set_execution_profile_handle(profile);
    let id: Option<(Uuid,)> = row(session, statement, (keyspace, name)).await?;
    Ok(id.map(|(id,)| id))
}
