//! Closing a queue while threads go to sleep in it, and closes that were put down.

use loom::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::handshake::Handshake;
use super::put_down::{FREE, PutDown};

/// An epoll set: the alarm, once in it, ends every wait.
#[derive(Default)]
struct Set {
    alarm: Mutex<bool>,
    sounded: Condvar,
}

impl Set {
    fn sound(&self) {
        *self.alarm.lock().unwrap() = true;
        self.sounded.notify_all();
    }

    fn wait(&self) {
        let mut alarm = self.alarm.lock().unwrap();
        while !*alarm {
            alarm = self.sounded.wait(alarm).unwrap();
        }
    }
}

#[test]
fn nobody_sleeps_on_in_a_closed_queue() {
    loom::model(|| {
        let queue = Arc::new((Handshake::new(), Set::default()));
        queue.0.open();
        let life = queue.0.life();
        // Sleeps for ever unless it is woken: a deadlock, which loom finds.
        let sleeper = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.0.may_sleep(life).then(|| queue.1.wait()).is_some()
        });
        if queue.0.close() {
            queue.1.sound();
        }
        assert_ne!(queue.0.life(), life);
        let _ = sleeper.join().unwrap();
    });
}

#[test]
fn a_sleeper_is_not_missed_for_another_that_wakes() {
    loom::model(|| {
        let queue = Arc::new((Handshake::new(), Set::default(), Mutex::new(())));
        queue.0.open();
        let life = queue.0.life();
        let sleeper = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.0.may_sleep(life).then(|| queue.1.wait()).is_some()
        });
        let other = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let _ = queue.0.may_sleep(life);
                let _lock = queue.2.lock().unwrap();
                queue.0.wake();
            }
        });
        if queue.0.close() {
            queue.1.sound();
        }
        let _ = (sleeper.join().unwrap(), other.join().unwrap());
    });
}

#[test]
fn who_has_woken_is_no_sleeper() {
    loom::model(|| {
        let queue = Arc::new((Handshake::new(), Mutex::new(())));
        queue.0.open();
        let life = queue.0.life();
        let threads = [(); 2].map(|()| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let _ = queue.0.may_sleep(life);
                let _lock = queue.1.lock().unwrap();
                queue.0.wake();
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!queue.0.has_sleepers());
        assert_eq!(queue.0.sleeps(), 2);
    });
}

/// A private queue: who leaves the bell alone, and who goes to sleep.
#[test]
fn what_is_held_back_is_seen_before_a_sleep_or_sent() {
    loom::model(|| {
        let queue = Arc::new((Handshake::new(), Set::default(), AtomicBool::new(false)));
        queue.0.open();
        let life = queue.0.life();
        let sleeper = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let wait = || {
                    if !queue.2.load(Ordering::SeqCst) {
                        queue.1.wait()
                    }
                };
                queue.0.may_sleep(life).then(wait)
            }
        });
        queue.2.store(true, Ordering::SeqCst);
        if queue.0.has_sleepers() {
            queue.1.sound();
        }
        assert!(sleeper.join().unwrap().is_some());
    });
}

#[test]
fn what_a_queue_needs_is_seen_by_who_sees_it_open() {
    loom::model(|| {
        let queue = Arc::new((Handshake::new(), AtomicI32::new(0)));
        let other = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                if queue.0.life() == 1 {
                    assert_eq!(queue.1.load(Ordering::Relaxed), 7);
                }
            }
        });
        queue.1.store(7, Ordering::Relaxed);
        queue.0.open();
        other.join().unwrap();
    });
}

#[test]
fn a_close_that_was_put_down_is_seen_to_once() {
    loom::model(|| {
        let put_down = Arc::new(PutDown {
            places: [AtomicI32::new(FREE), AtomicI32::new(FREE)],
            some: AtomicBool::new(false),
        });
        let threads: Vec<_> = [5, 6]
            .into_iter()
            .map(|fd| {
                let put_down = Arc::clone(&put_down);
                thread::spawn(move || {
                    // A signal handler closes; then the thread leaves the queue.
                    put_down.put(fd);
                    let mut seen = Vec::new();
                    if put_down.any() {
                        put_down.take(|fd| seen.push(fd));
                    }
                    seen
                })
            })
            .collect();
        let mut seen: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [5, 6]);
    });
}
