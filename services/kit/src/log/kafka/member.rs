//! A member of a consumer group: what it does when partitions are given to it or taken away.
//!
//! A partition that is given is read on from the position in the consumer's own store, whatever the
//! coordinator remembers. No broker is asked meanwhile: all other members wait until this one is
//! done, and one that leads partitions may just have come back and not answer yet.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use tokio::{runtime::Handle, time::timeout};

use super::{
    context::Ear,
    reader::{Assigned, Where},
};
use crate::log::{LogError, Positions};

/// A store that has not returned all offsets by then is unavailable.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// What a member knows while the group is rebalanced.
pub(super) struct Member {
    pub(super) ear: Ear,
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

    /// Every second.
    fn stats(&self, statistics: Statistics) {
        self.ear.stats(statistics);
        self.assigned.tell_again();
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

    fn commit_callback(&self, done: KafkaResult<()>, offsets: &TopicPartitionList) {
        if done.is_ok() {
            return;
        }
        for of in offsets.elements() {
            self.assigned.was_not_told(of.partition());
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
        match self.runtime.block_on(self.positions_of(&all)) {
            Ok(positions) => {
                for ((topic, partition), next) in all.into_iter().zip(positions) {
                    partitions.set_partition_offset(&topic, partition, Offset::Offset(next))?;
                    let at = Where { polled: next, next, end: None };
                    self.assigned.partitions().insert(partition, at);
                    self.assigned.is_done(partition, next);
                }
            }
            // The protocol goes on; the reader ends, and its owner subscribes again.
            Err(error) => self.assigned.fail(error),
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

    async fn positions_of(&self, all: &[(String, i32)]) -> Result<Vec<i64>, LogError> {
        let told = async {
            let mut positions = Vec::with_capacity(all.len());
            for (_, partition) in all {
                let topic = self.assigned.topic();
                positions.push(self.positions.next_offset(topic, (*partition).into()).await?);
            }
            Ok(positions)
        };
        let late = || LogError::new("the store did not tell in time where to read on");
        timeout(TOLD_WITHIN, told).await.unwrap_or_else(|_| Err(late()))
    }
}
