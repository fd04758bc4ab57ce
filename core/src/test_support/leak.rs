//! Which descriptors a process has open, and whether a test left some behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::RawFd;

/// The open descriptors of this process, each with what `/proc` says it is.
pub fn open_descriptors() -> BTreeMap<RawFd, String> {
    let listing = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let numbers: Vec<RawFd> = listing
        .map(|entry| entry.expect("/proc/self/fd can be read").file_name())
        .map(|name| name.to_str().and_then(|n| n.parse().ok()).expect("names are numbers"))
        .collect();
    // The listing's own descriptor is closed by now, so its link cannot be read: that drops it.
    numbers
        .into_iter()
        .filter_map(|fd| {
            let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd, link.display().to_string()))
        })
        .collect()
}

/// Whether a descriptor is, to all appearance, the engine's alarm: an eventfd of 1, which nobody reads.
pub fn is_alarm(fd: RawFd, kind: &str) -> bool {
    fd >= 100
        && kind.contains("eventfd")
        && info(fd).lines().any(|line| line.split_whitespace().eq(["eventfd-count:", "1"]))
}

/// Whether a descriptor is the roll of the engine's hidden descriptors.
pub fn is_roll(fd: RawFd, kind: &str) -> bool {
    let mark = format!("{:x}", u64::from_be_bytes(*b"the roll"));
    kind.contains("eventpoll") && info(fd).contains(&mark)
}

fn info(fd: RawFd) -> String {
    fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default()
}

/// Leaves out what stays for as long as the process does: a roll for each library, and an alarm.
pub fn leave_out_what_stays(open: &mut BTreeMap<RawFd, String>) {
    let rolls: Vec<RawFd> = numbers(open, is_roll).collect();
    let alarms: Vec<RawFd> = numbers(open, is_alarm).take(rolls.len()).collect();
    open.retain(|fd, _| !rolls.contains(fd) && !alarms.contains(fd));
}

fn numbers(
    open: &BTreeMap<RawFd, String>,
    is_one: fn(RawFd, &str) -> bool,
) -> impl Iterator<Item = RawFd> {
    open.iter().filter(move |(fd, kind)| is_one(**fd, kind)).map(|(&fd, _)| fd)
}

/// Waits until no more than so many other threads are there: one that was joined stays visible for a
/// moment.
///
/// # Panics
/// When they do not end.
#[track_caller]
pub fn assert_threads_end(others: usize) {
    let threads = || fs::read_dir("/proc/self/task").expect("/proc is mounted").count();
    for _ in 0..10_000 {
        if threads() <= 1 + others {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} threads are left", threads() - 1);
}

/// # Panics
/// When this process has other threads, and goes on having them: a thread that was joined stays
/// visible for a moment.
#[track_caller]
pub fn assert_single_threaded() {
    let threads = || fs::read_dir("/proc/self/task").expect("/proc is mounted").count();
    for _ in 0..10_000 {
        if threads() == 1 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} threads were left behind", threads() - 1);
}

/// What was open when the test began.
#[derive(Debug)]
pub struct LeakCheck {
    before: BTreeMap<RawFd, String>,
}

impl LeakCheck {
    /// Remembers what is open now. Meaningful only where no other thread opens descriptors.
    pub fn start() -> Self {
        Self { before: open_descriptors() }
    }

    /// # Panics
    /// When descriptors were opened since and left open, or closed that were open.
    #[track_caller]
    pub fn finish(self) {
        let after = open_descriptors();
        let mut left = after.clone();
        left.retain(|fd, _| !self.before.contains_key(fd));
        leave_out_what_stays(&mut left);
        let gone: Vec<_> = self.before.iter().filter(|(fd, _)| !after.contains_key(fd)).collect();
        assert!(left.is_empty(), "descriptors left open: {left:?}");
        assert!(gone.is_empty(), "descriptors closed that were not the test's: {gone:?}");
    }
}
