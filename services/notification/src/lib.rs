//! The notification service: sends patients messages about their registration.
//!
//! An event passes through the modules in this order:
//!
//! - `events` decodes what the topic says, and refuses what has no recipient.
//! - `consumer` writes a pending notification in the transaction that also keeps the position.
//! - `domain` knows the kinds and states of a notification, and when to try again. It is pure.
//! - `store` keeps the notifications. Only it knows SQL.
//! - `limits` counts messages to an address.
//! - `sender` takes what is due, oldest first and of each patient in order, and keeps the outcome.
//! - `message` writes the text: the recipient's name, and no other personal data.
//! - `channel` delivers: into files in a folder, or by SMTP.
//! - `api` lists notifications. Only it knows a status code.
//!
//! Consumes the topic `patient` as the group `notification-service`. What can never be delivered is
//! a dead letter, as what cannot be read is: a record of `patient.dlq` and a row that can be
//! retried. Calls the SMTP server, if there is one.
//!
//! **Invariant:** a notification holds the event, and so name and address, while it is pending and
//! no longer: the tables refuse anything else.
//!
//! **Invariant:** an event makes one notification. In the folder it makes one file at most,
//! whatever crashes; by SMTP it is sent at least once, always with the same Message-ID. Changes of
//! a patient that come soon after one another are sent in one message, which has the last state.

mod events;

mod consumer;

mod domain;

mod store;

mod limits;

mod sender;

mod message;

mod channel;

mod api;

mod error;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kit::{
    consumer::Consumer,
    db::{DbConfig, DbError},
    dead_letter::DeadLetters,
    log::EventLog,
    page::Cursors,
    service::{Kit, MachineClock, Service},
};
use lettre::message::Mailbox;
use proto::patient_events::TOPIC;
use secrecy::{ExposeSecret as _, SecretString};
use shared_middleware::{clock::Ids, identity::Part};
use tokio::sync::Notify;

pub use crate::{
    api::{RULES, openapi},
    channel::check_smtp_url,
    consumer::GROUP,
    error::BuildError,
    limits::MessageLimits,
};
use crate::{
    channel::{Channel, FileChannel, SmtpChannel},
    consumer::Notifications,
    domain::Medium,
    limits::Limits,
    sender::Sender,
    store::Store,
};

/// Whom messages are from, unless it is configured.
pub const FROM_DEFAULT: &str = "MediSync <no-reply@medisync.local>";
/// Connections to the SMTP server at once at most, unless it is configured.
pub const SMTP_CONNECTIONS_MAX_DEFAULT: u32 = 4;
/// Seconds that one message may take by SMTP, unless it is configured.
pub const SMTP_TIMEOUT_S_DEFAULT: u64 = 30;

/// Every setting of this service.
#[derive(Clone)]
pub struct Config {
    /// Where the notifications are.
    pub database: DbConfig,
    /// Where messages go as files when there is no SMTP server.
    pub outbox_dir: PathBuf,
    /// The SMTP server's URL, as [`check_smtp_url`] describes it.
    pub smtp: Option<SecretString>,
    /// Whom messages are from: an address, or a name and an address.
    pub from: String,
    /// This many connections to the SMTP server at once at most.
    pub smtp_connections_max: u32,
    /// One message may take this many seconds by SMTP; then it is tried again.
    pub smtp_timeout_s: u64,
    /// How many messages somebody gets.
    pub limits: MessageLimits,
}

// === impl Config ===

impl Config {
    /// The defaults: messages go to this folder.
    pub fn new(database: DbConfig, outbox_dir: PathBuf) -> Self {
        Self {
            database,
            outbox_dir,
            smtp: None,
            from: FROM_DEFAULT.to_owned(),
            smtp_connections_max: SMTP_CONNECTIONS_MAX_DEFAULT,
            smtp_timeout_s: SMTP_TIMEOUT_S_DEFAULT,
            limits: MessageLimits::default(),
        }
    }

    const fn medium(&self) -> Medium {
        if self.smtp.is_some() { Medium::Smtp } else { Medium::File }
    }

    async fn channel(&self) -> Result<Channel, BuildError> {
        let Some(url) = &self.smtp else {
            let opened = FileChannel::open(self.outbox_dir.clone()).await;
            return opened
                .map(Channel::File)
                .map_err(|error| BuildError::Outbox(error, self.outbox_dir.clone()));
        };
        let timeout = Duration::from_secs(self.smtp_timeout_s.max(1));
        SmtpChannel::new(url.expose_secret(), self.smtp_connections_max, timeout)
            .map(Channel::Smtp)
            .map_err(BuildError::Smtp)
    }
}

/// Whether this can be the sender of messages: an address, or a name and an address.
///
/// # Errors
/// What is wrong with it, to be read after its name.
pub fn check_from(from: &str) -> Result<(), String> {
    parse_from(from).map(drop)
}

fn parse_from(from: &str) -> Result<Mailbox, String> {
    from.parse().map_err(|_| "must be of the form `Name <address@example.org>`".to_owned())
}

/// The events that this service gave up, undelivered messages included; for operators, also while
/// it runs elsewhere. The sender there finds what is retried.
///
/// # Errors
/// When the store cannot be opened or migrated.
pub async fn dead_letters(
    config: &Config,
    log: Arc<dyn EventLog>,
    clock: &MachineClock,
    ids: Ids,
) -> Result<DeadLetters, DbError> {
    let store = Store::open(&config.database).await?;
    let clock = clock.of_store(&store.db());
    let (medium, wake) = (config.medium(), Arc::new(Notify::new()));
    let handler = Notifications { clock, ids, medium, wake, demo: true };
    Ok(DeadLetters::new(GROUP, store.db(), log, Arc::new(handler)))
}

/// Removes what the demo's patients were told, and the files of it; returns how much there was. For
/// the command line, beside a service that may run.
///
/// # Errors
/// When the store cannot be opened or migrated, or a file not be removed.
pub async fn remove_demo(config: &Config) -> Result<u64, BuildError> {
    let events = Store::open(&config.database).await?.remove_demo().await?;
    for event in &events {
        let file = config.outbox_dir.join(format!("{event}.eml"));
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BuildError::Outbox(error, config.outbox_dir.clone()));
            }
            _ => {}
        }
    }
    Ok(events.len() as u64)
}

/// Builds the service; the binary decides where to serve it.
///
/// # Errors
/// When a setting is wrong, or the store or the folder cannot be opened.
pub async fn build(config: Config, kit: &Kit) -> Result<Service, BuildError> {
    let from = parse_from(&config.from).map_err(BuildError::From)?;
    let channel = config.channel().await?;
    let store = Store::open(&config.database).await?.showing_demo(kit.demo);
    let clock = kit.clock(&store.db());
    let cursors = Cursors::open(&store.db()).await?;

    let wake = Arc::new(Notify::new());
    let handler = Notifications {
        clock: clock.clone(),
        ids: kit.ids.clone(),
        medium: channel.medium(),
        wake: Arc::clone(&wake),
        demo: kit.demo,
    };
    let log = Arc::clone(&kit.log);
    let consumer = Consumer::new(
        Part::Notification,
        GROUP,
        TOPIC,
        store.db(),
        log,
        Arc::new(handler),
        clock.clone(),
    );
    let sender = Sender {
        store: store.clone(),
        channel,
        from,
        log: Arc::clone(&kit.log),
        clock,
        wake,
        update_interval: config.limits.update_interval,
        limits: Limits::new(&config.limits),
    };
    let audit_log = kit.audit_log(Part::Notification, &store.db()).await?;
    Ok(Service {
        part: Part::Notification,
        db: store.db(),
        rest: api::routes(store, cursors),
        grpc: None,
        rules: RULES,
        tasks: vec![consumer.task(), sender.task()],
        audit_log,
    })
}
