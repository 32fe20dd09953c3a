//! What can break: how it is broken and mended, and what must hold meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use testbed::{Proxy, postgres::Stop, proxy::Behaviour};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    journal::Journal,
    stack::{Kind, Servers, Stack},
};

/// Parts that may die with all their replicas: the others go on, or say that they cannot.
const MORTAL: [&str; 6] = ["gateway", "auth", "patient", "billing", "analytics", "notification"];
/// Most things are away for so long.
const AWAY_FOR: Duration = Duration::from_secs(3);
/// And Kafka once for so long.
const LONG_AWAY_FOR: Duration = Duration::from_secs(60);
/// This many patients are registered while billing is away.
const WITHOUT_BILLING: u64 = 200;
const REBALANCES: u32 = 3;

/// What breaks in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    // The embedded stack.
    ProcessKilled,
    ProcessKilledAgainAndAgain,
    ProcessRestarted,
    ProcessPaused,
    DiskFull,
    // Any.
    Poison,
    // Servers.
    ReplicaKilled,
    PartKilled,
    RelaysKilled,
    ConsumersKilled,
    EverythingKilled,
    ReplicaPaused,
    RollingRestart,
    PostmasterKilled,
    PostgresRestarted,
    PostgresSessionsEnded,
    PostgresNetworkBad,
    PostgresBlackHoled,
    PostgresStalled,
    KafkaKilled,
    KafkaNetworkBad,
    KafkaAwayForAMinute,
    GroupsRebalanced,
    BillingDown,
    BillingBlackHoled,
}

// === impl Fault ===

impl Fault {
    const EMBEDDED: [Self; 6] = [
        Self::ProcessKilled,
        Self::ProcessKilledAgainAndAgain,
        Self::ProcessRestarted,
        Self::ProcessPaused,
        Self::DiskFull,
        Self::Poison,
    ];
    const SERVERS: [Self; 20] = [
        Self::ReplicaKilled,
        Self::PartKilled,
        Self::RelaysKilled,
        Self::ConsumersKilled,
        Self::EverythingKilled,
        Self::ReplicaPaused,
        Self::RollingRestart,
        Self::PostmasterKilled,
        Self::PostgresRestarted,
        Self::PostgresSessionsEnded,
        Self::PostgresNetworkBad,
        Self::PostgresBlackHoled,
        Self::PostgresStalled,
        Self::KafkaKilled,
        Self::KafkaNetworkBad,
        Self::KafkaAwayForAMinute,
        Self::GroupsRebalanced,
        Self::BillingDown,
        Self::BillingBlackHoled,
        Self::Poison,
    ];

    /// Those of a stack, the long ones among them if they are wanted; or the one of this name.
    pub(crate) fn of(kind: Kind, name: Option<&str>, long: bool) -> Vec<Self> {
        let all: &[Self] = match kind {
            Kind::Embedded => &Self::EMBEDDED,
            Kind::Servers => &Self::SERVERS,
        };
        let wanted = |fault: &&Self| match name {
            Some(name) => fault.name() == name,
            None => long || **fault != Self::KafkaAwayForAMinute,
        };
        let found: Vec<_> = all.iter().filter(wanted).copied().collect();
        let names: Vec<_> = all.iter().map(|fault| fault.name()).collect();
        assert!(!found.is_empty(), "the faults of {kind} are {}", names.join(", "));
        found
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ProcessKilled => "process-killed",
            Self::ProcessKilledAgainAndAgain => "process-killed-repeatedly",
            Self::ProcessRestarted => "process-restarted",
            Self::ProcessPaused => "process-paused",
            Self::DiskFull => "disk-full",
            Self::Poison => "poison",
            Self::ReplicaKilled => "replica-killed",
            Self::PartKilled => "part-killed",
            Self::RelaysKilled => "relays-killed-repeatedly",
            Self::ConsumersKilled => "consumers-killed",
            Self::EverythingKilled => "everything-killed",
            Self::ReplicaPaused => "replica-paused",
            Self::RollingRestart => "rolling-restart",
            Self::PostmasterKilled => "postmaster-killed",
            Self::PostgresRestarted => "postgres-restarted",
            Self::PostgresSessionsEnded => "postgres-sessions-ended",
            Self::PostgresNetworkBad => "postgres-network-bad",
            Self::PostgresBlackHoled => "postgres-black-holed",
            Self::PostgresStalled => "postgres-stalled",
            Self::KafkaKilled => "kafka-killed",
            Self::KafkaNetworkBad => "kafka-network-bad",
            Self::KafkaAwayForAMinute => "kafka-away-60-s",
            Self::GroupsRebalanced => "groups-rebalanced",
            Self::BillingDown => "billing-down",
            Self::BillingBlackHoled => "billing-black-holed",
        }
    }

    /// How long writers rest after each write: all that they write is looked at in the end, which a
    /// fault of a minute would make a matter of minutes.
    pub(crate) const fn rest(self) -> Duration {
        match self {
            Self::KafkaAwayForAMinute | Self::KafkaKilled | Self::RollingRestart => {
                Duration::from_millis(200)
            }
            _ => Duration::ZERO,
        }
    }

    /// Breaks it and mends it; when what broke it was over and only processes had to be started.
    pub(crate) async fn strike(
        self,
        stack: &mut Stack,
        journal: &Arc<Journal>,
        random: &mut fastrand::Rng,
    ) -> Instant {
        let refused = journal.counts().refused;
        match self {
            Self::Poison => stack.poison(format!("poison-{}", random.u64(..))).await,
            Self::ProcessRestarted | Self::RollingRestart => stack.roll().await,
            Self::DiskFull => disk_full(stack).await,
            Self::BillingDown => {
                kill(stack, "billing");
                registered_without_billing(journal).await;
            }
            _ if stack.servers.is_none() || self.is_of_processes() => {
                self.strike_processes(stack, random).await;
            }
            _ => self.strike_servers(&stack.servers(), journal, random).await,
        }
        let over = Instant::now();
        stack.mend().await;
        match self {
            Self::Poison => journal.poisoned(),
            // Nobody who writes may notice these.
            Self::RollingRestart
            | Self::KafkaKilled
            | Self::KafkaNetworkBad
            | Self::KafkaAwayForAMinute
            | Self::BillingDown => {
                let refused = journal.counts().refused - refused;
                assert_eq!(refused, 0, "{}: requests were refused", self.name());
            }
            _ => {}
        }
        over
    }

    const fn is_of_processes(self) -> bool {
        matches!(
            self,
            Self::ReplicaKilled
                | Self::PartKilled
                | Self::RelaysKilled
                | Self::ConsumersKilled
                | Self::EverythingKilled
                | Self::ReplicaPaused
                | Self::GroupsRebalanced
        )
    }

    async fn strike_processes(self, stack: &mut Stack, random: &mut fastrand::Rng) {
        let place = random.usize(..stack.nodes.len());
        match self {
            Self::ProcessKilled | Self::ReplicaKilled => stack.nodes[place].kill(),
            Self::ProcessKilledAgainAndAgain | Self::RelaysKilled => {
                let part = if self == Self::RelaysKilled { "patient" } else { "up" };
                for _ in 0..3 {
                    kill(stack, part);
                    stack.mend().await;
                    sleep(Duration::from_millis(random.u64(0..400))).await;
                }
                kill(stack, part);
            }
            Self::PartKilled => kill(stack, random.choice(MORTAL).unwrap()),
            Self::ConsumersKilled => {
                kill(stack, "analytics");
                kill(stack, "notification");
                sleep(AWAY_FOR).await;
            }
            Self::EverythingKilled => stack.nodes.iter_mut().for_each(|node| node.kill()),
            Self::GroupsRebalanced => rebalance(stack, random).await,
            _ => {
                stack.nodes[place].signal("STOP");
                sleep(AWAY_FOR).await;
                stack.nodes[place].signal("CONT");
            }
        }
    }

    async fn strike_servers(
        self,
        servers: &Servers,
        journal: &Journal,
        random: &mut fastrand::Rng,
    ) {
        let Servers { postgres, to_postgres, kafka, to_billing } = servers;
        match self {
            Self::PostmasterKilled | Self::PostgresRestarted => {
                let ended = block_in_place(|| match self {
                    Self::PostmasterKilled => postgres.kill(),
                    _ => postgres.stop(Stop::Fast),
                });
                ended.unwrap();
                sleep(AWAY_FOR).await;
                block_in_place(|| postgres.start_again()).unwrap();
            }
            Self::PostgresSessionsEnded => {
                let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                              where pid <> pg_backend_pid() and usename is not null";
                block_in_place(|| postgres.ask(others)).unwrap();
            }
            Self::PostgresNetworkBad => bad_network(to_postgres, random).await,
            Self::PostgresBlackHoled => {
                to_postgres.set(Behaviour::BlackHole).unwrap();
                sleep(AWAY_FOR).await;
                to_postgres.set(Behaviour::Pass).unwrap();
            }
            // For good: new connections alone are well.
            Self::PostgresStalled => to_postgres.set(Behaviour::StallOpen).unwrap(),
            Self::KafkaNetworkBad => bad_network(kafka.proxy(1), random).await,
            Self::KafkaKilled | Self::KafkaAwayForAMinute => {
                block_in_place(|| kafka.kill(1));
                let long = self == Self::KafkaAwayForAMinute;
                sleep(if long { LONG_AWAY_FOR } else { AWAY_FOR }).await;
                block_in_place(|| kafka.start_again(1)).unwrap();
            }
            Self::BillingBlackHoled => {
                let set = |to: &Behaviour| {
                    to_billing.iter().for_each(|proxy| proxy.set(to.clone()).unwrap());
                };
                set(&Behaviour::BlackHole);
                registered_without_billing(journal).await;
                set(&Behaviour::Pass);
            }
            _ => unreachable!("{} is struck elsewhere", self.name()),
        }
    }
}

/// All that a network does, one after the other.
async fn bad_network(proxy: &Proxy, random: &mut fastrand::Rng) {
    for _ in 0..3 {
        let cut = Behaviour::TruncateAfter(random.u64(1..20_000));
        for behaviour in [Behaviour::DelayMs(5..=100), cut, Behaviour::Reset, Behaviour::BlackHole]
        {
            proxy.set(behaviour).unwrap();
            sleep(Duration::from_millis(random.u64(100..800))).await;
            proxy.set(Behaviour::Pass).unwrap();
            sleep(Duration::from_millis(random.u64(0..200))).await;
        }
    }
}

fn kill(stack: &mut Stack, part: &str) {
    stack.of(part).for_each(|node| node.kill());
}

/// Members of both groups leave and come, one way or the other, every few seconds.
async fn rebalance(stack: &mut Stack, random: &mut fastrand::Rng) {
    for _ in 0..REBALANCES {
        for part in ["analytics", "notification"] {
            let (replica, kindly) = (random.usize(..2), random.bool());
            let node = stack.of(part).nth(replica).unwrap();
            block_in_place(|| if kindly { node.stop() } else { node.kill() });
        }
        sleep(Duration::from_secs(1)).await;
        stack.mend().await;
        sleep(Duration::from_millis(random.u64(500..2500))).await;
    }
}

/// Registrations go on as if nothing had happened.
async fn registered_without_billing(journal: &Journal) {
    let (wanted, until) = (
        journal.counts().acknowledged + WITHOUT_BILLING,
        Instant::now() + Duration::from_secs(120),
    );
    while journal.counts().acknowledged < wanted {
        assert!(Instant::now() < until, "registrations wait for billing");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What is there can be read; nothing is acknowledged that could not be kept.
async fn disk_full(stack: &Stack) {
    block_in_place(|| stack.disk().fill());
    let client = stack.client();
    let until = Instant::now() + AWAY_FOR;
    while Instant::now() < until {
        let read = client.send(Method::GET, "/api/patients?size=1", &[], None).await.unwrap();
        assert_eq!(read.status, StatusCode::OK, "reads go on: {}", read.text);
    }
    stack.disk().clear();
}
