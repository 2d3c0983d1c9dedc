//! An upstream that writes in transactions.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

const WAIT: Duration = Duration::from_secs(30);

/// One transactional producer. Dropped amid a transaction it leaves that open, as one that crashed does.
pub struct KafkaTransactions {
    producer: FutureProducer,
    topic: String,
}

impl KafkaTransactions {
    /// Aborts what an earlier producer of the same id left open.
    pub(crate) fn open(mut client: ClientConfig, id: &str, topic: &str) -> anyhow::Result<KafkaTransactions> {
        let producer: FutureProducer =
            client.set("transactional.id", id).set("transaction.timeout.ms", "300000").create()?;
        producer.init_transactions(WAIT)?;
        Ok(KafkaTransactions { producer, topic: topic.to_owned() })
    }

    pub fn begin(&self) -> anyhow::Result<()> {
        Ok(self.producer.begin_transaction()?)
    }

    /// Returns when the broker has all of them in its log, whatever becomes of the transaction.
    pub async fn write(&self, partition: i32, bodies: &[String]) -> anyhow::Result<()> {
        let mut sent = Vec::new();
        for body in bodies {
            let record = FutureRecord::<str, _>::to(&self.topic).partition(partition).payload(body);
            sent.push(self.producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for sent in sent {
            sent.await?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    pub fn commit(&self) -> anyhow::Result<()> {
        Ok(self.producer.commit_transaction(WAIT)?)
    }

    pub fn abort(&self) -> anyhow::Result<()> {
        Ok(self.producer.abort_transaction(WAIT)?)
    }
}
