//! `medisync events dead-letters`: what consumer groups gave up.
//!
//! A letter is known by its group's part and its number there, such as `analytics-3`.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use kit::{
    dead_letter::{DeadLetter, DeadLetters, Retried},
    log::EventLog,
};
use serde_json::{Map, Value, json};
use shared_middleware::clock::Ids;

use super::{
    Group, event_log, expect_store,
    shown::{Shown, printable},
};
use crate::{config::Config, out::Output, runtime::build_services};
use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, oldest first
    List {
        /// Of this consumer group only: analytics-service or notification-service
        #[arg(long)]
        group: Option<Group>,
        /// How to print: text, or json, one object a line
        #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
        output: Output,
    },
    /// Show one, and the event itself as far as the log still has it
    Show {
        /// Which, such as analytics-3
        id: String,
        /// Of this consumer group: then the number is enough
        #[arg(long)]
        group: Option<Group>,
        /// How to print: text or json
        #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
        output: Output,
        /// Print name and email, too. They are left out otherwise, since what is on a terminal ends
        /// up in scrollbacks, screenshots and tickets
        #[arg(long)]
        with_personal_data: bool,
    },
    /// Let their group handle them once more; what fails again is kept
    ///
    /// Effect and removal are one transaction, so a retry takes effect once, and one of an event
    /// that had its effect already changes nothing. An older event than the patient's latest does
    /// no harm. Exits with 1 when any is still dead.
    Retry(Selection),
    /// Forget them: the events will never take effect for their group
    Drop(Selection),
}

/// Which dead letters a command is for.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").args(["ids", "all"]).required(true)))]
pub(crate) struct Selection {
    /// Which, such as analytics-3
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// Of this consumer group only: analytics-service or notification-service
    #[arg(long)]
    pub(crate) group: Option<Group>,
}

/// This many are listed from a store at once.
const PAGE: u32 = 200;

/// The letters of the groups that a command is about.
struct DeadLetterStores(Vec<(Group, DeadLetters)>);

pub(super) async fn run(config: &Config, command: &DeadLettersCommand) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List { group, output } => {
            list(&DeadLetterStores::open(config, *group).await?, *output).await
        }
        DeadLettersCommand::Show { id, group, output, with_personal_data } => {
            let boxes = DeadLetterStores::open(config, group.or_else(|| named_group(id))).await?;
            show(&boxes, id, *output, *with_personal_data).await
        }
        DeadLettersCommand::Retry(chosen) => {
            retry(&DeadLetterStores::of(config, chosen).await?, chosen).await
        }
        DeadLettersCommand::Drop(chosen) => {
            forget(&DeadLetterStores::of(config, chosen).await?, chosen).await
        }
    }
}

async fn list(boxes: &DeadLetterStores, output: Output) -> anyhow::Result<()> {
    let head = ["ID", "DIED AT", "TYPE", "EVENT ID", "FROM"];
    if output == Output::Text {
        let [id, at, kind, event, from] = head;
        say!("{id:<18} {at:<27} {kind:<15} {event:<36} {from:<16} ERROR")?;
    }
    for (group, letters) in &boxes.0 {
        let mut after = 0;
        loop {
            let page = letters.list(after, PAGE).await?;
            for letter in &page {
                match output {
                    Output::Text => say!("{}", row(*group, letter))?,
                    Output::Json => say!("{}", Value::from(fields(*group, letter)))?,
                }
            }
            match page.last() {
                Some(last) => after = last.id,
                None => break,
            }
        }
    }
    Ok(())
}

async fn show(
    boxes: &DeadLetterStores,
    id: &str,
    output: Output,
    names: bool,
) -> anyhow::Result<()> {
    let (group, letters, number) = boxes.place(id)?;
    let letter = letters.find(number).await?.with_context(|| format!("there is no {id}"))?;
    let record = letters.record(&letter).await?;
    let shown = record.as_ref().map(|record| Shown::new(record, names));
    if output == Output::Json {
        let mut fields = fields(group, &letter);
        let event = shown.map_or(Value::Null, |shown| shown.json().into());
        fields.insert("event".to_owned(), event);
        say!("{}", Value::from(fields))?;
        return Ok(());
    }
    for (name, value) in fields(group, &letter) {
        let text = value.as_str().map_or_else(|| value.to_string(), printable);
        say!("{name:<10} {text}")?;
    }
    match shown {
        Some(shown) => say!("{:<10} {}", "event", shown.text())?,
        None => say!("{:<10} {GONE}", "event")?,
    }
    Ok(())
}

async fn retry(boxes: &DeadLetterStores, chosen: &Selection) -> anyhow::Result<()> {
    let (mut done, mut failed) = (0_u64, 0_u64);
    for (group, letters) in &boxes.0 {
        for id in boxes.chosen(*group, letters, chosen).await? {
            let name = name(*group, id);
            match letters.retry(id).await.with_context(|| name.clone())? {
                Retried::Done => {
                    done += 1;
                    say!("{name} has taken effect")?;
                }
                Retried::Failed(error) => {
                    failed += 1;
                    say!("{name} failed again and is kept: {error}")?;
                }
                Retried::Gone => {
                    failed += 1;
                    say!("{name} is kept: {GONE}")?;
                }
                // With --all somebody else was faster, which is as good.
                Retried::Unknown if chosen.all => {}
                Retried::Unknown => {
                    failed += 1;
                    say!("there is no {name}")?;
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} were not retried", done + failed);
    }
    Ok(())
}

async fn forget(boxes: &DeadLetterStores, chosen: &Selection) -> anyhow::Result<()> {
    let mut unknown = 0_u64;
    for (group, letters) in &boxes.0 {
        for id in boxes.chosen(*group, letters, chosen).await? {
            let name = name(*group, id);
            if letters.forget(id).await? {
                say!("dropped {name}")?;
            } else if !chosen.all {
                unknown += 1;
                say!("there is no {name}")?;
            }
        }
    }
    if unknown > 0 {
        bail!("{unknown} of them were not there");
    }
    Ok(())
}

// === impl DeadLetterStores ===

impl DeadLetterStores {
    /// Of one group, or of all.
    async fn open(config: &Config, group: Option<Group>) -> anyhow::Result<Self> {
        let log = event_log(config).await?;
        let mut boxes = Vec::new();
        for group in Group::ALL.into_iter().filter(|of| group.is_none_or(|group| group == *of)) {
            boxes.push((group, letters(config, group, Arc::clone(&log)).await?));
        }
        Ok(Self(boxes))
    }

    async fn of(config: &Config, chosen: &Selection) -> anyhow::Result<Self> {
        let boxes = Self::open(config, chosen.group).await?;
        // What is written wrong is told before anything is done.
        chosen.ids.iter().try_for_each(|id| boxes.place(id).map(drop))?;
        Ok(boxes)
    }

    /// Where the letter of this name is.
    fn place(&self, id: &str) -> anyhow::Result<(Group, &DeadLetters, i64)> {
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number > 0);
        if let ([(group, letters)], Some(number)) = (self.0.as_slice(), number(id)) {
            return Ok((*group, letters, number));
        }
        let found = self.0.iter().find_map(|(group, letters)| {
            let rest = id.strip_prefix(group.part().as_str())?.strip_prefix('-')?;
            Some((*group, letters, number(rest)?))
        });
        let form = "is no dead letter's id; `medisync events dead-letters list` has them";
        found.with_context(|| format!("{id} {form}"))
    }

    /// The numbers of a group's letters that were chosen.
    async fn chosen(
        &self,
        group: Group,
        letters: &DeadLetters,
        chosen: &Selection,
    ) -> anyhow::Result<Vec<i64>> {
        let mut ids = Vec::new();
        if !chosen.all {
            for id in &chosen.ids {
                let (of, _, number) = self.place(id)?;
                ids.extend((of == group).then_some(number));
            }
            return Ok(ids);
        }
        loop {
            let page = letters.list(ids.last().copied().unwrap_or(0), PAGE).await?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page.iter().map(|letter| letter.id));
        }
    }
}

const GONE: &str = "the record is gone from the log: it can only be dropped";

async fn letters(
    config: &Config,
    group: Group,
    log: Arc<dyn EventLog>,
) -> anyhow::Result<DeadLetters> {
    expect_store(config, group.part())?;
    let clock = config.clock().into();
    let opened = match group {
        Group::Analytics => {
            let database = config.database(group.part());
            analytics::dead_letters(&analytics::Config { database }, log, &clock).await
        }
        Group::Notification => {
            let settings = build_services::notification_config(config);
            notification::dead_letters(&settings, log, &clock, Ids::system()).await
        }
    };
    opened.with_context(|| format!("cannot open {:?}", config.database(group.part()).url))
}

/// The group that an id names.
fn named_group(id: &str) -> Option<Group> {
    let part = id.rsplit_once('-')?.0;
    Group::ALL.into_iter().find(|group| group.part().as_str() == part)
}

fn name(group: Group, id: i64) -> String {
    format!("{}-{id}", group.part())
}

fn row(group: Group, letter: &DeadLetter) -> String {
    let DeadLetter { topic, partition, offset, event_id, event_type, error, died_at, .. } = letter;
    let (name, from) = (name(group, letter.id), format!("{topic}/{partition}/{offset}"));
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    format!(
        "{name:<18} {:<27} {:<15} {:<36} {from:<16} {}",
        died_at.to_string(),
        or_none(event_type),
        or_none(event_id),
        printable(error),
    )
}

fn fields(group: Group, letter: &DeadLetter) -> Map<String, Value> {
    let fields = [
        ("id", json!(name(group, letter.id))),
        ("group", json!(group.name())),
        ("topic", json!(letter.topic)),
        ("partition", json!(letter.partition)),
        ("offset", json!(letter.offset)),
        ("eventId", json!(letter.event_id)),
        ("eventType", json!(letter.event_type)),
        ("error", json!(letter.error)),
        ("diedAt", json!(letter.died_at.to_string())),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
