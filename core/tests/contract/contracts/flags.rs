//! How often a knote reports.

use kq_core::{Errno, EvFlags};

use crate::fixture::*;

pub(super) fn level(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    for _ in 0..2 {
        fx.trigger();
        for _ in 0..3 {
            fx.one();
        }
        fx.quench();
        fx.silent();
    }
}

pub(super) fn gone_before_retrieval(fx: &mut Fixture) {
    for flags in [ADD, ADD | CLEAR, ADD | ONESHOT, ADD | DISPATCH] {
        fx.apply(flags).unwrap();
        fx.trigger();
        fx.quench();
        fx.silent();
        fx.trigger();
        fx.one();
        fx.quench();
        let _ = fx.apply(DELETE);
    }
}

pub(super) fn oneshot(fx: &mut Fixture) {
    fx.trigger();
    for udata in 1..4 {
        fx.apply_with(ADD | ONESHOT, udata).unwrap();
        let event = fx.one();
        assert_eq!(event.udata(), udata);
        assert!(event.flags().contains(ONESHOT));
        fx.silent();
        assert_eq!(fx.kq.counters().knotes, 0);
        for flags in [ENABLE, DISABLE, DELETE] {
            assert_eq!(fx.apply(flags), Err(Errno::ENOENT));
        }
        fx.silent();
    }
    // The next one is not oneshot.
    fx.apply(ADD | DISPATCH).unwrap();
    fx.one();
    fx.apply(DELETE).unwrap();
}

pub(super) fn clear(fx: &mut Fixture) {
    fx.apply(ADD | CLEAR).unwrap();
    fx.silent();
    for _ in 0..3 {
        fx.trigger();
        assert!(fx.one().flags().contains(CLEAR));
        fx.silent();
    }
    // Two activities before a wait may be one event, and are not two.
    fx.trigger();
    fx.trigger();
    fx.one();
    fx.silent();
}

pub(super) fn clear_by_another_change(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD | CLEAR).unwrap();
    fx.one();
    fx.silent();
    fx.apply(ADD | CLEAR).unwrap();
    fx.one();
    fx.silent();
}

pub(super) fn a_readd_does_not_turn_clear(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD).unwrap();
    fx.apply(ADD | CLEAR | ONESHOT | DISPATCH).unwrap();
    for _ in 0..3 {
        assert!(!fx.one().flags().intersects(CLEAR | ONESHOT | DISPATCH));
    }
    fx.apply(DELETE).unwrap();
    fx.apply(ADD | CLEAR).unwrap();
    fx.apply(ADD).unwrap();
    assert!(fx.one().flags().contains(CLEAR));
    fx.silent();
}

pub(super) fn dispatch(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD | DISPATCH).unwrap();
    for _ in 0..3 {
        assert!(fx.one().flags().contains(DISPATCH));
        fx.silent();
        fx.trigger();
        fx.silent();
        assert_eq!(fx.kq.counters().knotes, 1);
        fx.apply(ADD).unwrap();
        fx.silent();
        fx.apply(ENABLE).unwrap();
    }
    fx.one();
}

pub(super) fn dispatch_then_delete(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD | DISPATCH).unwrap();
    fx.one();
    fx.apply(DELETE).unwrap();
    assert_eq!(fx.apply(ENABLE), Err(Errno::ENOENT));
    fx.silent();
}

pub(super) fn dispatch_with_oneshot(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD | DISPATCH | ONESHOT).unwrap();
    fx.one();
    fx.silent();
    assert_eq!(fx.apply(ENABLE), Err(Errno::ENOENT));
}

pub(super) fn dispatch_with_clear(fx: &mut Fixture) {
    fx.apply(ADD | DISPATCH | CLEAR).unwrap();
    for _ in 0..3 {
        fx.trigger();
        fx.one();
        fx.silent();
        fx.trigger();
        fx.silent();
        fx.apply(ENABLE).unwrap();
        fx.one();
        fx.silent();
        fx.quench();
        fx.apply(ENABLE).unwrap();
        fx.silent();
    }
}

pub(super) fn force_oneshot(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    fx.silent();
    fx.apply_with(EvFlags::EV_FORCEONESHOT, 4).unwrap();
    assert!(poll(&fx.kq, 20_000));
    let events = take(&fx.kq, 4, NOW);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].ident(), events[0].udata()), (fx.subject.ident(), 4));
    fx.silent();
    assert_eq!(fx.apply(DELETE), Err(Errno::ENOENT));
}

pub(super) fn returned_flags(fx: &mut Fixture) {
    const SYSTEM: EvFlags = EvFlags::EV_EOF.union(EvFlags::EV_ERROR).union(EvFlags::EV_FLAG1);
    fx.trigger();
    for flags in [ONESHOT, DISPATCH, CLEAR, CLEAR | ONESHOT, CLEAR | DISPATCH] {
        fx.apply(ADD | ENABLE | SYSTEM | flags).unwrap();
        let got = fx.one().flags();
        assert!(got.contains(flags), "{flags:?}: {got:?}");
        assert!(!got.intersects(SYSTEM | ADD | ENABLE | DISABLE | DELETE), "{got:?}");
        let _ = fx.apply(DELETE);
    }
}
