//! The figures as Markdown, for people, and as JSON, for anyone who compares two runs.
//!
//! Figures of requests are the medians of their rounds; the JSON has every round.

use std::{collections::BTreeSet, fmt::Write as _};

use measure::{Machine, median};

use crate::figures::{Report, Round, Stack};

/// The rounds of one kind of request.
type Rounds = fn(&Stack) -> &[Round];

const KINDS: [(&str, Rounds); 3] = [
    ("GET one patient", |stack| &stack.measured.reads),
    ("GET a page of 20", |stack| &stack.measured.pages),
    ("POST a patient", |stack| &stack.measured.registrations),
];
/// This many lines of what does it, for each kind and stack.
const THREADS_TOLD: usize = 12;

/// As Markdown.
pub(crate) fn markdown(report: &Report) -> anyhow::Result<String> {
    let mut text = "# The two stacks, measured\n\n".to_owned();
    head(report, &mut text)?;
    requests(report, &mut text)?;
    processor_time(report, &mut text)?;
    memory(report, &mut text)?;
    events(report, &mut text)?;
    costs(report, &mut text)?;
    Ok(text)
}

fn head(report: &Report, text: &mut String) -> anyhow::Result<()> {
    let Machine { processor, processors, memory_gib, system, file_system, sync_ms, date, commit } =
        &report.machine;
    writeln!(text, "By `make bench-stacks`; `loadtests/README.md` says what each figure tells.\n")?;
    writeln!(text, "- {date}, commit {commit}, in {:.0} s", report.took_s)?;
    writeln!(text, "- {processors} processors ({processor}), {memory_gib:.0} GiB, {system}")?;
    writeln!(
        text,
        "- data on {file_system}, where a sync takes {sync_ms:.2} ms; every commit is synced \
         before it is acknowledged",
    )?;
    writeln!(
        text,
        "- {} connections, rounds of {} s, medians; what sends the requests runs on the same \
         processors",
        report.connections, report.round_s,
    )?;
    for stack in &report.stacks {
        let Stack { kind, versions, load_average, ready_s, .. } = stack;
        let all = [&stack.measured.reads, &stack.measured.pages, &stack.measured.registrations];
        let others = median(all.into_iter().flatten().map(|round| round.others_busy));
        writeln!(
            text,
            "- {kind}: {}; ready after {ready_s:.1} s; load average {load_average} before; others \
             kept {others:.1} processors busy meanwhile",
            versions.join(", "),
        )?;
    }
    Ok(())
}

fn requests(report: &Report, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "\n## Requests through the gateway\n")?;
    writeln!(text, "| stack | request | requests/s | p50 ms | p99 ms | slowest ms | rounds/s |")?;
    writeln!(text, "|---|---|--:|--:|--:|--:|---|")?;
    for stack in &report.stacks {
        for (name, rounds) in KINDS {
            let rounds = rounds(stack);
            let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
            let slowest = rounds.iter().map(|round| round.took_ms.max).fold(0.0, f64::max);
            let each: Vec<_> = rounds.iter().map(|round| format!("{:.0}", round.per_s)).collect();
            writeln!(
                text,
                "| {} | {name} | {:.0} | {:.1} | {:.1} | {slowest:.0} | {} |",
                stack.kind,
                of(|round| round.per_s),
                of(|round| round.took_ms.p50),
                of(|round| round.took_ms.p99),
                each.join(", "),
            )?;
        }
    }
    writeln!(text, "\nNo request failed: one that does ends the run.")?;
    Ok(())
}

fn processor_time(report: &Report, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "\n## Processor time per request, in microseconds\n")?;
    writeln!(
        text,
        "A registration's is with all that follows on it: events, counters, messages.\n"
    )?;
    for stack in &report.stacks {
        let members: Vec<_> = stack.measured.memory_idle.iter().map(|of| &of.member).collect();
        let names: Vec<_> = members.iter().map(|name| name.as_str()).collect();
        writeln!(text, "| {} | {} | all | load |", stack.kind, names.join(" | "))?;
        writeln!(text, "|---|{}--:|--:|", "--:|".repeat(members.len()))?;
        for (name, rounds) in KINDS {
            let rounds = rounds(stack);
            let of = |member: &str| {
                median(rounds.iter().map(|round| round.cpu_us.get(member).copied().unwrap_or(0.0)))
            };
            let each: Vec<_> = members.iter().map(|member| format!("{:.0}", of(member))).collect();
            let all = median(rounds.iter().map(|round| round.cpu_us.values().sum()));
            let load = median(rounds.iter().map(|round| round.cpu_us_of_load));
            writeln!(text, "| {name} | {} | {all:.0} | {load:.0} |", each.join(" | "))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn memory(report: &Report, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "## Memory, in MiB\n")?;
    writeln!(text, "| stack | process | idle | after the rounds | most ever |")?;
    writeln!(text, "|---|---|--:|--:|--:|")?;
    for stack in &report.stacks {
        let (idle, loaded) = (&stack.measured.memory_idle, &stack.measured.memory_loaded);
        for (idle, loaded) in idle.iter().zip(loaded) {
            let peak = loaded.peak_mib.map_or("–".to_owned(), |mib| format!("{mib:.0}"));
            writeln!(
                text,
                "| {} | {} | {:.0} | {:.0} | {peak} |",
                stack.kind, idle.member, idle.mib, loaded.mib
            )?;
        }
    }
    Ok(())
}

fn events(report: &Report, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "\n## Events\n\nFrom a registration's 201 until analytics has counted it:\n")?;
    writeln!(
        text,
        "| stack | registrations | per second | p50 ms | p99 ms | slowest ms | at once |"
    )?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|")?;
    for Stack { kind, effect, .. } in &report.stacks {
        let took = effect.took_ms;
        writeln!(
            text,
            "| {kind} | {} | {:.0} | {:.1} | {:.1} | {:.0} | {} |",
            effect.registrations, effect.per_s, took.p50, took.p99, took.max, effect.at_once,
        )?;
    }
    writeln!(text, "\nThe relay, with events that waited in the outbox:\n")?;
    writeln!(text, "| stack | events | events/s | from patient's start, s | processor µs/event |")?;
    writeln!(text, "|---|--:|--:|--:|---|")?;
    for Stack { kind, relay, .. } in &report.stacks {
        let cpu = relay.cpu_us.iter().map(|(member, us)| format!("{member} {us:.0}"));
        let cpu: Vec<_> = cpu.collect();
        writeln!(
            text,
            "| {kind} | {} | {:.0} | {:.1} | {} |",
            relay.events,
            relay.per_s,
            relay.took_s,
            cpu.join(", "),
        )?;
    }
    Ok(())
}

/// What each kind of request costs, by what does it.
fn costs(report: &Report, text: &mut String) -> anyhow::Result<()> {
    writeln!(text)?;
    for (kind, rounds) in KINDS {
        writeln!(text, "## Where the time of {kind} goes\n")?;
        for stack in &report.stacks {
            cost(stack, rounds(stack), text)?;
        }
    }
    Ok(())
}

fn cost(stack: &Stack, rounds: &[Round], text: &mut String) -> anyhow::Result<()> {
    let names: BTreeSet<_> = rounds.iter().flat_map(|it| it.per_request.keys()).collect();
    let counted = names.into_iter().map(|name| {
        let of = |round: &Round| round.per_request.get(name).copied().unwrap_or(0.0);
        format!("{name} {:.2}", median(rounds.iter().map(of)))
    });
    let counted: Vec<_> = counted.collect();
    if !counted.is_empty() {
        writeln!(text, "{}, for each of them: {}.\n", stack.kind, counted.join(", "))?;
    }
    let names: BTreeSet<_> = rounds.iter().flat_map(|it| it.cpu_us_of_threads.keys()).collect();
    let of = |name: &str| {
        let of = |round: &Round| round.cpu_us_of_threads.get(name).copied().unwrap_or(0.0);
        median(rounds.iter().map(of))
    };
    let mut costs: Vec<_> = names.into_iter().map(|name| (of(name), name)).collect();
    costs.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    writeln!(text, "| {}: process/threads | processor µs |\n|---|--:|", stack.kind)?;
    for (us, name) in costs.iter().take(THREADS_TOLD) {
        writeln!(text, "| {name} | {us:.0} |")?;
    }
    Ok(writeln!(text)?)
}
