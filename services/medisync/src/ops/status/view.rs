//! The status for people: a block for each process.

use std::fmt::Write as _;

use super::{Process, Status};

/// All of it.
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    for process in &status.processes {
        if !text.is_empty() {
            text.push('\n');
        }
        // A String takes whatever is written to it.
        let _ = block(process, &mut text);
    }
    text.truncate(text.trim_end().len());
    text
}

fn block(process: &Process, text: &mut String) -> std::fmt::Result {
    let admin = &process.admin;
    if let Some(why) = &process.unreachable {
        return writeln!(text, "{admin}  unreachable: {why}");
    }
    let Process { version, uptime_s, cpu_cores, memory_mib, .. } = process;
    let ready = if process.ready { "ready" } else { "NOT READY" };
    let up = span(*uptime_s);
    write!(text, "{admin}  {ready}  {version}  up {up}  ")?;
    writeln!(text, "{cpu_cores:.2} cores  {memory_mib:.0} MiB")?;
    if !process.away.is_empty() {
        writeln!(text, "  AWAY  {}", process.away.join(", "))?;
    }
    if !process.parts.is_empty() {
        writeln!(text, "  {:<14}{:>12}{:>12}{:>12}", "PART", "REQUESTS/S", "ERRORS/S", "P99 MS")?;
    }
    for part in &process.parts {
        let p99 = part.p99_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let (requests, errors) = (part.requests_per_s, part.errors_per_s);
        writeln!(text, "  {:<14}{requests:>12.1}{errors:>12.1}{p99:>12}", part.part)?;
    }
    if let Some(outbox) = &process.outbox {
        let oldest = span(outbox.oldest_s);
        write!(text, "  outbox        {} waiting, oldest {oldest}, ", outbox.pending)?;
        writeln!(text, "{:.1} published/s", outbox.published_per_s)?;
    }
    for group in &process.groups {
        write!(text, "  {:<22}lag {}, ", group.group, group.lag)?;
        write!(text, "{:.1} consumed/s, ", group.consumed_per_s)?;
        writeln!(text, "{} dead letters", group.dead_letters)?;
    }
    if let Some(billing) = &process.billing {
        let (breaker, pending) = (billing.breaker, billing.accounts_pending);
        writeln!(text, "  billing       breaker {breaker}, {pending} accounts pending")?;
    }
    if !process.certificates_end_s.is_empty() {
        let ends = process.certificates_end_s.iter();
        let ends: Vec<_> = ends.map(|(part, left_s)| format!("{part} {}", span(*left_s))).collect();
        writeln!(text, "  certificates  {} left", ends.join(", "))?;
    }
    Ok(())
}

/// The two greatest units of a time.
fn span(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_two_greatest_units() {
        let told = [0.4, 61.0, 7_260.0, 90_000.0, -5.0].map(span);
        assert_eq!(told, ["0 s", "1 min 1 s", "2 h 1 min", "1 d 1 h", "0 s"]);
    }
}
