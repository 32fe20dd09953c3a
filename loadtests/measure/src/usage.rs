//! What processes use of the machine, and hold: read from `/proc`.

use std::{collections::BTreeMap, fs, io};

/// Processes that are measured as one.
pub struct Member {
    /// Their name in the report.
    pub name: String,
    /// All of them.
    pub pids: Vec<u32>,
}

/// Processor time that was used so far, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// By member.
    pub members: BTreeMap<String, u64>,
    /// By member and name of thread, of threads that live.
    pub threads: BTreeMap<(String, String), u64>,
    /// By the process that measures.
    pub ours: u64,
    /// By everything on this machine.
    pub machine: u64,
}

/// Memory that a member holds.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Memory {
    /// Whose.
    pub member: String,
    /// Resident; of several processes, what they share is counted once.
    pub mib: f64,
    /// The most that it was ever; of one process only.
    pub peak_mib: Option<f64>,
}

// === impl Used ===

impl Used {
    /// Up to now.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now(members: &[Member]) -> io::Result<Self> {
        let mut used = Self { ours: of_process("self")?, machine: machine()?, ..Self::default() };
        for member in members {
            let mut total = 0;
            for pid in &member.pids {
                // One that has ended meanwhile is in its parent's account.
                total += of_process(&pid.to_string()).unwrap_or(0);
                for (name, time) in threads(*pid).unwrap_or_default() {
                    *used.threads.entry((member.name.clone(), name)).or_default() += time;
                }
            }
            used.members.insert(member.name.clone(), total);
        }
        Ok(used)
    }

    /// Since then.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            members: difference(&self.members, &before.members),
            threads: difference(&self.threads, &before.threads),
            ours: self.ours.saturating_sub(before.ours),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// Of all members.
    pub fn total(&self) -> u64 {
        self.members.values().sum()
    }
}

// === impl Memory ===

impl Memory {
    /// Of each member, now.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn of(members: &[Member]) -> io::Result<Vec<Self>> {
        members.iter().map(Self::of_member).collect()
    }

    fn of_member(member: &Member) -> io::Result<Self> {
        let of = |pid: &u32, file: &str, name: &str| -> io::Result<f64> {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
            kib.map(|kib: f64| kib / 1024.0).ok_or_else(|| io::Error::other("no such line"))
        };
        let (mib, peak_mib) = match member.pids.as_slice() {
            [pid] => (of(pid, "status", "VmRSS:")?, Some(of(pid, "status", "VmHWM:")?)),
            all => (all.iter().filter_map(|pid| of(pid, "smaps_rollup", "Pss:").ok()).sum(), None),
        };
        Ok(Self { member: member.name.clone(), mib, peak_mib })
    }
}

fn difference<K: Clone + Ord>(
    now: &BTreeMap<K, u64>,
    before: &BTreeMap<K, u64>,
) -> BTreeMap<K, u64> {
    let since = |(key, now): (&K, &u64)| {
        (key.clone(), now.saturating_sub(before.get(key).copied().unwrap_or(0)))
    };
    now.iter().map(since).collect()
}

/// A process's own and that of its children that have ended.
fn of_process(pid: &str) -> io::Result<u64> {
    let (_, fields) = stat(&format!("/proc/{pid}/stat"))?;
    // proc(5): utime, stime, cutime, cstime are fields 14 to 17; ours begin with field 3.
    Ok(fields.iter().skip(11).take(4).map(|ticks| in_us(*ticks)).sum())
}

/// Threads of the same name are one; numbers at the end of a name are no part of it.
fn threads(pid: u32) -> io::Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let Ok((name, fields)) = stat(&format!("{}/stat", task.path().display())) else { continue };
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || "#- ".contains(c));
        let used: u64 = fields.iter().skip(11).take(2).map(|ticks| in_us(*ticks)).sum();
        *all.entry(name.to_owned()).or_default() += used;
    }
    Ok(all)
}

/// The name, and the fields after it; those that are no numbers count as 0.
fn stat(path: &str) -> io::Result<(String, Vec<u64>)> {
    let text = fs::read_to_string(path)?;
    let wrong = || io::Error::other("not of the form pid (name) state …");
    let (head, rest) = text.rsplit_once(')').ok_or_else(wrong)?;
    let (_, name) = head.split_once('(').ok_or_else(wrong)?;
    let fields = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    Ok((name.to_owned(), fields))
}

/// All that is not idle: user, nice, system, irq, softirq.
fn machine() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    Ok([0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).map(|ticks| in_us(*ticks)).sum())
}

fn in_us(ticks: u64) -> u64 {
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
}
