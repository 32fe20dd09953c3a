//! Settings of brokers: quick to start, quick to notice each other's death, else as in earnest.

use std::{fmt::Write as _, io, path::Path};

use super::{Kafka, Listener, Security};
use crate::{Proxy, free_port};

/// Any, since no broker ever meets one of another cluster.
pub(super) const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// All brokers and their ports.
pub(super) struct Cluster {
    pub(super) brokers: Vec<Broker>,
    security: Security,
}

/// A broker and its ports.
pub(super) struct Broker {
    pub(super) id: i32,
    controller: u16,
    listeners: Vec<(Listener, u16)>,
    /// What clients of [`Listener::Proxied`] connect to.
    pub(super) proxy: Option<Proxy>,
}

// === impl Broker ===

impl Broker {
    /// Where clients connect to.
    pub(super) fn port_of(&self, listener: Listener) -> u16 {
        let proxy = self.proxy.as_ref().filter(|_| listener == Listener::Proxied);
        proxy.map_or_else(|| self.own_port_of(listener), Proxy::port)
    }

    fn own_port_of(&self, listener: Listener) -> u16 {
        let found = self.listeners.iter().find(|(it, _)| *it == listener);
        found.expect("the cluster was started with this listener").1
    }

    /// As callers count.
    pub(super) fn number(&self) -> usize {
        usize::try_from(self.id).expect("ids begin at 1")
    }
}

// === impl Cluster ===

impl Cluster {
    /// With proxies when there is a seed for them.
    pub(super) fn new(brokers: usize, security: Security, seed: Option<u64>) -> io::Result<Self> {
        let listeners = match security {
            Security::None => &Listener::ALL[..1],
            Security::Every | Security::Guarded => &Listener::ALL[..],
        };
        let port = |listener: &Listener| Ok((*listener, free_port()?));
        let broker = |id: u16| {
            let mut listeners: Vec<_> = listeners.iter().map(port).collect::<io::Result<_>>()?;
            let mut proxy = None;
            if let Some(seed) = seed {
                let own = free_port()?;
                listeners.push((Listener::Proxied, own));
                proxy = Some(Proxy::start(("127.0.0.1", own), seed.wrapping_add(id.into()))?);
            }
            Ok(Broker { id: id.into(), controller: free_port()?, listeners, proxy })
        };
        let count = u16::try_from(brokers).map_err(io::Error::other)?;
        let brokers = (1..=count).map(broker).collect::<io::Result<_>>()?;
        Ok(Self { brokers, security })
    }

    /// The broker's file of settings.
    pub(super) fn settings(&self, broker: &Broker, folder: &Path) -> String {
        let voter = |it: &Broker| format!("{}@127.0.0.1:{}", it.id, it.controller);
        let voters = self.brokers.iter().map(voter).collect::<Vec<_>>().join(",");
        let list = |port: &dyn Fn(Listener) -> u16| {
            let all = broker.listeners.iter().map(|(it, _)| *it);
            let all = all.map(|it| format!("{}://127.0.0.1:{}", it.name(), port(it)));
            all.collect::<Vec<_>>().join(",")
        };
        let listeners = list(&|it| broker.own_port_of(it));
        let advertised = list(&|it| broker.port_of(it));
        let (id, controller) = (broker.id, broker.controller);
        let protocols = Listener::ALL.map(|it| format!("{0}:{0}", it.protocol())).join(",");
        let all = self.brokers.len();
        let most = all.min(2);
        let folder = folder.display();
        let mut text = format!(
            "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,{protocols}
log.dirs={folder}/{id}
auto.create.topics.enable=false
default.replication.factor={all}
min.insync.replicas={most}
offsets.topic.replication.factor={all}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={all}
transaction.state.log.min.isr={most}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={all}
share.coordinator.state.topic.min.isr={most}
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
"
        );
        text.push_str(&self.security_settings(&folder.to_string()));
        text
    }

    fn security_settings(&self, folder: &str) -> String {
        let mut text = String::new();
        if self.security == Security::Guarded {
            // Anyone who comes without a name: the brokers themselves, and the tests.
            text.push_str(
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
",
            );
        }
        if self.security != Security::None {
            let (user, password) = (Kafka::USER, Kafka::PASSWORD);
            let module = "org.apache.kafka.common.security";
            for listener in ["sasl_plaintext", "sasl_ssl"] {
                let name = format!("listener.name.{listener}");
                let _ = write!(
                    text,
                    "{name}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
{name}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{user}=\"{password}\";
{name}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
"
                );
            }
            let _ = write!(
                text,
                "ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
ssl.client.auth=requested
"
            );
        }
        text
    }
}
