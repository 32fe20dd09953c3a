//! Where log lines are written: to standard error, a line at a time, or those of a busy thread
//! together.
//!
//! A system call for each line is a good part of what a request costs at the gateway. So a thread
//! may [`gather`] its lines, and [`flush`] them whenever it has nothing else to do: then they are
//! late by no more than the work that was there already.

use std::{
    cell::RefCell,
    io::{self, Write},
};

/// Lines that are gathered are written when there are this many bytes of them, busy or not.
const GATHERED_BYTES_MAX: usize = 16 << 10;

thread_local! {
    static GATHERED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes a log line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLines;

/// Gathers this thread's lines from now on. Anyone who calls it sees to [`flush`].
pub fn gather() {
    gathered(|lines| {
        lines.get_or_insert_with(|| Vec::with_capacity(GATHERED_BYTES_MAX));
    });
}

/// Writes what this thread has gathered.
pub fn flush() {
    gathered(|lines| {
        if let Some(lines) = lines.as_mut().filter(|lines| !lines.is_empty()) {
            // Where nobody can be told, a lost line is not told either.
            let _ = io::stderr().write_all(lines);
            lines.clear();
        }
    });
}

/// None when the thread is ending, and what it gathered is gone already.
fn gathered<R>(with: impl FnOnce(&mut Option<Vec<u8>>) -> R) -> Option<R> {
    GATHERED.try_with(|lines| with(&mut lines.borrow_mut())).ok()
}

// === impl LogLines ===

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = gathered(|lines| {
            let lines = lines.as_mut()?;
            lines.extend_from_slice(line);
            Some(lines.len())
        });
        match bytes.flatten() {
            Some(bytes) if bytes > GATHERED_BYTES_MAX => flush(),
            Some(_) => {}
            None => io::stderr().write_all(line)?,
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_holds_its_lines_back_only_if_it_gathers_them() {
        let held = || gathered(|lines| lines.as_ref().map(Vec::len)).flatten();
        let thread = std::thread::spawn(move || {
            LogLines.write_all(b"").unwrap();
            let before = held();
            gather();
            LogLines.write_all(b"\n").unwrap();
            let gathered = held();
            flush();
            (before, gathered, held())
        });
        assert_eq!(thread.join().unwrap(), (None, Some(1), Some(0)));
    }
}
