//! Opens sessions: with which servers, as whom, and over which connections.

use std::sync::Mutex;
use std::time::Duration;

use zookeeper_client as zk;

use stitch_common::address::Addresses;
use stitch_common::ports::{ZkError, ZooKeeper};
use stitch_config::{CertificateFiles, Credentials, Verify};
use stitch_tls::refusal;

use crate::certificates::Certificates;
use crate::{ZooKeeperSession, acl, classify};

/// Opens sessions with one ensemble.
#[derive(Clone, Debug)]
pub struct ZooKeeperClient {
    servers: Addresses,
    session_timeout: Duration,
    identity: Option<Credentials>,
    tls: Option<CertificateFiles>,
}

impl ZooKeeperClient {
    /// The ensemble at `servers`, over plain connections and without an identity. `session_timeout` is requested; the
    /// servers may grant another.
    #[must_use]
    pub fn new(servers: &Addresses, session_timeout: Duration) -> Self {
        Self {
            servers: servers.clone(),
            session_timeout,
            identity: None,
            tls: None,
        }
    }

    /// As the section `[zookeeper]` of the configuration says.
    #[must_use]
    pub fn of(zookeeper: &stitch_config::ZooKeeper) -> Self {
        Self {
            identity: zookeeper.identity.clone(),
            tls: zookeeper.tls.clone(),
            ..Self::new(&zookeeper.connect.servers, zookeeper.session_timeout)
        }
    }

    /// The same, with another requested session timeout.
    #[must_use]
    pub fn with_session_timeout(self, session_timeout: Duration) -> Self {
        Self {
            session_timeout,
            ..self
        }
    }

    /// The same, with some of the servers.
    #[must_use]
    pub fn with_servers(self, servers: Addresses) -> Self {
        Self { servers, ..self }
    }
}

impl ZooKeeper for ZooKeeperClient {
    type Session = ZooKeeperSession;

    /// Tries every server in turn until one serves the session, for at most the requested session timeout. Cancelling it
    /// leaves at most an unused session, which expires.
    async fn connect(&self) -> Result<Self::Session, ZkError> {
        let connector = zk::Client::connector().with_session_timeout(self.session_timeout);
        let certificates = match &self.tls {
            None => None,
            Some(files) => Some(Certificates::read(files, &self.servers)?),
        };
        let servers = self.servers.to_string();
        let connected = match &certificates {
            None => connector.connect(&servers).await,
            Some(certificates) => {
                let connector = connector.with_tls(certificates.options());
                connector.secure_connect(&servers).await
            }
        };
        let client = match connected {
            Ok(client) => client,
            Err(error) => return Err(self.failure(error).await),
        };
        // Not together with the connection: a server on Netty may then answer to this before it answers to that, which the
        // client takes for nonsense, and connects again. A reconnect repeats it, and is answered in order.
        if let Some(Credentials { user, password }) = &self.identity {
            let identity = format!("{user}:{}", password.expose());
            let known = client.auth("digest", identity.as_bytes()).await;
            known.map_err(classify)?;
        }
        let (nonce, _) = uuid::Uuid::new_v4().as_u64_pair();
        Ok(ZooKeeperSession {
            nonce,
            watcher: Mutex::new(client.state_watcher()),
            client,
            acl: acl::of_created_nodes(self.identity.as_ref()),
            _renewal: certificates.map(Certificates::renewed),
        })
    }
}

impl ZooKeeperClient {
    /// Why no session was opened. The client does not say why a handshake fails, so each server is asked once more.
    async fn failure(&self, error: zk::Error) -> ZkError {
        if let Some(files) = &self.tls {
            let (servers, kind) = (&self.servers, "the ZooKeeper server");
            let refusal = refusal(servers, kind, "zookeeper.tls", files, Verify::Full).await;
            if let Some(refusal) = refusal {
                return ZkError::Denied(refusal);
            }
        }
        let text = format!("{} opened no session: {error}", self.servers);
        if matches!(classify(error), ZkError::Refused(_)) {
            ZkError::Refused(text)
        } else {
            ZkError::Ambiguous(text)
        }
    }
}
