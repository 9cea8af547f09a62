//! One driver session for each node, which knows no other node. It is made in a task of its own, so that it comes about
//! however short the patience of those who wait for it is; a node that is frozen while one is made gets one attempt
//! until the driver gives up, not one for each question.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use scylla::client::session::Session;
use scylla::policies::host_filter::AllowListHostFilter;

use super::super::connect;
use super::{OBSERVER_ID, locked};
use stitch_common::config::Cassandra;
use stitch_common::ports::StoreError;

type Making = Shared<BoxFuture<'static, Result<Arc<Session>, StoreError>>>;

/// The sessions that are made, and those that are being made.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<SocketAddr, Making>>);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// The session with the node at `address`; made at the first need. Cancelled, it goes on being made.
    pub(super) async fn with(
        &self,
        address: SocketAddr,
        cassandra: &Cassandra,
    ) -> Result<Arc<Session>, StoreError> {
        let making = locked(&self.0)
            .entry(address)
            .or_insert_with(|| making(address, cassandra.clone()))
            .clone();
        let made = making.await;
        if made.is_err() {
            self.forget(address);
        }
        made
    }

    /// The next one who needs it makes another.
    pub(super) fn forget(&self, address: SocketAddr) {
        locked(&self.0).remove(&address);
    }
}

fn making(address: SocketAddr, cassandra: Cassandra) -> Making {
    let task = tokio::spawn(make(address, cassandra));
    let made = async move {
        match task.await {
            Ok(made) => made,
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    };
    made.boxed().shared()
}

async fn make(address: SocketAddr, cassandra: Cassandra) -> Result<Arc<Session>, StoreError> {
    let filter = AllowListHostFilter::new([address])
        .map_err(|error| StoreError::Refused(error.to_string()))?;
    let alone = Cassandra {
        nodes: vec![address.to_string()],
        local_datacenter: None,
        ..cassandra
    };
    let builder = connect::builder(&alone, OBSERVER_ID, 1)
        .fetch_schema_metadata(false)
        .host_filter(Arc::new(filter));
    connect::session(builder, &alone).await.map(Arc::new)
}
