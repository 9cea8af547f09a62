//! Becomes a member of the namespace that was validated.

use stitch_common::clock::Clock;
use stitch_common::ports::{Cql, EventLog, Session};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use super::validate::{Error, ValidatedNamespace, validate};
use crate::NamespaceSession;
use crate::membership::{self, JoinOutcome, MemberInfo};

/// Validates the namespace, and joins it by the definition that was read; again, if that has changed meanwhile. What was
/// observed must also pass `check`. Cancelled, it may have joined.
///
/// # Errors
/// Those of [`validate()`] and [`membership::join`], and the one of `check`, as a mismatch.
pub async fn join<S: Session, C: Clock, Q: Cql, L: EventLog>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    log: &L,
    config: &Config,
    info: &MemberInfo,
    check: impl Fn(&ValidatedNamespace) -> Result<(), UserError>,
) -> Result<ValidatedNamespace, Error> {
    loop {
        let validated = validate(session, cql, log, config).await?;
        check(&validated).map_err(Error::Mismatch)?;
        match membership::join(session, validated.definition.version, info).await? {
            JoinOutcome::Member(_) => return Ok(validated),
            JoinOutcome::DefinitionChanged => {}
        }
    }
}
