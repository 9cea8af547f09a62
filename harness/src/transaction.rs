//! Records in transactions, which end in a commit or are aborted.

use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::events::Record;

const BOUND: Duration = Duration::from_secs(20);

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    Abort,
}

/// Sends the records of each transaction, one after the other, and ends it. Each id belongs to one producer at a time.
pub async fn send_in_transactions(
    kafka: &str,
    topic: &str,
    id: &str,
    transactions: Vec<(Vec<Record>, End)>,
) -> Result<()> {
    let config = {
        let mut config = crate::secure::kafka(kafka)?;
        config.set("transactional.id", id);
        config
    };
    let topic = topic.to_owned();
    // Kafka's client blocks its thread.
    let sent = tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(BOUND)?;
        for (records, end) in transactions {
            producer.begin_transaction()?;
            for record in &records {
                let mut sent = BaseRecord::to(&topic).key(&record.key);
                sent.payload = record.value.as_ref();
                if let Err((error, _)) = producer.send(sent) {
                    bail!("sending in a transaction: {error}");
                }
                producer.poll(Duration::ZERO);
            }
            // An aborted transaction is in the log only if it was sent.
            producer.flush(BOUND)?;
            match end {
                End::Commit => producer.commit_transaction(BOUND)?,
                End::Abort => producer.abort_transaction(BOUND)?,
            }
        }
        Ok(())
    });
    sent.await?
}
