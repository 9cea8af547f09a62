//! The topic, its archive, and files of Kafka Connect: what `import` and `seal` work with.

use stitch_app::progress_bar;
use stitch_common::clock::SystemClock;
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_objects::ObjectFolder;

use crate::import::Ports;

/// Does `work` with the files at `url`.
pub(super) async fn with_files<T>(
    config: &Config,
    url: &str,
    work: impl AsyncFnOnce(
        &Ports<'_, KafkaLog, ObjectFolder, SystemClock>,
        &dyn Progress,
    ) -> Result<T, UserError>,
) -> Result<T, UserError> {
    let files = ObjectFolder::open("URL", url)?;
    let (log, archive, _) = super::open(config).await?;
    let ports = Ports {
        log: &log,
        archive: &archive,
        files: &files,
        clock: &SystemClock,
    };
    work(&ports, &*progress_bar::on_stderr()).await
}
