//! A process that dies with the one that started it, however that ends.
//!
//! The system can kill a child when its parent ends, but means by parent the *thread* that started
//! it. So each process has a thread that starts it, waits for it, and lives as long.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::until;

/// A running process, or one that has ended.
pub(crate) struct Process {
    pid: Pid,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// While this is locked and there is no status, the pid is the process's own.
    ended: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

/// A command that is killed when the thread ends that spawns it. `options` are those of `setpriv`.
pub(crate) fn dying_with_us(program: impl AsRef<OsStr>, options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(options).args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

// === impl Process ===

impl Process {
    /// Starts one of [`dying_with_us`], in a process group of its own: Ctrl-C is not for it.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        Self::spawn_in_our_group(command)
    }

    /// The same for one that uses the terminal as we do.
    pub(crate) fn spawn_in_our_group(mut command: Command) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let state = Arc::new(State::default());
        let kept = Arc::clone(&state);
        thread::Builder::new().name("testbed".to_owned()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let pid = Pid::from_child(&child);
            let _ = tell.send(Ok(pid));
            // Leaves the dead one there: until it is reaped, under the lock, nobody gets its pid.
            while let Err(rustix::io::Errno::INTR) =
                waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            {
            }
            let mut ended = kept.ended();
            *ended = Some(child.wait().unwrap_or_default());
            kept.changed.notify_all();
        })?;
        let pid = told.recv().map_err(io::Error::other)??;
        Ok(Self { pid, state })
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let ended = self.state.ended();
        if ended.is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// The same to it and its children: they stand still meanwhile, so none is born or forgotten.
    pub(crate) fn signal_all(&self, signal: Signal) -> io::Result<Vec<Pid>> {
        let ended = self.state.ended();
        if ended.is_some() {
            return Ok(Vec::new());
        }
        kill_process(self.pid, Signal::STOP)?;
        until("the process stands still", || {
            Ok(matches!(stat(self.pid)?.0, 'T' | 'Z').then_some(()))
        })?;
        let children = children(self.pid)?;
        for pid in children.iter().chain([&self.pid]) {
            // A child that has just ended is none.
            let _ = kill_process(*pid, signal);
        }
        Ok(children)
    }

    /// Its own and those of its children; none once it has ended.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        if self.ended().is_some() {
            return Ok(Vec::new());
        }
        let all = [vec![self.pid], children(self.pid)?].concat();
        Ok(all.iter().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()).collect())
    }

    /// Kills it and its children, and waits until all are gone.
    pub(crate) fn kill_all(&self) -> io::Result<ExitStatus> {
        let children = self.signal_all(Signal::KILL)?;
        let status = self.wait();
        until("the children are gone", || {
            let gone = |pid: &Pid| !matches!(stat(*pid), Ok((state, _)) if state != 'Z');
            Ok(children.iter().all(gone).then_some(()))
        })?;
        Ok(status)
    }

    /// Waits until it ends.
    pub(crate) fn wait(&self) -> ExitStatus {
        let mut ended = self.state.ended();
        loop {
            if let Some(status) = *ended {
                return status;
            }
            ended = self.state.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it ends, but not longer than that.
    pub(crate) fn wait_at_most(&self, time: Duration) -> Option<ExitStatus> {
        let running = |ended: &mut Option<ExitStatus>| ended.is_none();
        let waited = self.state.changed.wait_timeout_while(self.state.ended(), time, running);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *self.state.ended()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

// === impl State ===

impl State {
    fn ended(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn children(parent: Pid) -> io::Result<Vec<Pid>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let pids =
        processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    Ok(pids.filter(|pid| matches!(stat(*pid), Ok((_, of)) if of == Some(parent))).collect())
}

/// The state of a process, and its parent.
fn stat(pid: Pid) -> io::Result<(char, Option<Pid>)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // `pid (name) state parent …`; the name may hold anything.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next().and_then(|state| state.chars().next()).unwrap_or('Z');
    Ok((state, fields.next().and_then(|pid| Pid::from_raw(pid.parse().ok()?))))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_process_dies_with_the_thread_that_started_it() {
        let (tell, told) = mpsc::channel();
        let starter = thread::spawn(move || {
            let mut child = dying_with_us("sh", &[])
                .args(["-c", "echo up; exec sleep 1000"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            tell.send(child).unwrap();
        });
        let mut child = told.recv().unwrap();
        starter.join().unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it_and_dies_when_dropped() {
        let command = || {
            let mut command = dying_with_us("sleep", &[]);
            command.arg("1000");
            command
        };
        let asked = thread::spawn(move || Process::spawn(command()).unwrap());
        let process = asked.join().unwrap();
        assert_eq!(process.wait_at_most(Duration::from_millis(50)), None);
        let pid = process.pid;
        drop(process);
        assert!(stat(pid).is_err());
    }

    #[test]
    fn a_process_is_killed_with_its_children() {
        let mut command = dying_with_us("sh", &[]);
        command.args(["-c", "sleep 1000 & sleep 1000 & wait"]);
        let process = Process::spawn(command).unwrap();
        until("it has children", || Ok((children(process.pid)?.len() == 2).then_some(()))).unwrap();
        let children = children(process.pid).unwrap();
        assert!(!process.kill_all().unwrap().success());
        let gone = |pid: &Pid| !matches!(stat(*pid), Ok((state, _)) if state != 'Z');
        assert!(children.iter().all(gone));
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let process = Process::spawn(Command::new("/no/such/program"));
        assert_eq!(process.err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
