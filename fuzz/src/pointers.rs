//! Calls with any arguments: pointers to nothing, to the kernel's half, to memory that is not to be
//! touched or only to be read, or that ends in the middle of what they point to; any counts. What a C
//! program gets for it is what the kernel's own call says, and leaves in memory. kevent, for which there
//! is no such call, is to come back with an errno of its manual, or with events.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut, without_provenance_mut};

use kq_core::sets::{Policy, set_policy};
use kq_core::test_support::compare::from_bytes;
use kq_core::test_support::sys;
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, raw};
use libc::{c_int, c_void, nfds_t, pollfd, timespec};
use proptest::prelude::*;
use proptest::sample::select;

/// Where a pointer points to.
#[derive(Clone, Copy, Debug)]
enum Place {
    Null,
    Unreadable,
    ReadOnly,
    /// The kernel's half.
    Kernels,
    /// So many bytes into our memory.
    Begin(u16),
    /// So many bytes before its end, after which comes memory that is not to be touched.
    End(u16),
}

#[derive(Clone, Debug)]
enum Step {
    Poll(Place, u64),
    Select(c_int, [Place; 3]),
    Kevent {
        changes: Place,
        nchanges: c_int,
        events: Place,
        nevents: c_int,
        time: Place,
    },
    /// A descriptor becomes ready, or no longer.
    Turn(u8),
    /// A change at a place of our memory: what it is of, its filter, its flags.
    Change(u16, u8, EventFilter, u16),
    /// Another word of our memory.
    Set(u16, u64),
}

const PAGE: usize = 4096;
const PAGES: usize = 2;
const DESCRIPTORS: usize = 24;
const NOW: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

fn place() -> BoxedStrategy<Place> {
    prop_oneof![
        6 => Just(Place::Begin(0)),
        1 => (0..16_u16).prop_map(|at| Place::Begin(at * 8)),
        1 => (0..64_u16).prop_map(Place::Begin),
        2 => (0..48_u16).prop_map(|at| Place::End(at * 8)),
        1 => (0..200_u16).prop_map(Place::End),
        2 => Just(Place::Null),
        1 => Just(Place::Unreadable),
        1 => Just(Place::ReadOnly),
        1 => Just(Place::Kernels),
    ]
    .boxed()
}

fn count() -> BoxedStrategy<c_int> {
    prop_oneof![
        8 => 0..40_i32,
        1 => select(&[-1, c_int::MIN, c_int::MAX, 1024, 1025, 64, 63, 65, 100_000, 1 << 20][..]),
    ]
    .boxed()
}

fn change_step() -> BoxedStrategy<Step> {
    use EventFilter::{
        EVFILT_EMPTY, EVFILT_EXCEPT, EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_VNODE,
        EVFILT_WRITE,
    };
    let filter = select(
        &[
            EVFILT_READ,
            EVFILT_WRITE,
            EVFILT_EXCEPT,
            EVFILT_VNODE,
            EVFILT_TIMER,
            EVFILT_USER,
            EVFILT_EMPTY,
        ][..],
    );
    let flags = prop_oneof![3 => Just(1_u16), 1 => 0..0x400_u16, 1 => any::<u16>()];
    (0..20_u16, any::<u8>(), filter, flags)
        .prop_map(|(at, which, filter, flags)| Step::Change(at, which, filter, flags))
        .boxed()
}

fn step() -> BoxedStrategy<Step> {
    let wide = prop_oneof![
        12 => count().prop_map(|n| n as u64),
        1 => select(&[u64::MAX, 1 << 32, (1 << 32) + 3, 1 << 60][..]),
    ];
    prop_oneof![
        6 => (place(), wide).prop_map(|(at, n)| Step::Poll(at, n)),
        6 => (count(), [place(), place(), place()]).prop_map(|(n, at)| Step::Select(n, at)),
        6 => (place(), count(), place(), count(), place()).prop_map(
            |(changes, nchanges, events, nevents, time)| {
                Step::Kevent { changes, nchanges, events, nevents, time }
            }),
        4 => change_step(),
        2 => any::<u8>().prop_map(Step::Turn),
        3 => (0..80_u16, prop_oneof![any::<u64>(), 0..64_u64]).prop_map(|(at, w)| Step::Set(at, w)),
    ]
    .boxed()
}

/// Our memory, and what lies beside it.
struct Arena {
    start: *mut u8,
    read_only: *mut c_void,
    fds: Vec<OwnedFd>,
}

// SAFETY: a program has one thread that uses it, for which whoever has made it waits.
unsafe impl Sync for Arena {}

impl Arena {
    fn new() -> Self {
        let (all, protection) = ((PAGES + 1) * PAGE, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new anonymous mapping, in nobody's way; its last page is given up.
        let start = unsafe {
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(null_mut(), all, protection, kind, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let end = start.byte_add(PAGES * PAGE);
            assert_eq!(libc::mprotect(end, PAGE, libc::PROT_NONE), 0);
            start.cast()
        };
        let fds = (0..DESCRIPTORS).map(|_| sys::eventfd(0).expect("eventfd")).collect();
        Self { start, read_only: sys::guarded_page(libc::PROT_READ), fds }
    }

    fn unreadable(&self) -> *mut c_void {
        self.start.wrapping_add(PAGES * PAGE).cast()
    }

    fn pointer<T>(&self, place: Place) -> *mut T {
        match place {
            Place::Null => null_mut(),
            Place::Unreadable => self.unreadable().cast(),
            Place::ReadOnly => self.read_only.cast(),
            Place::Kernels => without_provenance_mut(1 << 63),
            Place::Begin(at) => self.start.wrapping_add(at.into()).cast(),
            Place::End(at) => self.start.wrapping_add(PAGES * PAGE - usize::from(at)).cast(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        // SAFETY: so much is mapped, and nobody else has it.
        unsafe { std::slice::from_raw_parts(self.start, PAGES * PAGE).to_vec() }
    }

    fn restore(&self, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { self.start.copy_from_nonoverlapping(bytes.as_ptr(), PAGES * PAGE) };
    }

    /// Entries of our descriptors at the beginning and before the end.
    fn fill(&self) {
        self.restore(&[0; PAGES * PAGE]);
        for (at, fd) in self.fds.iter().enumerate() {
            let entry = pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            for place in [Place::Begin(at as u16 * 8), Place::End(at as u16 * 8 + 8)] {
                // SAFETY: it lies within.
                unsafe { self.pointer::<pollfd>(place).write(entry) };
            }
        }
    }

    fn turn(&self, which: u8) {
        let fd = self.fds[usize::from(which) % DESCRIPTORS].as_raw_fd();
        if sys::read(fd, 8).is_err() {
            sys::write(fd, &1_u64.to_ne_bytes()).expect("there is room");
        }
    }

    /// Both calls, from the same memory.
    fn compare(
        &self,
        step: &Step,
        kernel: impl FnOnce() -> Result<usize, Errno>,
        ours: impl FnOnce() -> c_int,
    ) {
        let before = self.bytes();
        let expected = (kernel(), self.bytes());
        self.restore(&before);
        let result = Errno::result(ours()).map(|n| n as usize);
        let got = (result, self.bytes());
        assert_eq!(got.0, expected.0, "{step:?}");
        assert!(got.1 == expected.1, "what is left in memory differs: {step:?}");
        self.restore(&before);
    }
}

/// As the manual has them.
const ERRNOS: [Errno; 8] = [
    Errno::EFAULT,
    Errno::EINVAL,
    Errno::EBADF,
    Errno::ENOENT,
    Errno::ESRCH,
    Errno::EPERM,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
];

/// One knote's change, at a place of the memory.
fn change(arena: &Arena, (at, which, filter, flags): (u16, u8, EventFilter, u16)) {
    // Mostly a descriptor, which is any number to the others.
    let ident = match which {
        0..200 => arena.fds[usize::from(which) % DESCRIPTORS].as_raw_fd() as usize,
        200..250 => usize::from(which),
        _ => usize::MAX,
    };
    let flags = EvFlags::from_bits_retain(flags);
    let change = KEvent::new(ident, filter, flags, FilterFlag::empty(), 1, 5);
    // SAFETY: within the memory.
    unsafe { arena.pointer::<KEvent>(Place::Begin(at * 64)).write(change) };
}

fn run(arena: &Arena, kq: RawFd, step: &Step) {
    match *step {
        Step::Turn(which) => arena.turn(which),
        // SAFETY: within the memory.
        Step::Set(at, word) => unsafe { arena.pointer::<u64>(Place::Begin(at * 8)).write(word) },
        Step::Change(change_at, which, filter, flags) => {
            change(arena, (change_at, which, filter, flags));
        }
        Step::Poll(at, nfds) => {
            let fds: *mut pollfd = arena.pointer(at);
            let mut now = NOW;
            // SAFETY: the kernel checks the pointer.
            let kernel = || unsafe { raw::ppoll(fds, nfds as nfds_t, &mut now, null()) };
            // SAFETY: any pointer is to be borne with, and nobody else uses the memory.
            arena.compare(step, kernel, || unsafe { libc::poll(fds, nfds as nfds_t, 0) });
        }
        Step::Select(nfds, at) => {
            let sets = at.map(|at| arena.pointer::<c_void>(at));
            let (mut now, mut zero) = (NOW, libc::timeval { tv_sec: 0, tv_usec: 0 });
            // SAFETY: the kernel checks the pointers.
            let kernel = || unsafe { raw::pselect(nfds, sets, &mut now, null()) };
            let [r, w, e] = sets.map(<*mut c_void>::cast);
            // SAFETY: as for poll.
            arena.compare(step, kernel, || unsafe { libc::select(nfds, r, w, e, &mut zero) });
        }
        Step::Kevent { changes, nchanges, events, nevents, time } => {
            let before = arena.bytes();
            // Never for ever: a time of the memory's may be long, too.
            let time = match time {
                Place::Begin(_) | Place::End(_) => &NOW,
                Place::Null if nevents != 0 => &NOW,
                place => arena.pointer::<timespec>(place).cast_const(),
            };
            // SAFETY: as for poll.
            let got = Errno::result(unsafe {
                let (changes, events) = (arena.pointer(changes), arena.pointer(events));
                kqcompat_kqueue::kevent(kq, changes, nchanges, events, nevents, time)
            });
            match got {
                Ok(n) => assert!((0..=nevents.max(0)).contains(&n), "{n} events, {step:?}"),
                Err(errno) => assert!(ERRNOS.contains(&errno), "{errno}, {step:?}"),
            }
            arena.restore(&before);
        }
    }
}

/// See the module.
pub(crate) fn start() -> crate::Run {
    let (arena, step) = (Arena::new(), step());
    // The engine is to answer, and not the kernel.
    set_policy(Policy::RegisterAtFirstSight);
    Box::new(move |bytes| {
        let steps = from_bytes(&step, bytes);
        arena.fill();
        let kq = kqcompat_kqueue::kqueue();
        assert!(kq >= 0);
        // In a thread of its own, whose queues know nothing yet.
        std::thread::scope(|scope| {
            let ran = scope.spawn(|| steps.iter().for_each(|step| run(&arena, kq, step)));
            ran.join().expect("its panic was reported");
        });
        // SAFETY: ours.
        assert_eq!(unsafe { libc::close(kq) }, 0);
        steps.len() as u64
    })
}
