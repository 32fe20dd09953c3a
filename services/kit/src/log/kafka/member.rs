//! A member of a consumer group: what it does when partitions are given to it or taken away.
//!
//! A partition that is given is read on from the position in the consumer's own store, whatever the
//! coordinator remembers.

use std::sync::Arc;

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use tokio::runtime::Handle;

use super::{
    context::Ear,
    reader::{ASKS_WITHIN, Assigned, Where},
};
use crate::log::{LogError, Positions};

/// What a member knows while the group is rebalanced.
pub(super) struct Member {
    pub(super) ear: Ear,
    /// The topic's name without the prefix: as positions know it.
    pub(super) topic: &'static str,
    pub(super) positions: Arc<dyn Positions>,
    pub(super) assigned: Arc<Assigned>,
    pub(super) runtime: Handle,
}

// === impl Member ===

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.ear.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.ear.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.ear.stats(statistics);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let done = if assigned {
            self.given(consumer, partitions)
        } else {
            self.taken(consumer, partitions)
        };
        if let Err(error) = done {
            self.assigned.fail(LogError::new(error));
        }
    }
}

impl Member {
    fn given(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        let all: Vec<(String, i32)> = partitions
            .elements()
            .iter()
            .map(|of| (of.topic().to_owned(), of.partition()))
            .collect();
        for (topic, partition) in all {
            match self.place(consumer, &topic, partition) {
                Ok(at) => {
                    partitions.set_partition_offset(&topic, partition, Offset::Offset(at.next))?;
                    self.assigned.partitions().insert(partition, at);
                }
                // The protocol goes on; the reader ends, and its owner subscribes again.
                Err(error) => self.assigned.fail(error),
            }
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
            _ => consumer.assign(partitions),
        }
    }

    fn taken(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        for of in partitions.elements() {
            self.assigned.partitions().remove(&of.partition());
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        }
    }

    /// Where to read on. A position that the log does not reach is no place to wait at: records to
    /// come would be taken for ones that were seen.
    fn place(
        &self,
        consumer: &BaseConsumer<Self>,
        topic: &str,
        partition: i32,
    ) -> Result<Where, LogError> {
        let next = self.positions.next_offset(self.topic, partition.into());
        let next = self.runtime.block_on(next)?;
        let asked = consumer.fetch_watermarks(topic, partition, ASKS_WITHIN);
        let (_, end) = asked.map_err(LogError::new)?;
        if next > end {
            return Err(LogError::behind(self.topic, partition.into(), next, end));
        }
        Ok(Where { polled: next, next, end })
    }
}
