//! What adds up: this process, or a cluster.

use stitch_common::clock::SystemClock;
use stitch_common::user_error::UserError;
use stitch_config::{Config, Engine};
use stitch_objects::ObjectFolder;
use stitch_totals::build::{self, BuildError, BuildRequest, Built};
use stitch_totals::totals_folder::TotalsFolder;

use crate::job::JobObjects;
use crate::map_reduce::MapReduce;
use crate::servers::Servers;
use crate::spark_submit::SparkSubmit;

/// The engine of a build.
pub struct ChosenEngine(Option<MapReduce<ObjectFolder, SparkSubmit>>);

impl ChosenEngine {
    /// This engine, for totals in `folder`.
    ///
    /// # Errors
    /// A setting is missing that it needs.
    pub fn new(
        config: &Config,
        engine: Engine,
        folder: &TotalsFolder<ObjectFolder>,
    ) -> Result<Self, UserError> {
        Ok(Self(match engine {
            Engine::Local => None,
            Engine::Spark => {
                let (store, objects) = (folder.store().clone(), JobObjects::new(&config.namespace));
                Some(MapReduce::new(store, objects, SparkSubmit::new(config)?))
            }
        }))
    }

    /// Builds totals.
    ///
    /// # Errors
    /// As [`build::build_on`].
    pub async fn build(
        &self,
        folder: &TotalsFolder<ObjectFolder>,
        servers: &Servers,
        request: &BuildRequest<'_>,
    ) -> Result<Built, BuildError> {
        let records = servers.records();
        build::build_on(
            self.0.as_ref(),
            folder,
            &records,
            request,
            &SystemClock,
            &*servers.progress,
        )
        .await
    }
}
