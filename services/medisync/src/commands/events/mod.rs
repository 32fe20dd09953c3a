//! `medisync events`: what is published, what was given up, and projections made anew.
//!
//! - `tail` prints a topic as it grows.
//! - `dead_letters` lists, shows, retries and drops what a consumer group gave up.
//! - `replay` builds a group's projection once more.
//! - `shown` is how an event is printed: without names, unless they are asked for.
//!
//! All work beside a running mesh, on its stores and its log.

mod dead_letters;
mod replay;
mod shown;
mod tail;

use std::{path::Path, str::FromStr, sync::Arc};

use anyhow::bail;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use kit::{
    db::DbUrl,
    log::{EventLog, Start},
};
use shared_middleware::identity::Part;

use self::{dead_letters::DeadLettersCommand, tail::Tail};
use crate::{
    config::{Config, EventLogConfig},
    context::Context,
    runtime::build_services,
};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Print events as they are published, until Ctrl-C
    ///
    /// Each on a line: when it occurred, its type, the patient's id and version, the event's id,
    /// partition/offset. What cannot be decoded is shown with its headers.
    Tail(Tail),
    /// Events that a consumer group gave up
    ///
    /// An event that cannot be handled is given up after five tries, so that it blocks no other; so
    /// is a message that can never be delivered. Its record stays in the log, a copy goes to the
    /// topic patient.dlq for anyone who reads that, and a row is kept here until it is retried with
    /// success or dropped.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Build a group's projection once more from the log, while the old one is served
    ///
    /// For when a projection is wrong, or is to count what it did not. The mesh goes on meanwhile:
    /// readers see the old projection until the new one has all that the old one has, then the new
    /// one. One at a time. A replay that ends before changes nothing; run it again.
    Replay {
        /// analytics-service
        #[arg(long)]
        group: Group,
        /// beginning; or RFC 3339, or a day (UTC): then only events published since are counted
        #[arg(long, value_name = "TIME", value_parser = first_event)]
        from: Start,
    },
}

/// A consumer group: who reads the topic `patient`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Analytics,
    Notification,
}

pub(crate) fn command(context: &Context, command: &EventsCommand) -> anyhow::Result<()> {
    let config = context.of_what_is_there()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            EventsCommand::Tail(tail) => tail::run(&config, tail).await,
            EventsCommand::DeadLetters(command) => dead_letters::run(&config, command).await,
            EventsCommand::Replay { group, from } => replay::run(&config, *group, *from).await,
        }
    })
}

/// The event log of a mesh that is there. One in a file is not made: who looks for events in a
/// folder that has none has the wrong folder.
async fn event_log(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    if matches!(config.events, EventLogConfig::Embedded) {
        expect_file("event log", &config.events_path())?;
    }
    build_services::event_log(config, [Part::Analytics].iter()).await
}

/// A part's store has to be there, too.
pub(crate) fn expect_store(config: &Config, part: Part) -> anyhow::Result<()> {
    match &config.database(part).url {
        DbUrl::Sqlite(path) => expect_file(&format!("store of {part}"), path),
        DbUrl::Postgres(_) => Ok(()),
    }
}

fn expect_file(what: &str, path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        bail!("there is no {what} at {} (--data-dir says where to look)", path.display());
    }
    Ok(())
}

/// A moment: RFC 3339, or a day, which begins in UTC.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || {
        let date: Date = text.parse().ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    // A day is tried first: it is no moment, and the parser for those is lenient.
    day_only(text).then(day).flatten().or_else(|| text.parse().ok()).ok_or_else(|| {
        "must be of the form 2026-03-02T08:00:00Z (RFC 3339) or 2026-03-02".to_owned()
    })
}

/// Anyone who asks for what came after a time that has not come yet has mistyped it: nothing would
/// be found, now or for long.
pub(crate) fn expect_past(what: &str, at: Timestamp, now: Timestamp) -> anyhow::Result<()> {
    if at > now {
        bail!("{what}: {at} has not come yet (it is {now:.0})");
    }
    Ok(())
}

fn day_only(text: &str) -> bool {
    text.len() == "2026-03-02".len()
}

/// `beginning`, or a moment.
pub(crate) fn first_event(text: &str) -> Result<Start, String> {
    if text == "beginning" {
        return Ok(Start::Beginning);
    }
    moment(text).map(Start::Time).map_err(|form| format!("{form}, or `beginning`"))
}

// === impl Group ===

impl Group {
    pub(crate) const ALL: [Self; 2] = [Self::Analytics, Self::Notification];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Analytics => analytics::GROUP,
            Self::Notification => notification::GROUP,
        }
    }

    /// Whose store holds its positions and dead letters.
    pub(crate) const fn part(self) -> Part {
        match self {
            Self::Analytics => Part::Analytics,
            Self::Notification => Part::Notification,
        }
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|group| group.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(" and ");
            format!("there is no such consumer group; there are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_day_in_utc() {
        let second = |text| moment(text).unwrap().as_second();
        assert_eq!(second("1970-01-02"), 86_400);
        assert_eq!(second("1970-01-01T01:00:00+01:00"), 0);
        for odd in ["yesterday", "2026-02-30", "", "12"] {
            assert!(first_event(odd).unwrap_err().contains("`beginning`"), "{odd}");
            assert!(moment(odd).unwrap_err().contains("RFC 3339"), "{odd}");
        }
    }

    #[test]
    fn groups_are_known_by_their_names() {
        for group in Group::ALL {
            assert_eq!(group.name().parse(), Ok(group));
        }
        let refused = "billing-service".parse::<Group>().unwrap_err();
        assert!(refused.contains("analytics-service and notification-service"), "{refused}");
    }
}
