//! What `tracing` is told (feature `tracing`).

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, stats};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps what it is told, a line for each event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let about = event.metadata();
        let mut line = Line(format!("{} {}:", about.level(), about.target()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_queue_is_told_of_from_its_opening_to_its_close() {
    use std::os::fd::AsRawFd;
    let lines = Lines::default();
    let fd = tracing::subscriber::with_default(lines.clone(), || {
        let queue = Kqueue::new().unwrap();
        let add = EvFlags::EV_ADD;
        let user = KEvent::new(1, EventFilter::EVFILT_USER, add, FilterFlag::NOTE_TRIGGER, 0, 0);
        let mut events = [KEvent::default(); 3];
        assert_eq!(queue.kevent(&[user], &mut events, None), Ok(1));
        let negative = libc::timespec { tv_sec: -1, tv_nsec: 0 };
        queue.kevent(&[], &mut events, Some(negative)).unwrap_err();
        stats::trace_summary();
        queue.as_raw_fd()
    });
    let lines = lines.0.lock().unwrap();
    let has = |line: &str| assert!(lines.iter().any(|l| l.starts_with(line)), "{line}: {lines:#?}");
    has(&format!("DEBUG kq_core: message=queue opened queue={fd}"));
    has(&format!("TRACE kq_core: message=kevent queue={fd} changes=1 room=3 events=1"));
    has(&format!("TRACE kq_core: message=kevent failed queue={fd} changes=0 room=3 errno=EINVAL"));
    has(&format!("INFO kq_core::stats: queue={fd} is_epoll=false knotes=1 changes=1 waits="));
    has("INFO kq_core::stats: message=poll and select served=");
    has(&format!("DEBUG kq_core: message=queue closed queue={fd} knotes=1 changes=1 waits="));
}
