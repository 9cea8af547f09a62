//! Why the nodes and this program do not trust each other, if that is why no session was opened: a certificate, a user, a
//! password. No outage: it lasts until something is changed.

use scylla::errors::{
    BrokenConnectionErrorKind, ConnectionError, ConnectionPoolError,
    ConnectionSetupRequestErrorKind, DbError, FrameHeaderParseError, MetadataError,
    NewSessionError,
};

use crate::classify::is_roles_unreadable;
use stitch_common::user_error::UserError;
use stitch_config::{Cassandra, CassandraTls};

/// What the sections and messages call the configuration of TLS.
const SECTION: &str = "cassandra.tls";

/// Why no session was opened, if not for an outage.
pub(super) fn of_new_session(error: &NewSessionError, cassandra: &Cassandra) -> Option<UserError> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: error,
        },
    )) = error
    else {
        return None;
    };
    if let ConnectionError::IoError(error) = error {
        of_handshake(error.as_ref(), cassandra)
    } else if let ConnectionError::BrokenConnection(error) = error {
        of_broken(error.downcast_ref()?, cassandra)
    } else if let ConnectionError::ConnectionSetupRequestError(error) = error {
        of_setup(&error.error, cassandra)
    } else {
        None
    }
}

/// Why a node refuses this program's handshake, if it does: the driver may have written already, and then its error is a
/// broken connection that does not say why.
pub(super) async fn asked(cassandra: &Cassandra) -> Option<UserError> {
    let CassandraTls { files, verify } = cassandra.tls.as_ref()?;
    stitch_tls::refusal(
        &cassandra.nodes,
        "the Cassandra node",
        SECTION,
        files,
        *verify,
    )
    .await
}

/// A node of TLS 1.3 refuses a client only after the client's last word.
fn of_broken(error: &BrokenConnectionErrorKind, cassandra: &Cassandra) -> Option<UserError> {
    if let BrokenConnectionErrorKind::FrameHeaderParseError(FrameHeaderParseError::HeaderIoError(
        error,
    ))
    | BrokenConnectionErrorKind::WriteError(error) = error
    {
        return of_handshake(error, cassandra);
    }
    None
}

fn of_handshake(
    error: &(dyn std::error::Error + 'static),
    cassandra: &Cassandra,
) -> Option<UserError> {
    let files = &cassandra.tls.as_ref()?.files;
    stitch_tls::explain(error, &servers(cassandra), SECTION, files)
}

/// What the configuration calls the nodes: the driver does not say which one it was.
fn servers(cassandra: &Cassandra) -> String {
    let several = cassandra.nodes.iter().nth(1).is_some();
    let kind = if several {
        "one of the Cassandra nodes"
    } else {
        "the Cassandra node"
    };
    format!("{kind} {}", cassandra.nodes)
}

fn of_setup(error: &ConnectionSetupRequestErrorKind, cassandra: &Cassandra) -> Option<UserError> {
    let user = cassandra.credentials.as_ref().map(|login| &login.user);
    let nodes = &cassandra.nodes;
    match (error, user) {
        // An outage: it ends when nodes that have the roles are back.
        (ConnectionSetupRequestErrorKind::DbError(_, words), _) if is_roles_unreadable(words) => {
            None
        }
        (ConnectionSetupRequestErrorKind::BrokenConnection(error), _) => {
            of_broken(error.downcast_ref()?, cassandra)
        }
        (ConnectionSetupRequestErrorKind::MissingAuthentication, _) => Some(UserError::new(
            format!("the Cassandra nodes {nodes} require a user and a password"),
            "set cassandra.user and cassandra.password_file",
        )),
        (
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, words),
            Some(user),
        ) => Some(UserError::new(
            format!("the Cassandra nodes {nodes} do not let the user \"{user}\" in: {words}"),
            "correct cassandra.user, or its password, or let the role log in (LOGIN = true); the nodes may also have lost \
             the replica of system_auth that knows it: `nodetool status`",
        )),
        (ConnectionSetupRequestErrorKind::DbError(DbError::Unauthorized, words), user) => {
            Some(UserError::new(
                format!(
                    "the Cassandra nodes {nodes} do not let {} connect: {words}",
                    user.map_or_else(
                        || "this program".to_owned(),
                        |user| format!("the user \"{user}\"")
                    )
                ),
                "let the role connect: see ACCESS TO DATACENTERS and the authorizers of network and addresses of the cluster",
            ))
        }
        _ => None,
    }
}
