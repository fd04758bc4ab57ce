//! What will become of a pending signal? The threads of the process tell, in /proc/self/task
//! (proc_pid_status(5)).

use std::ffi::CString;

use libc::c_int;

use super::bit;
use crate::sys::linux::raw;

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is not pending.
    None,
    /// It is pending, and all that could take it block it.
    Pending,
    /// A thread does not block it: it will be delivered.
    Delivered,
}

/// Asks all threads. Where /proc cannot be read, this one speaks for all.
pub(super) fn fate(signal: c_int) -> Fate {
    let here = alone(signal);
    // What is only pending here, or not blocked here, is clear.
    if here == Fate::Delivered {
        return here;
    }
    all_threads(signal).unwrap_or(here)
}

/// As if this were the only thread.
fn alone(signal: c_int) -> Fate {
    // Nothing is added to the mask.
    let blocked = raw::change_mask(libc::SIG_BLOCK, 0);
    match (raw::rt_sigpending() & bit(signal) != 0, blocked & bit(signal) != 0) {
        (false, _) => Fate::None,
        (true, true) => Fate::Pending,
        (true, false) => Fate::Delivered,
    }
}

fn all_threads(signal: c_int) -> Option<Fate> {
    let folder = raw::open_read(c"/proc/self/task").ok()?;
    let mut census = Census::default();
    let mut entries = [0; 4096];
    let mut read = 0;
    while let Ok(n @ 1..) = raw::getdents(folder, &mut entries) {
        names(&entries[..n], |name| {
            if name.iter().all(u8::is_ascii_digit)
                && let Some(status) = status(name)
            {
                census.add(&status, signal);
                read += 1;
            }
        });
    }
    let _ = raw::close(folder);
    (read > 0).then(|| census.fate())
}

/// The names in what getdents64 gave (`struct linux_dirent64`: the length at 16, the name at 19).
fn names(mut entries: &[u8], mut f: impl FnMut(&[u8])) {
    while let Some(&[low, high]) = entries.get(16..18) {
        let length = u16::from_ne_bytes([low, high]) as usize;
        let Some(name) = entries.get(19..length) else { return };
        f(name.split(|&b| b == 0).next().unwrap_or_default());
        entries = &entries[length..];
    }
}

fn status(thread: &[u8]) -> Option<Vec<u8>> {
    let path = [b"/proc/self/task/", thread, b"/status"].concat();
    let file = raw::open_read(&CString::new(path).ok()?).ok()?;
    let mut text = vec![0; 16384]; // the line of groups may be long
    let read = raw::read(file, &mut text);
    let _ = raw::close(file);
    text.truncate(read.ok()?);
    Some(text)
}

#[derive(Debug, Default)]
struct Census {
    /// Pending at the process, for any thread to take.
    shared: bool,
    /// Pending at a thread that blocks it, or does not.
    private: bool,
    private_unblocked: bool,
    /// A thread does not block it.
    unblocked: bool,
}

impl Census {
    fn add(&mut self, status: &[u8], signal: c_int) {
        let field = |name: &[u8]| status.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(name));
        let state = field(b"State:\t").and_then(|state| state.first());
        if matches!(state, Some(b'Z' | b'X')) {
            return; // it takes nothing any more
        }
        let has = |name| {
            let set = field(name).and_then(|set| std::str::from_utf8(set).ok());
            set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0) & bit(signal)
                != 0
        };
        let blocked = has(b"SigBlk:");
        self.shared |= has(b"ShdPnd:");
        self.unblocked |= !blocked;
        if has(b"SigPnd:") {
            self.private |= blocked;
            self.private_unblocked |= !blocked;
        }
    }

    fn fate(&self) -> Fate {
        if self.private || (self.shared && !self.unblocked) {
            Fate::Pending
        } else if self.shared || self.private_unblocked {
            Fate::Delivered
        } else {
            Fate::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate_of(threads: &[&str]) -> Fate {
        let mut census = Census::default();
        threads.iter().for_each(|status| census.add(status.as_bytes(), 10));
        census.fate()
    }

    #[test]
    fn pending_is_what_all_block() {
        const NONE: &str = "State:\tS\nSigPnd:\t0\nShdPnd:\t0\nSigBlk:\t0\n";
        const SHARED: &str = "State:\tS\nSigPnd:\t0\nShdPnd:\t0200\nSigBlk:\t0200\n";
        const TAKES: &str = "State:\tS\nSigPnd:\t0\nShdPnd:\t0200\nSigBlk:\t0\n";
        const PRIVATE: &str = "State:\tS\nSigPnd:\t0200\nShdPnd:\t0\nSigBlk:\t0200\n";
        const ENDED: &str = "State:\tZ\nSigPnd:\t0\nShdPnd:\t0200\nSigBlk:\t0\n";
        assert_eq!(fate_of(&[NONE, NONE]), Fate::None);
        assert_eq!(fate_of(&[SHARED, SHARED, ENDED]), Fate::Pending);
        assert_eq!(fate_of(&[SHARED, TAKES]), Fate::Delivered);
        assert_eq!(fate_of(&[PRIVATE, NONE]), Fate::Pending);
    }

    #[test]
    fn entries_are_taken_apart() {
        let mut entries = Vec::new();
        for name in [&b".\0\0\0\0"[..], b"1234\0"] {
            entries.extend([0; 16]);
            entries.extend(24_u16.to_ne_bytes());
            entries.push(4);
            entries.extend(name);
        }
        let mut found = Vec::new();
        names(&entries, |name| found.push(name.to_vec()));
        assert_eq!(found, [b".".to_vec(), b"1234".to_vec()]);
    }
}
