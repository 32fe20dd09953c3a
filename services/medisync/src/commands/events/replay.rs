//! `medisync events replay`: a projection built once more from the log.

use std::{sync::Arc, time::Instant};

use analytics::{Replay, ReplayProgress};
use anyhow::{Context as _, bail};
use kit::log::Start;
use shared_middleware::identity::Part;
use tokio::signal::unix::{SignalKind, signal};

use super::{Group, event_log, expect_past, expect_store};
use crate::{config::Config, ops::progress::Progress};

pub(super) async fn run(config: &Config, group: Group, from: Start) -> anyhow::Result<()> {
    if group == Group::Notification {
        bail!(
            "{} cannot be replayed: it has no projection, and what was sent is not sent twice",
            group.name()
        );
    }
    if let Start::Time(since) = from {
        expect_past("--from", since, config.clock().now())?;
    }
    let log = event_log(config).await?;
    expect_store(config, Part::Analytics)?;
    let settings = analytics::Config { database: config.database(Part::Analytics) };
    let began = Instant::now();
    let claimed = Replay::claim(&settings, Arc::clone(&log), config.clock(), from).await;
    let mut replay = claimed.with_context(|| {
        format!("cannot replay into {:?}", config.database(Part::Analytics).url)
    })?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut progress = Progress::new("offsets");
    let watch = |now: ReplayProgress| progress.show(now.done, now.total);
    let ended = tokio::select! {
        ended = replay.run(watch) => Some(ended),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
    };
    progress.end();
    let Some(ended) = ended else {
        if replay.abandon().await? {
            bail!("stopped, after the new projection had taken over");
        }
        bail!("stopped: what is served is what was served before");
    };
    let done = ended.context("the replay failed, and what is served is what was served before")?;
    let (events, took) = (done.progress.events, began.elapsed().as_secs_f64());
    say!(
        "read {events} events in {took:.1} s ({:.0} events/s); projection {} took the place of {}",
        events as f64 / took.max(0.001),
        done.to,
        done.from
    )?;
    if done.progress.passed_over > 0 {
        say!("passed over {} events that cannot be counted", done.progress.passed_over)?;
    }
    if let Start::Time(since) = from {
        say!("it counts only events that were published since {since}")?;
    }
    Ok(())
}
