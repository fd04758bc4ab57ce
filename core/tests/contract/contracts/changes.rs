//! Adding, changing, deleting; what the call answers.

use kq_core::EventFilter::EVFILT_USER;
use kq_core::{Errno, EvFlags, FilterFlag, KEvent};

use crate::fixture::*;

pub(super) fn add(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    fx.silent();
    fx.trigger();
    let event = fx.one();
    assert_eq!(event.udata(), UDATA);
}

pub(super) fn add_when_it_holds(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD).unwrap();
    fx.one();
}

pub(super) fn add_and_wait_in_one_call(fx: &mut Fixture) {
    fx.trigger();
    let mut list = [fx.change(ADD | ONESHOT, 3), fx.change(EvFlags::EV_KEEPUDATA, 4)];
    let at = list.as_mut_ptr();
    // SAFETY: one list of two, for changes and events.
    let n = unsafe {
        use std::os::fd::AsRawFd;
        let kq = fx.kq.as_raw_fd();
        kq_core::abi::kevent::<kq_core::abi::RawWait>(kq, at, 2, at, 2, std::ptr::null())
    };
    assert_eq!(n, Ok(1));
    fx.check(&list[0]);
    assert_eq!(list[0].udata(), 3);
}

pub(super) fn delete(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    fx.trigger();
    fx.apply(DELETE).unwrap();
    fx.silent();
    assert_eq!(fx.apply(DELETE), Err(Errno::ENOENT));
    assert_eq!(fx.kq.counters().knotes, 0);
}

pub(super) fn absent(fx: &mut Fixture) {
    for flags in [DELETE, ENABLE, DISABLE, EvFlags::empty(), DELETE | ONESHOT] {
        assert_eq!(fx.apply(flags), Err(Errno::ENOENT), "{flags:?}");
    }
    fx.trigger();
    fx.silent();
}

pub(super) fn disable_and_enable(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    fx.apply(DISABLE).unwrap();
    fx.trigger();
    fx.silent();
    fx.apply(ENABLE).unwrap();
    fx.one();
    // Disabled when it was ready already.
    fx.trigger();
    fx.apply(DISABLE).unwrap();
    fx.silent();
    fx.apply(ENABLE).unwrap();
    fx.one();
}

pub(super) fn add_disabled(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD | DISABLE).unwrap();
    fx.silent();
    fx.trigger();
    fx.silent();
    fx.apply(ENABLE).unwrap();
    fx.one();
}

pub(super) fn a_readd_leaves_disabled(fx: &mut Fixture) {
    fx.apply(ADD | DISABLE).unwrap();
    fx.trigger();
    fx.apply(ADD).unwrap();
    fx.silent();
    fx.apply(ADD | ENABLE).unwrap();
    fx.one();
}

pub(super) fn enable_with_disable(fx: &mut Fixture) {
    assert_eq!(fx.apply(ADD | ENABLE | DISABLE), Err(Errno::EINVAL));
    assert_eq!(fx.apply(DELETE), Err(Errno::ENOENT), "it was not added");
    fx.apply(ADD).unwrap();
    assert_eq!(fx.apply(ENABLE | DISABLE), Err(Errno::EINVAL));
    fx.trigger();
    fx.one();
}

pub(super) fn one_knote_an_ident(fx: &mut Fixture) {
    for _ in 0..3 {
        fx.apply(ADD).unwrap();
        assert_eq!(fx.kq.counters().knotes, 1);
    }
    fx.trigger();
    fx.one();
    fx.apply(DELETE).unwrap();
    assert_eq!(fx.kq.counters().knotes, 0);
    fx.silent();
}

pub(super) fn udata(fx: &mut Fixture) {
    fx.trigger();
    fx.apply_with(ADD, isize::MIN + 1).unwrap();
    for _ in 0..3 {
        assert_eq!(fx.one().udata(), isize::MIN + 1);
    }
    for (flags, expected) in [
        (ADD, 2),
        (ENABLE, 3),
        (ADD | ENABLE, 4),
        (EvFlags::empty(), 5),
        (ADD | EvFlags::EV_KEEPUDATA, 5),
        (ENABLE | EvFlags::EV_KEEPUDATA, 5),
        (ADD, 0),
    ] {
        let given = if flags.contains(EvFlags::EV_KEEPUDATA) { 99 } else { expected };
        fx.apply_with(flags, given).unwrap();
        assert_eq!(fx.one().udata(), expected, "{flags:?}");
    }
    fx.apply_with(DISABLE, 6).unwrap();
    fx.apply_with(ENABLE | EvFlags::EV_KEEPUDATA, 7).unwrap();
    assert_eq!(fx.one().udata(), 6);
}

pub(super) fn extensions(fx: &mut Fixture) {
    fx.trigger();
    apply(&fx.kq, &[fx.change(ADD, 0).with_ext([0, 0, 3, u64::MAX])]).unwrap();
    for _ in 0..2 {
        assert_eq!(fx.one().ext()[2..], [3, u64::MAX]);
    }
    fx.apply(ENABLE).unwrap();
    assert_eq!(fx.one().ext()[2..], [3, u64::MAX], "only EV_ADD of a new knote sets it");
    fx.apply(DELETE).unwrap();
    fx.apply(ADD).unwrap();
    assert_eq!(fx.one().ext(), [0; 4], "those of an earlier knote");
}

pub(super) fn error_as_event(fx: &mut Fixture) {
    let changes = [fx.change(DELETE, 11), fx.change(ENABLE, 12), fx.change(ADD, 13)];
    let mut events = [blank(); 4];
    assert_eq!(fx.kq.kevent(&changes, &mut events, None), Ok(2));
    for (event, change) in events[..2].iter().zip(&changes) {
        assert_eq!((event.flags(), event.data()), (EvFlags::EV_ERROR, Errno::ENOENT as isize));
        assert_eq!((event.ident(), event.filter()), (change.ident(), change.filter()));
        assert_eq!(event.udata(), change.udata());
    }
    fx.apply(DELETE).unwrap();

    assert_eq!(fx.kq.kevent(&changes, &mut events[..1], None), Err(Errno::ENOENT));
    assert_eq!(fx.apply(DELETE), Err(Errno::ENOENT), "the third change was not to be applied");
}

pub(super) fn receipt(fx: &mut Fixture) {
    fx.trigger();
    let changes = [fx.change(ADD | EvFlags::EV_RECEIPT, 1), user_trigger()];
    let mut events = [blank(); 4];
    assert_eq!(fx.kq.kevent(&changes, &mut events, LONG), Ok(1), "the receipt and nothing else");
    assert_eq!((events[0].flags(), events[0].data()), (EvFlags::EV_ERROR, 0));
    assert_eq!((events[0].ident(), events[0].udata()), (fx.subject.ident(), 1));
    assert_eq!(take(&fx.kq, 4, LONG).len(), 2);
    // A receipt for which there is no room is no error.
    assert_eq!(fx.kq.kevent(&changes[..1], &mut [], None), Ok(0));
}

/// A USER knote that is ready.
pub(super) fn user_trigger() -> KEvent {
    KEvent::new(0xF00, EVFILT_USER, ADD, FilterFlag::NOTE_TRIGGER, 0, 0)
}
