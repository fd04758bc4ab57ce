//! Instances that watch instances: no cycles, and not too deep (epoll_ctl(2), ELOOP).

use std::sync::{Arc, MutexGuard};

use nix::errno::Errno;

use super::instance::{self, Instance};

/// How deep instances may lie in each other: Linux's EP_MAX_NESTS.
const DEEPEST: usize = 4;

/// May `outer` watch `inner`? What is returned is to be held until it is registered: two registrations
/// that are made at once must not close a cycle.
///
/// # Errors
/// `ELOOP`: it would close a cycle, or too many would lie in each other.
pub(crate) fn check(
    outer: &Arc<Instance>,
    inner: &Arc<Instance>,
) -> Result<MutexGuard<'static, ()>, Errno> {
    let guard = instance::gate();
    let below = depth(inner, outer, 0).ok_or(Errno::ELOOP)?;
    let above = height(outer, &instance::all(), 0);
    if above + 1 + below > DEEPEST { Err(Errno::ELOOP) } else { Ok(guard) }
}

/// How many levels lie below; None where `outer` is among them, or there is no end.
fn depth(inner: &Arc<Instance>, outer: &Arc<Instance>, so_far: usize) -> Option<usize> {
    if Arc::ptr_eq(inner, outer) || so_far > DEEPEST {
        return None;
    }
    let mut deepest = 0;
    for watched in watched(inner) {
        deepest = deepest.max(1 + depth(&watched, outer, so_far + 1)?);
    }
    Some(deepest)
}

/// How many levels lie above.
fn height(inner: &Arc<Instance>, all: &[Arc<Instance>], so_far: usize) -> usize {
    if so_far > DEEPEST {
        return so_far;
    }
    let watchers = all.iter().filter(|outer| watched(outer).iter().any(|w| Arc::ptr_eq(w, inner)));
    watchers.map(|outer| 1 + height(outer, all, so_far + 1)).max().unwrap_or(0)
}

/// The instances that one watches. A number may have been closed, and be another instance by now.
fn watched(instance: &Instance) -> Vec<Arc<Instance>> {
    let numbers: Vec<_> = {
        let registrations = instance.lock();
        registrations.by_fd.iter().filter_map(|(fd, r)| Some((*fd, r.target?))).collect()
    };
    let current = |(fd, id)| instance::find(fd).ok().filter(|instance| instance.id == id);
    numbers.into_iter().filter_map(current).collect()
}
