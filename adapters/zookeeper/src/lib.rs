//! The ZooKeeper adapter: implements the ports [`ZooKeeper`](stitch_common::ports::ZooKeeper) and [`Session`] over
//! `zookeeper-client`, and is the only crate that depends on that client.
//!
//! Start with [`ZooKeeperClient`], which opens a [`ZooKeeperSession`]. `acl` says who may change its nodes. `classify`
//! decides which of the client's errors are definite and which are ambiguous; everything in the protocol rests on that.
//!
//! Deliberately absent: the client's own lock recipe (cancelling it leaks the node), its persistent watches (they die
//! silently with a reconnect) and detached sessions. Requests made while the connection is down are queued and sent after
//! the next connect, and dropping a future does not withdraw its request: the recipes in `stitch-protocol` cope with
//! both.

mod acl;
mod certificates;
mod client;

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use zookeeper_client as zk;

use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState, ZkError,
};

pub use acl::Access;
pub use client::ZooKeeperClient;

use certificates::CertificateUpdate;

/// One session. Dropping it closes it in the background; [`Session::close`] waits until the server has confirmed.
#[derive(Debug)]
pub struct ZooKeeperSession {
    client: zk::Client,
    nonce: u64,
    /// The states that [`Session::state_other_than`] has returned already. Kept as long as the session, because the
    /// client's watcher keeps only the latest state: a short loss of the connection appears as a change to the same state.
    watcher: Mutex<zk::StateWatcher>,
    /// Of every node that it creates.
    acl: Vec<zk::Acl>,
    /// Renews the certificates of its connections.
    _renewal: Option<CertificateUpdate>,
}

/// A one-shot watch of a node or of its children.
pub type Watch = Pin<Box<dyn Future<Output = ()>>>;

impl ZooKeeperSession {
    fn watcher(&self) -> zk::StateWatcher {
        self.watcher
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn set_watcher(&self, watcher: zk::StateWatcher) {
        *self
            .watcher
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = watcher;
    }
}

/// A watch that also fires when the connection is lost, unlike the client's own.
fn watch(node: zk::OneshotWatcher, mut state: zk::StateWatcher) -> Watch {
    Box::pin(async move {
        let connection_lost = async {
            if state_of(state.peek_state()) == SessionState::Connected {
                // Any change counts: even "connected" means that the connection was lost in between.
                state.changed().await;
            }
        };
        // Both branches only wait, so dropping either loses nothing.
        tokio::select! {
            _event = node.changed() => {}
            () = connection_lost => {}
        }
    })
}

impl Session for ZooKeeperSession {
    type Watch = Watch;

    fn id(&self) -> i64 {
        self.client.session_id().0
    }

    fn nonce(&self) -> u64 {
        self.nonce
    }

    fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    fn state(&self) -> SessionState {
        state_of(self.client.state())
    }

    async fn state_other_than(&self, from: SessionState) -> SessionState {
        let mut watcher = self.watcher();
        let now = state_of(watcher.peek_state());
        if now != from {
            self.set_watcher(self.client.state_watcher());
            return now;
        }
        loop {
            // Cancel-safe: `watcher` is a copy, and is kept only once its state is returned.
            let now = state_of(watcher.changed().await);
            if now == SessionState::Connected && from == SessionState::Connected {
                self.set_watcher(watcher);
                return SessionState::Disconnected;
            }
            if now != from {
                self.set_watcher(watcher);
                return now;
            }
        }
    }

    async fn create(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        let created = self
            .client
            .create(path, data, &options(mode, &self.acl))
            .await;
        let (stat, sequence) = created.map_err(classify)?;
        let path = match mode {
            CreateMode::EphemeralSequential => format!("{path}{sequence}"),
            CreateMode::Persistent | CreateMode::Ephemeral => path.to_owned(),
        };
        let stat = stat_of(&stat);
        Ok(CreateResult { path, stat })
    }

    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.client.delete(path, version).await.map_err(classify)
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        match self.client.get_data(path).await {
            Ok((data, stat)) => {
                let stat = stat_of(&stat);
                Ok(Some(Node { data, stat }))
            }
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(classify(error)),
        }
    }

    async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        let stat = self.client.set_data(path, data, version).await;
        Ok(stat_of(&stat.map_err(classify)?))
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        match self.client.list_children(path).await {
            Ok(names) => Ok(Some(names)),
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(classify(error)),
        }
    }

    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Self::Watch), ZkError> {
        // From before the request, so that no loss of the connection goes unnoticed.
        let state = self.client.state_watcher();
        let answer = self.client.list_and_watch_children(path).await;
        let (names, node) = answer.map_err(classify)?;
        Ok((names, watch(node, state)))
    }

    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Self::Watch), ZkError> {
        let state = self.client.state_watcher();
        let answer = self.client.check_and_watch_stat(path).await;
        let (stat, node) = answer.map_err(classify)?;
        Ok((stat.as_ref().map(stat_of), watch(node, state)))
    }

    /// The `stat` of a node created in a transaction may be unset: servers of some versions do not send it.
    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        let mut writer = self.client.new_multi_writer();
        for operation in &operations {
            let added = match operation {
                Operation::Check { path, version } => {
                    writer.add_check_version(path, version.unwrap_or(ANY_VERSION))
                }
                Operation::Create { path, data, mode } => {
                    writer.add_create(path, data, &options(*mode, &self.acl))
                }
                Operation::Set {
                    path,
                    data,
                    version,
                } => writer.add_set_data(path, data, *version),
                Operation::Delete { path, version } => writer.add_delete(path, *version),
            };
            added.map_err(classify)?;
        }
        let results = writer.commit().await.map_err(|error| match error {
            zk::MultiWriteError::RequestFailed { source } => MultiError::Whole(classify(source)),
            zk::MultiWriteError::OperationFailed { index, source } => MultiError::Operation {
                index,
                error: classify(source),
            },
        })?;
        Ok(results.into_iter().filter_map(created).collect())
    }

    async fn sync(&self, path: &str) -> Result<(), ZkError> {
        self.client.sync(path).await.map_err(classify)
    }

    /// Waits until the server has confirmed the end, for at most half the session timeout: an unreachable server expires
    /// the session by itself.
    async fn close(self) {
        let Self { client, .. } = self;
        let mut watcher = client.state_watcher();
        let bound = client.session_timeout() / 2;
        drop(client);
        let over = async {
            while state_of(watcher.peek_state()) != SessionState::Over {
                watcher.changed().await;
            }
        };
        if tokio::time::timeout(bound, over).await.is_err() {
            tracing::warn!(
                "ZooKeeper did not confirm the end of the session: its timeout will end it"
            );
        }
    }
}

const ANY_VERSION: i32 = -1;

fn options<'a>(mode: CreateMode, acl: &'a [zk::Acl]) -> zk::CreateOptions<'a> {
    let mode = match mode {
        CreateMode::Persistent => zk::CreateMode::Persistent,
        CreateMode::Ephemeral => zk::CreateMode::Ephemeral,
        CreateMode::EphemeralSequential => zk::CreateMode::EphemeralSequential,
    };
    mode.with_acls(zk::Acls::new(acl))
}

fn created(result: zk::MultiWriteResult) -> Option<CreateResult> {
    if let zk::MultiWriteResult::Create { path, stat } = result {
        let stat = stat_of(&stat);
        return Some(CreateResult { path, stat });
    }
    None
}

const fn stat_of(stat: &zk::Stat) -> NodeStat {
    NodeStat {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime_ms: stat.ctime,
        version: stat.version,
        ephemeral_owner: stat.ephemeral_owner,
    }
}

/// A session with a read-only server cannot renew its lease, so it counts as disconnected.
const fn state_of(state: zk::SessionState) -> SessionState {
    match state {
        zk::SessionState::SyncConnected => SessionState::Connected,
        zk::SessionState::Disconnected | zk::SessionState::ConnectedReadOnly => {
            SessionState::Disconnected
        }
        zk::SessionState::AuthFailed | zk::SessionState::Expired | zk::SessionState::Closed => {
            SessionState::Over
        }
    }
}

/// Classifies an error: definite where the server answered, ambiguous everywhere else. A lost connection is more than
/// `ConnectionLoss`: resets and silence are `Custom`.
fn classify(error: zk::Error) -> ZkError {
    match error {
        zk::Error::NoNode => ZkError::NoNode,
        zk::Error::NodeExists => ZkError::NodeExists,
        zk::Error::BadVersion => ZkError::BadVersion,
        zk::Error::NotEmpty => ZkError::NotEmpty,
        zk::Error::SessionExpired => ZkError::SessionOver,
        zk::Error::NoAuth => ZkError::Refused(
            "the ACL of the node or of its parent gives this program no right to do that"
                .to_owned(),
        ),
        zk::Error::AuthFailed
        | zk::Error::InvalidAcl
        | zk::Error::BadArguments(_)
        | zk::Error::NoChildrenForEphemerals
        | zk::Error::NotReadOnly
        | zk::Error::NoWatcher
        | zk::Error::QuotaExceeded
        | zk::Error::MarshallingError
        | zk::Error::Unimplemented
        | zk::Error::ReconfigDisabled => ZkError::Refused(error.to_string()),
        // Definite too, but the same request may succeed later, and checking its outcome costs one read.
        zk::Error::SessionMoved | zk::Error::Throttled => ZkError::Ambiguous(error.to_string()),
        zk::Error::ConnectionLoss
        | zk::Error::Timeout
        | zk::Error::NoHosts
        | zk::Error::ClientClosed
        | zk::Error::UnmarshalError { .. }
        | zk::Error::UnexpectedError(_)
        | zk::Error::UnexpectedErrorCode(_)
        | zk::Error::RuntimeInconsistent
        | zk::Error::Custom(_) => ZkError::Ambiguous(error.to_string()),
        // Errors of later versions of the client: nothing is known about them.
        _ => ZkError::Ambiguous(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_of_a_server_are_definite() {
        let ambiguous = [
            zk::Error::ConnectionLoss,
            zk::Error::Timeout,
            zk::Error::NoHosts,
            zk::Error::ClientClosed,
            zk::Error::UnexpectedError("?".to_owned()),
            zk::Error::UnexpectedErrorCode(-4),
            zk::Error::RuntimeInconsistent,
            zk::Error::SessionMoved,
            zk::Error::Throttled,
        ];
        for error in ambiguous {
            assert!(
                matches!(classify(error.clone()), ZkError::Ambiguous(_)),
                "{error}"
            );
        }
        let definite = [
            (zk::Error::NoNode, ZkError::NoNode),
            (zk::Error::NodeExists, ZkError::NodeExists),
            (zk::Error::BadVersion, ZkError::BadVersion),
            (zk::Error::NotEmpty, ZkError::NotEmpty),
            (zk::Error::SessionExpired, ZkError::SessionOver),
        ];
        for (error, expected) in definite {
            assert_eq!(classify(error), expected);
        }
        for error in [
            zk::Error::NoAuth,
            zk::Error::QuotaExceeded,
            zk::Error::InvalidAcl,
        ] {
            assert!(
                matches!(classify(error.clone()), ZkError::Refused(_)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_read_only_server_does_not_count_as_a_connection() {
        assert_eq!(
            state_of(zk::SessionState::ConnectedReadOnly),
            SessionState::Disconnected
        );
    }
}
