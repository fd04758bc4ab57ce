//! What the process uses: memory, descriptors, threads, switches.

use std::fs;

use anyhow::{Context, Result};

/// User memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes handed out by malloc, those it mapped separately included.
    pub(crate) heap: i64,
    /// Bytes of the pages that the process wrote to: what malloc does not know of is in it.
    ///
    /// Anonymous, not Private_Dirty: that counts the program's own text as well, while the file that
    /// the linker wrote is not on the disk yet and as long as nobody else runs it.
    pub(crate) dirty: i64,
}

impl Memory {
    /// The growth since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { heap: self.heap - before.heap, dirty: self.dirty - before.dirty }
    }
}

/// What is in use now.
pub(crate) fn memory() -> Result<Memory> {
    // SAFETY: takes no pointer; glibc's malloc is what Rust's System allocator and the libraries
    // under test use.
    let info = unsafe { libc::mallinfo2() };
    let smaps = fs::read_to_string("/proc/self/smaps_rollup").context("/proc/self/smaps_rollup")?;
    let kib = field(&smaps, "Anonymous").context("no Anonymous in smaps_rollup")?;
    Ok(Memory { heap: (info.uordblks + info.hblkhd) as i64, dirty: kib * 1024 })
}

/// How often a thread of this process gave up the CPU because it had to wait.
pub(crate) fn voluntary_switches(tid: i32) -> Result<i64> {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status"))?;
    field(&status, "voluntary_ctxt_switches").context("no voluntary_ctxt_switches in status")
}

/// Open descriptors.
pub(crate) fn descriptors() -> Result<i64> {
    Ok(fs::read_dir("/proc/self/fd").context("/proc/self/fd")?.count() as i64)
}

/// Threads.
pub(crate) fn threads() -> Result<i64> {
    Ok(fs::read_dir("/proc/self/task").context("/proc/self/task")?.count() as i64)
}

/// The number of a line `name:  number [kB]`.
fn field(text: &str, name: &str) -> Option<i64> {
    text.lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(k, _)| *k == name)
        .and_then(|(_, v)| v.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text =
            "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t12\nAnonymous:    340 kB\n";
        assert_eq!(field(text, "voluntary_ctxt_switches"), Some(12));
        assert_eq!(field(text, "Anonymous"), Some(340));
        assert_eq!(field(text, "nonymous"), None);
    }

    #[test]
    fn a_large_block_is_seen() {
        // So large that what other tests of this process free meanwhile is nothing beside it.
        let before = memory().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let grown = memory().unwrap().since(before);
        drop(block);
        assert!(grown.heap >= 32 << 20, "{grown:?}");
    }

    #[test]
    fn a_descriptor_is_seen() {
        let before = descriptors().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        // Other tests of this process open and close theirs meanwhile: at least it can be read.
        assert!(before > 0 && descriptors().unwrap() > 0 && threads().unwrap() > 0);
        drop(file);
    }
}
