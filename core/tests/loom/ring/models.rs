//! The ring's buffer, and its turns.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::buffer::Buffer;
use super::turns::{Turn, Turns};

/// The entry of a number: both words tell it, so that a mix of two entries is seen.
fn entry(number: u64) -> [u64; 2] {
    [number, number ^ u64::MAX]
}

fn number([number, check]: [u64; 2]) -> u64 {
    assert_eq!(check, number ^ u64::MAX, "torn");
    number
}

/// Takes what one copy finds; empty too if another reader was first.
fn take(buffer: &Buffer<2>, most: usize) -> Vec<u64> {
    let mut entries = Vec::new();
    let copied = buffer.copy(most, |_, entry| entries.push(entry));
    if !buffer.commit(copied) {
        return Vec::new(); // it may be torn
    }
    entries.into_iter().map(number).collect()
}

/// Writes as many of the entries as there is room for.
fn write(buffer: &Buffer<2>, numbers: &[u64]) -> usize {
    let n = numbers.len().min(buffer.room());
    buffer.publish(numbers[..n].iter().map(|&number| entry(number)));
    n
}

#[test]
fn a_reader_sees_whole_entries_in_order() {
    loom::model(|| {
        let buffer = Arc::new(Buffer::<2>::new(2));
        let reader = thread::spawn({
            let buffer = Arc::clone(&buffer);
            move || [take(&buffer, 2), take(&buffer, 1)].concat()
        });
        // The third and fourth go over the first and second, if those were taken.
        let mut written = write(&buffer, &[1, 2]);
        written += write(&buffer, &[3, 4]);
        let mut taken = reader.join().unwrap();
        while let rest = take(&buffer, 2)
            && !rest.is_empty()
        {
            taken.extend(rest);
        }
        assert_eq!(taken, (1..=written as u64).collect::<Vec<_>>());
    });
}

#[test]
fn each_entry_is_taken_by_one_reader() {
    loom::model(|| {
        let buffer = Arc::new(Buffer::<2>::new(1));
        write(&buffer, &[1]);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let buffer = Arc::clone(&buffer);
                thread::spawn(move || take(&buffer, 1))
            })
            .collect();
        // Over the first, if that was taken: the slower reader copies a mix.
        let written = 1 + write(&buffer, &[2]);
        let mut taken: Vec<u64> = readers.into_iter().flat_map(|r| r.join().unwrap()).collect();
        taken.extend(take(&buffer, 1));
        taken.sort_unstable();
        assert_eq!(taken, (1..=written as u64).collect::<Vec<_>>());
    });
}

#[test]
fn a_reader_that_dies_before_it_commits_has_taken_nothing() {
    loom::model(|| {
        let buffer = Arc::new(Buffer::<2>::new(2));
        write(&buffer, &[1, 2]);
        let dies = thread::spawn({
            let buffer = Arc::clone(&buffer);
            move || {
                buffer.copy(2, |_, _| ());
            }
        });
        let lives = thread::spawn({
            let buffer = Arc::clone(&buffer);
            move || take(&buffer, 1)
        });
        dies.join().unwrap();
        let mut taken = lives.join().unwrap();
        taken.extend(take(&buffer, 2));
        assert_eq!(taken, [1, 2]);
    });
}

/// A kernel's queue: events come, and one thread waits for them.
struct Kernel {
    events: Mutex<Vec<u64>>,
    came: Condvar,
}

struct Shared {
    kernel: Kernel,
    buffer: Buffer<2>,
    turns: Turns<()>,
}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            kernel: Kernel { events: Mutex::new(Vec::new()), came: Condvar::new() },
            buffer: Buffer::new(capacity),
            turns: Turns::new(()),
        })
    }

    fn comes(&self, event: u64) {
        self.kernel.events.lock().unwrap().push(event);
        self.kernel.came.notify_one();
    }

    /// What `RawRing::wait` does.
    fn wait(&self) {
        loop {
            match self.turns.wait(|| self.buffer.unread() > 0, None) {
                Turn::Read => return,
                Turn::GiveUp => unreachable!("no time was given"),
                Turn::Lead(_lead) => {
                    let mut events = self.kernel.events.lock().unwrap();
                    while events.is_empty() {
                        events = self.kernel.came.wait(events).unwrap();
                    }
                    let n = events.len().min(self.buffer.room());
                    self.buffer.publish(events.drain(..n).map(entry));
                    if n > 0 {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for one event.
    fn one(&self) -> u64 {
        loop {
            self.wait();
            if let [event] = take(&self.buffer, 1)[..] {
                return event;
            }
        }
    }
}

/// As many threads as events: whoever is left asleep is a deadlock, which loom finds.
fn nobody_is_stranded(capacity: usize, threads: u64, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let shared = Shared::new(capacity);
        let waiters: Vec<_> = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.one())
            })
            .collect();
        (0..threads).for_each(|event| shared.comes(event));
        let mut taken: Vec<u64> = waiters.into_iter().map(|w| w.join().unwrap()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..threads).collect::<Vec<_>>());
    });
}

#[test]
fn one_thread_for_each_event() {
    nobody_is_stranded(2, 2, 3);
}

#[test]
fn who_finds_something_to_read_wakes_the_next() {
    nobody_is_stranded(2, 3, 1);
}

#[test]
fn one_thread_for_each_event_though_the_ring_holds_one() {
    nobody_is_stranded(1, 2, 3);
}

#[test]
fn a_leader_that_gives_up_is_followed() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Shared::new(1);
        let gives_up = thread::spawn({
            let shared = Arc::clone(&shared);
            // Interrupted: it drops the token at once.
            move || drop(shared.turns.wait(|| shared.buffer.unread() > 0, None))
        });
        let waits = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.one()
        });
        shared.comes(7);
        assert_eq!(waits.join().unwrap(), 7);
        gives_up.join().unwrap();
    });
}
