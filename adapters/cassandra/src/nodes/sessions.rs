//! One driver session for each node, which knows no other node. It is opened in a task of its own, so that it completes
//! however short the callers' timeouts are. A frozen node gets one attempt until the driver gives up, not one for each
//! query.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use scylla::client::session::Session;
use scylla::policies::host_filter::AllowListHostFilter;

use super::super::connect;
use super::{OBSERVER_ID, locked};
use stitch_common::address::Address;
use stitch_common::ports::StoreError;
use stitch_config::Cassandra;

type SessionFuture = Shared<BoxFuture<'static, Result<Arc<Session>, StoreError>>>;

/// Open sessions, and those that are being opened.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<SocketAddr, SessionFuture>>);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// The session with the node at `address`, opened on first use. If cancelled, opening it continues.
    pub(super) async fn with(
        &self,
        address: SocketAddr,
        cassandra: &Cassandra,
    ) -> Result<Arc<Session>, StoreError> {
        let opening = locked(&self.0)
            .entry(address)
            .or_insert_with(|| open_in_task(address, cassandra.clone()))
            .clone();
        let session = opening.await;
        if session.is_err() {
            self.forget(address);
        }
        session
    }

    /// Drops the session; the next use opens another.
    pub(super) fn forget(&self, address: SocketAddr) {
        locked(&self.0).remove(&address);
    }
}

fn open_in_task(address: SocketAddr, cassandra: Cassandra) -> SessionFuture {
    let task = tokio::spawn(open(address, cassandra));
    async move {
        match task.await {
            Ok(session) => session,
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }
    .boxed()
    .shared()
}

async fn open(address: SocketAddr, cassandra: Cassandra) -> Result<Arc<Session>, StoreError> {
    let filter = AllowListHostFilter::new([address])
        .map_err(|error| StoreError::Refused(error.to_string()))?;
    let alone = Cassandra {
        nodes: Address::from(address).into(),
        local_datacenter: None,
        ..cassandra
    };
    let builder = connect::builder(&alone, OBSERVER_ID, 1)?
        .fetch_schema_metadata(false)
        .host_filter(Arc::new(filter));
    connect::session(builder, &alone).await.map(Arc::new)
}
