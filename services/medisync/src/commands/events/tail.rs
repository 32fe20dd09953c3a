//! `medisync events tail`: a topic as it grows.

use kit::log::Start;
use shared_middleware::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

use super::{event_log, expect_past, shown};
use crate::{
    config::Config,
    out::{self, Output},
};
use clap::Args;
use jiff::Timestamp;

#[derive(Args, Debug)]
pub(crate) struct Tail {
    /// The topic; patient.dlq has the dead letters
    #[arg(long, default_value = "patient")]
    pub(crate) topic: String,
    /// Begin with the oldest event that is still there, not with the next one
    #[arg(long, conflicts_with = "since")]
    pub(crate) from_beginning: bool,
    /// Begin with the first event published then or later: RFC 3339, or a day (UTC)
    #[arg(long, value_name = "TIME", value_parser = super::moment)]
    pub(crate) since: Option<Timestamp>,
    /// How to print: text, or json, one object a line
    #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
    pub(crate) output: Output,
    /// End after this many events
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print names and emails, too. They are left out otherwise, since what is on a terminal ends
    /// up in scrollbacks, screenshots and tickets
    #[arg(long)]
    pub(crate) with_personal_data: bool,
}

/// This many records are read at once at most.
const BATCH_MAX: u32 = 256;

/// Prints until it is asked to end, has printed enough, or nobody reads it.
pub(super) async fn run(config: &Config, tail: &Tail) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        printed = print(config, tail) => printed,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}

async fn print(config: &Config, tail: &Tail) -> anyhow::Result<()> {
    if let Some(since) = tail.since {
        expect_past("--since", since, Clock::system().now())?;
    }
    let log = event_log(config).await?;
    let start = match tail.since {
        Some(since) => Start::Time(since),
        None if tail.from_beginning => Start::Beginning,
        None => Start::End,
    };
    let mut reader = log.read(&tail.topic, start).await?;
    let mut left = tail.limit.unwrap_or(u64::MAX);
    while left > 0 && !out::reader_is_gone() {
        let records_max = u32::try_from(left).unwrap_or(BATCH_MAX).min(BATCH_MAX);
        for delivered in reader.next(records_max).await?.records {
            match tail.output {
                Output::Text => say!("{}", shown::line(&delivered, tail.with_personal_data))?,
                Output::Json => {
                    say!("{}", shown::object(&tail.topic, &delivered, tail.with_personal_data))?;
                }
            }
            left -= 1;
        }
    }
    Ok(())
}
