//! The one list of contracts.

mod changes;
mod flags;
mod numbers;
mod queues;
mod threads;

use super::fixture::Fixture;
use super::subject::Kind;
use super::subject::Need::{
    self, Adding, Again, Before, Descriptor, Flags, Idle, Level, OneWake, Plain, Quench, Rest,
    Stays,
};

/// One thing that holds for every knote.
pub(crate) struct Contract {
    pub(crate) name: &'static str,
    /// What holds, in a sentence for the matrix.
    pub(crate) holds: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) body: fn(&mut Fixture),
}

impl Contract {
    /// Why it does not apply to a kind of subject.
    pub(crate) fn obstacle(&self, kind: &Kind) -> Option<&'static str> {
        self.needs.iter().find_map(|need| kind.reason(*need))
    }
}

macro_rules! contracts {
    ($($module:ident::$name:ident [$($need:ident),*] $holds:literal,)*) => {
        /// All of them.
        pub(crate) const CONTRACTS: &[Contract] = &[$(Contract {
            name: stringify!($name),
            holds: $holds,
            needs: &[$($need),*],
            body: $module::$name,
        },)*];
    };
}

contracts! {
    changes::add [Idle] "silent until the condition holds, then one event with ident, filter, udata and data",
    changes::add_when_it_holds [Before] "a condition that holds already is reported at once",
    changes::add_and_wait_in_one_call [Before, Adding] "changes are applied before events are looked for; both lists may be one memory",
    changes::delete [] "a deleted knote is silent, even if it was ready, and a second EV_DELETE is ENOENT",
    changes::absent [] "EV_DELETE, EV_ENABLE, EV_DISABLE and a bare change of an absent knote are ENOENT",
    changes::disable_and_enable [Idle, Rest, Stays] "a disabled knote is silent, also from outside; EV_ENABLE delivers what holds by then",
    changes::add_disabled [Before] "EV_ADD|EV_DISABLE is silent although the condition holds, until EV_ENABLE",
    changes::a_readd_leaves_disabled [Before] "EV_ADD of a disabled knote leaves it disabled",
    changes::enable_with_disable [] "EV_ENABLE|EV_DISABLE is EINVAL and changes nothing",
    changes::one_knote_an_ident [Stays] "EV_ADD of a knote that is there changes it: there is still one",
    changes::udata [Before, Level] "udata comes back as it is, every EV_ADD and EV_ENABLE replaces it, EV_KEEPUDATA keeps it",
    changes::extensions [Before, Level, Adding] "ext passes through",
    changes::error_as_event [Adding] "a change that fails is an event with EV_ERROR and errno; without room the call fails and later changes are not applied",
    changes::receipt [Before, Adding] "EV_RECEIPT answers with EV_ERROR and 0, and drains no events",
    flags::level [Level, Quench, Before] "reported at each wait while the condition holds, silent when it has ended",
    flags::gone_before_retrieval [Quench, Idle] "a condition that ended before the wait is not reported",
    flags::oneshot [Before, Flags] "EV_ONESHOT reports once; then the knote is gone, and can be added again",
    flags::clear [Idle, Again, Rest] "EV_CLEAR reports each activity once",
    flags::clear_by_another_change [Before, Rest, Flags] "EV_CLEAR reports again after EV_ADD or EV_ENABLE if the condition still holds",
    flags::a_readd_does_not_turn_clear [Before, Level, Flags] "a second EV_ADD neither turns EV_CLEAR on nor off",
    flags::dispatch [Before, Level, Flags] "EV_DISPATCH reports once; then the knote is disabled, until EV_ENABLE",
    flags::dispatch_then_delete [Before, Flags] "a knote that EV_DISPATCH has disabled can be deleted",
    flags::dispatch_with_oneshot [Before, Flags] "EV_DISPATCH|EV_ONESHOT is oneshot",
    flags::dispatch_with_clear [Idle, Again, Quench] "EV_DISPATCH|EV_CLEAR reports once an EV_ENABLE",
    flags::force_oneshot [Idle] "EV_FORCEONESHOT reports a knote whose condition does not hold, once",
    flags::returned_flags [Before, Flags, Plain] "events carry the knote's EV_CLEAR, EV_ONESHOT and EV_DISPATCH, and no orders",
    queues::two_queues [Idle, Rest, Adding, Stays] "every queue that watches is told, and keeps its own flags",
    queues::delete_in_one_queue [Before, Level, Adding] "EV_DELETE in one queue leaves the other's knote alone",
    queues::one_slot_starves_nobody [Before, Level] "with room for one event, ready knotes take turns",
    queues::polled_from_outside [Idle, Quench, Level] "the queue's descriptor is readable if, and only if, an event is ready",
    queues::nested [Idle, Quench, Level] "a queue watched by another is readable there when it has an event",
    queues::nested_in_epoll [Before, Level] "an epoll set that watches the queue is told",
    queues::fork [Idle] "a forked child has no queue; the parent's knotes are unharmed",
    queues::closed_queue_is_no_queue [Adding] "after close, the number is EBADF",
    threads::wakes_a_waiter [Idle] "activity wakes a thread that waits without a timeout",
    threads::adding_wakes_a_waiter [Before] "EV_ADD of a condition that holds wakes a thread that waits",
    threads::enabling_wakes_a_waiter [Before] "EV_ENABLE of a condition that holds wakes a thread that waits",
    threads::level_is_for_every_scan [Before, Level] "two threads that scan without waiting both always get a level knote",
    threads::level_wakes_all_waiters [Idle, Level] "a level knote wakes every waiting thread",
    threads::dispatch_goes_to_one [Idle, Quench] "with many waiters EV_DISPATCH is delivered once",
    threads::oneshot_goes_to_one [Idle, Quench] "with many waiters EV_ONESHOT is delivered once",
    threads::clear_goes_to_one [Idle, Again, Rest, Quench, OneWake] "with many waiters each activity of an EV_CLEAR knote is delivered once",
    threads::delete_races_with_waiters [Before, Level] "no wait that begins after EV_DELETE returns the knote",
    threads::disable_races_with_waiters [Before, Level] "no wait that begins after EV_DISABLE returns the knote",
    threads::close_wakes_waiters [Idle, Adding] "closing a queue ends the waits on it with EBADF",
    queues::duplicates [Before, Level, Adding] "a duplicate of the queue's descriptor is the queue, also when the first number is closed",
    numbers::close_drops_the_knote [Descriptor, Before] "closing the number drops its knote, even while a duplicate lives",
    numbers::reused_number [Descriptor, Before, Stays] "a number taken over by another file has no knote, and can be added",
    numbers::raw_close_does_not_spin [Descriptor, Before, Level] "a close that nobody told of leaves the other knotes going and nothing spinning",
}
