//! What can be seen of the queues and threads of a process: [`kq_core::stats`].

use std::io::pipe;
use std::os::fd::AsRawFd;

use kq_core::stats::{self, KnoteInfo};
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

fn change(filter: EventFilter, ident: usize, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(ident, filter, EvFlags::EV_ADD | flags, fflags, 50, 7)
}

/// Asks again while another test looks at all queues of the process, this one among them.
fn knotes(kq: &Kqueue) -> Vec<KnoteInfo> {
    loop {
        match kq.knotes() {
            Err(Errno::EBUSY) => std::thread::yield_now(),
            done => return done.unwrap(),
        }
    }
}

fn knotes_of(kq: &Kqueue) -> Vec<String> {
    knotes(kq).iter().map(ToString::to_string).collect()
}

#[test]
fn a_queue_tells_its_knotes() {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = pipe().unwrap();
    let (reader, writer) = (reader.as_raw_fd() as usize, writer.as_raw_fd() as usize);
    assert_eq!(knotes_of(&kq), Vec::<String>::new());
    let none = FilterFlag::empty();
    let changes = [
        change(EventFilter::EVFILT_READ, reader, EvFlags::EV_CLEAR, FilterFlag::NOTE_LOWAT),
        change(EventFilter::EVFILT_WRITE, writer, EvFlags::EV_DISABLE, none).with_ext([1, 2, 3, 4]),
        change(EventFilter::EVFILT_USER, 1_000_000, EvFlags::EV_CLEAR, FilterFlag::NOTE_TRIGGER),
        change(EventFilter::EVFILT_TIMER, 2_000_000, EvFlags::EV_ONESHOT, FilterFlag::NOTE_SECONDS),
    ];
    assert_eq!(kq.kevent(&changes, &mut [], None), Ok(0));
    let mut knotes = knotes(&kq);
    assert_eq!(knotes.len(), 4);
    // In order of their idents.
    assert_eq!(knotes[1].event.ext(), [1, 2, 3, 4]);
    assert!(knotes[1].disabled && !knotes[0].disabled);
    assert!(knotes[2].active && !knotes[3].active);
    let timer = knotes.pop().unwrap().event;
    assert!((1..=50_000_000_000).contains(&timer.data()), "{timer:?}");
    assert_eq!(timer.fflags(), FilterFlag::NOTE_NSECONDS);
    assert_eq!(
        knotes_of(&kq)[..3],
        [
            format!("READ {reader} EV_CLEAR fflags 0x1 data 50 udata 0x7"),
            format!("WRITE {writer} fflags 0x0 data 50 udata 0x7 disabled"),
            "USER 1000000 EV_CLEAR fflags 0x0 data 0 udata 0x7 active".to_owned(),
        ]
    );
    let mut events = [KEvent::default(); 4];
    assert_eq!(kq.kevent(&[], &mut events, None), Ok(1));
    assert!(!self::knotes(&kq)[2].active, "it was fetched");
}

#[test]
fn a_queue_is_among_the_queues() {
    let kq = Kqueue::new().unwrap();
    let timer = change(EventFilter::EVFILT_TIMER, 1, EvFlags::empty(), FilterFlag::NOTE_SECONDS);
    let user = change(EventFilter::EVFILT_USER, 1, EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
    let mut events = [KEvent::default(); 4];
    assert_eq!(kq.kevent(&[timer, user], &mut events, None), Ok(1));
    let mut found = Vec::new();
    stats::queues(|queue| found.extend((queue.fd == kq.as_raw_fd()).then_some(*queue)));
    let [queue] = found[..] else { panic!("{found:?}") };
    assert!(!queue.is_epoll);
    let by_filter = queue.knotes.expect("nobody else has this queue");
    assert_eq!(by_filter.of(EventFilter::EVFILT_TIMER), 1);
    assert_eq!(by_filter.of(EventFilter::EVFILT_READ), 0);
    let expected = "(kqueue): 2 knotes (TIMER 1, USER 1), 2 changes, 1 waits, 1 events";
    assert_eq!(queue.to_string(), format!("queue {} {expected}", kq.as_raw_fd()));
    let mut text = String::new();
    stats::write_summary(&mut text).unwrap();
    assert!(text.contains(&queue.to_string()), "{text}");
    let fd = kq.as_raw_fd();
    drop(kq);
    let mut still_there = false;
    stats::queues(|queue| still_there |= queue.fd == fd && queue.counters.changes == 2);
    assert!(!still_there, "it was closed");
}

#[test]
fn an_epoll_set_tells_its_registrations_and_its_knotes() {
    use kq_core::readiness::{epoll_create1, epoll_ctl};
    let set = epoll_create1(libc::EPOLL_CLOEXEC).unwrap();
    let (reader, _writer) = pipe().unwrap();
    let events = libc::EPOLLIN as u32;
    let event = libc::epoll_event { events, u64: 0xfeed };
    // SAFETY: an event of ours.
    unsafe { epoll_ctl(set, libc::EPOLL_CTL_ADD, reader.as_raw_fd(), &event) }.unwrap();
    assert_eq!(stats::knotes(set), Ok(Vec::new()));
    let user = change(EventFilter::EVFILT_USER, 9, EvFlags::empty(), FilterFlag::empty());
    // SAFETY: one change, no events, no timeout.
    unsafe {
        kq_core::abi::kevent::<kq_core::abi::RawWait>(
            set,
            &user,
            1,
            std::ptr::null_mut(),
            0,
            std::ptr::null(),
        )
    }
    .unwrap();
    let registrations = stats::registrations(set).unwrap();
    let [registration] = registrations[..] else { panic!("{registrations:?}") };
    assert_eq!((registration.fd, registration.data), (reader.as_raw_fd(), 0xfeed));
    assert_eq!(registration.events & events, events);
    assert_eq!(stats::knotes(set).unwrap().len(), 1);
    let mut text = String::new();
    stats::write_queue(set, &mut text).unwrap();
    assert!(text.starts_with(&format!("queue {set} (epoll): ")), "{text}");
    assert!(text.contains(" data 0xfeed\n"), "{text}");
    kq_core::readiness::closed(set);
    // SAFETY: ours, and used no more.
    unsafe { libc::close(set) };
}

#[test]
fn what_is_no_queue_has_no_knotes() {
    let (reader, _writer) = pipe().unwrap();
    let mut text = String::new();
    assert_eq!(stats::knotes(reader.as_raw_fd()), Err(Errno::EBADF));
    assert_eq!(stats::write_queue(reader.as_raw_fd(), &mut text), Err(Errno::EBADF));
    assert_eq!(text, "");
}
