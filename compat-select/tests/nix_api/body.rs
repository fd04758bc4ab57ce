// Included where all of a select module is imported.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};

/// The types of what is not generic.
#[allow(clippy::type_complexity, reason = "it is what they are")]
fn signatures() {
    let _: fn() -> FdSet<'static> = FdSet::new;
    let _: fn(&mut FdSet<'static>, BorrowedFd<'static>) = FdSet::insert;
    let _: fn(&mut FdSet<'static>, BorrowedFd<'static>) = FdSet::remove;
    let _: fn(&FdSet<'static>, BorrowedFd<'static>) -> bool = FdSet::contains;
    let _: fn(&mut FdSet<'static>) = FdSet::clear;
    fn comparable<T: Clone + Eq + std::hash::Hash + std::fmt::Debug + Default>() {}
    comparable::<FdSet>();
    fn iterates<'a, T: DoubleEndedIterator<Item = BorrowedFd<'a>> + std::iter::FusedIterator>(_: T) {}
    iterates(FdSet::new().fds(None));
    assert_eq!(FD_SETSIZE, 1024);
}

fn calls() {
    let mut pipes: Vec<_> = (0..20).map(|_| std::io::pipe().unwrap()).collect();
    pipes[3].1.write_all(b"!").unwrap();
    let ready = pipes[3].0.as_fd();
    let mut all = FdSet::new();
    pipes.iter().for_each(|(reader, _)| all.insert(reader.as_fd()));
    let highest = all.highest().unwrap().as_raw_fd();
    let nfds = highest + 1;
    let numbers = |set: &FdSet| set.fds(None).map(|fd| fd.as_raw_fd()).collect::<Vec<RawFd>>();
    for _ in 0..200 {
        let mut set = all.clone();
        assert_eq!(select(None, &mut set, None, None, None), Ok(1));
        assert_eq!(numbers(&set), [ready.as_raw_fd()]);
        let (mut set, mut time) = (all.clone(), TimeVal::seconds(60));
        assert_eq!(select(nfds, Some(&mut set), None, None, &mut time), Ok(1));
        assert!(set.contains(ready) && time.num_seconds() >= 0);
        let (mut set, mut errors) = (all.clone(), all.clone());
        let mask = SigSet::empty();
        let time = TimeSpec::seconds(60);
        assert_eq!(pselect(None, &mut set, None, &mut errors, &time, &mask), Ok(1));
        assert_eq!((numbers(&set).len(), errors.highest().is_none()), (1, true));
    }
    let mut quiet = all.clone();
    quiet.remove(ready);
    assert!(!quiet.contains(ready) && quiet != all);
    let (mut time, short) = (TimeVal::milliseconds(15), TimeSpec::milliseconds(15));
    assert_eq!(select(None, &mut quiet.clone(), None, None, &mut time), Ok(0));
    assert_eq!(pselect(None, &mut quiet.clone(), None, None, Some(&short), None), Ok(0));
    assert_eq!(select(-1, &mut quiet, None, None, None), Err(Errno::EINVAL));
    let below: Vec<_> = all.fds(Some(highest - 1)).rev().map(|fd| fd.as_raw_fd()).collect();
    assert!(below.len() == 19 && below.is_sorted_by(|a, b| a > b));
    all.clear();
    assert_eq!((all.highest().is_none(), all), (true, FdSet::default()));
}

pub(crate) fn all() {
    signatures();
    calls();
}
