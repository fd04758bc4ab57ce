//! sigaction(3), signal(3) and their kin, and sigwait(3) and its: libc's functions, exported with our
//! hooks around them.
//!
//! While a signal is watched by EVFILT_SIGNAL the kernel's handler for it is the engine's. These
//! hooks keep that from the program: what it sets becomes the action behind the engine's handler,
//! and what it is told is its own. A signal that is not watched is libc's business alone. Hooked are
//! sigaction, __sigaction, signal, bsd_signal, ssignal, sysv_signal, __sysv_signal, sigset,
//! sigignore, siginterrupt, sigwait, sigwaitinfo and sigtimedwait.
//!
//! All but the last three are async-signal-safe, as POSIX has it for sigaction and signal.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kq_core::Errno;
use kq_core::raw::{self, KernelAction};
use kq_core::signals::{self, action_was_set, change_action, disguise};
use libc::{SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_ERR, SIG_IGN, c_ulong, c_void};
use libc::{sighandler_t, siginfo_t, sigset_t, timespec};

use crate::next::Next;

/// libc's `struct sigaction`.
type Action = libc::sigaction;

type Sigaction = unsafe extern "C" fn(c_int, *const Action, *mut Action) -> c_int;
type Signal = unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t;
type Siginterrupt = unsafe extern "C" fn(c_int, c_int) -> c_int;
type Sigwait = unsafe extern "C-unwind" fn(*const sigset_t, *mut c_int) -> c_int;
type Sigwaitinfo = unsafe extern "C-unwind" fn(*const sigset_t, *mut siginfo_t) -> c_int;
type Sigtimedwait =
    unsafe extern "C-unwind" fn(*const sigset_t, *mut siginfo_t, *const timespec) -> c_int;

// SAFETY: here and below, the types are those of the C functions.
static SIGACTION: Next<Sigaction> = unsafe { Next::new(c"sigaction") };
// SAFETY: see above.
static SIGNAL: Next<Signal> = unsafe { Next::new(c"signal") };
// SAFETY: see above.
static SYSV_SIGNAL: Next<Signal> = unsafe { Next::new(c"__sysv_signal") };
// SAFETY: see above.
static SIGINTERRUPT: Next<Siginterrupt> = unsafe { Next::new(c"siginterrupt") };
// SAFETY: see above.
static SIGWAIT: Next<Sigwait> = unsafe { Next::new(c"sigwait") };
// SAFETY: see above.
static SIGWAITINFO: Next<Sigwaitinfo> = unsafe { Next::new(c"sigwaitinfo") };
// SAFETY: see above.
static SIGTIMEDWAIT: Next<Sigtimedwait> = unsafe { Next::new(c"sigtimedwait") };

/// The signals that siginterrupt(3) was asked to let interrupt: signal(3) obeys.
static INTERRUPTING: AtomicU64 = AtomicU64::new(0);

/// When the library is loaded: finds libc's functions, and declares that changes of actions are
/// told, if they are: a library that was loaded late is not asked.
pub(crate) fn init() {
    let behind = SIGACTION.get();
    // Looked for now, since that allocates.
    let _ = (SIGNAL.get(), SYSV_SIGNAL.get(), SIGINTERRUPT.get());
    let _ = (SIGWAIT.get(), SIGWAITINFO.get(), SIGTIMEDWAIT.get());
    // SAFETY: a name that ends in a NUL.
    let first = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"sigaction".as_ptr()) };
    // In a statically linked program nothing is found, and what is called is ours.
    if behind.is_none() || first == sigaction as *const () as *mut c_void {
        signals::all_actions_are_told();
    }
}

/// `sigaction(signal, new, old)` - sets and tells a signal's action.
///
/// # Safety
/// As for sigaction(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    // SAFETY: the caller's promise.
    let asked = unsafe { new.as_ref() }.map(to_kernel);
    // SAFETY: the caller's promise on the handler.
    match unsafe { change_action(signal, asked.as_ref()) } {
        Some(Ok(was)) => {
            // SAFETY: the caller's promise.
            unsafe { tell(was, old) };
            0
        }
        Some(Err(errno)) => fail(errno),
        // SAFETY: the caller's promise.
        None => unsafe { libcs_sigaction(signal, asked.is_some().then_some(new), old) },
    }
}

/// libc's own, of a signal that is not watched.
///
/// # Safety
/// As for sigaction(2).
unsafe fn libcs_sigaction(signal: c_int, new: Option<*const Action>, old: *mut Action) -> c_int {
    let mut was = MaybeUninit::<Action>::uninit();
    let done = match SIGACTION.get() {
        // SAFETY: the caller's promise.
        Some(next) => unsafe { next(signal, new.unwrap_or(null()), was.as_mut_ptr()) },
        // SAFETY: the caller's promise.
        None => unsafe { own_sigaction(signal, new, was.as_mut_ptr()) },
    };
    if done != 0 {
        return done;
    }
    if new.is_some() {
        action_was_set(signal); // it may be watched by now
    }
    // SAFETY: it was successful, so `was` is filled; the caller's promise on `old`. (A forked child
    // has the engine's handlers of its parent.)
    unsafe { tell(disguise(signal, to_kernel(was.assume_init_ref())), old) };
    0
}

/// Without a libc behind us: the system call.
///
/// # Safety
/// As for sigaction(2).
unsafe fn own_sigaction(signal: c_int, new: Option<*const Action>, old: *mut Action) -> c_int {
    // SAFETY: the caller's promise.
    let done = unsafe {
        let new = new.map(|new| signals::for_kernel(to_kernel(&*new)));
        raw::rt_sigaction(signal, new.as_ref())
    };
    match done {
        Ok(was) => {
            // SAFETY: the caller's promise.
            unsafe { tell(was, old) };
            0
        }
        Err(errno) => fail(errno),
    }
}

/// `__sigaction(signal, new, old)` - libc's other name of [`sigaction()`].
///
/// # Safety
/// As for sigaction(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { sigaction(signal, new, old) }
}

fn fail(errno: Errno) -> c_int {
    errno.set();
    -1
}

fn to_kernel(action: &Action) -> KernelAction {
    // SAFETY: a sigset_t has at least the kernel's eight bytes, and begins with them.
    let mask = unsafe { (&raw const action.sa_mask).cast::<u64>().read_unaligned() };
    KernelAction {
        handler: action.sa_sigaction,
        flags: c_ulong::from(action.sa_flags as u32),
        mask,
        ..KernelAction::default()
    }
}

/// Tells the caller an old action, if it asked for that.
///
/// # Safety
/// `old` is null or the caller's.
unsafe fn tell(was: KernelAction, old: *mut Action) {
    if old.is_null() {
        return;
    }
    // SAFETY: all zeros are an action, whose mask is at least eight bytes.
    unsafe {
        let mut action: Action = std::mem::zeroed();
        action.sa_sigaction = was.handler;
        action.sa_flags = was.flags as c_int;
        (&raw mut action.sa_mask).cast::<u64>().write_unaligned(was.mask);
        old.write(action);
    }
}

/// Sets an action of a watched signal, and returns the old handler. None: it is not watched.
///
/// # Safety
/// As for signal(3).
unsafe fn set(
    signal: c_int,
    handler: sighandler_t,
    flags: c_int,
    mask: u64,
) -> Option<sighandler_t> {
    if handler == SIG_ERR {
        return Some(failed(Errno::EINVAL));
    }
    let action = KernelAction {
        handler,
        flags: c_ulong::from(flags as u32),
        mask,
        ..KernelAction::default()
    };
    // SAFETY: the caller's promise.
    let done = unsafe { change_action(signal, Some(&action)) }?;
    Some(done.map_or_else(failed, |was| was.handler))
}

fn failed(errno: Errno) -> sighandler_t {
    errno.set();
    SIG_ERR
}

/// What a function of libc's told of the old handler; the new one is set.
fn told(signal: c_int, was: sighandler_t) -> sighandler_t {
    if was == SIG_ERR {
        return was;
    }
    action_was_set(signal);
    disguise(signal, KernelAction { handler: was, ..KernelAction::default() }).handler
}

fn bit(signal: c_int) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

/// `signal(signal, handler)` - sets a signal's handler, as the BSDs have it: it stays, the signal is
/// blocked meanwhile, and system calls are restarted.
///
/// # Safety
/// As for signal(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    let interrupts = INTERRUPTING.load(Relaxed) & bit(signal) != 0;
    let flags = if interrupts { 0 } else { SA_RESTART };
    // SAFETY: the caller's promise.
    if let Some(was) = unsafe { set(signal, handler, flags, bit(signal)) } {
        return was;
    }
    match SIGNAL.get() {
        // SAFETY: the caller's promise.
        Some(next) => told(signal, unsafe { next(signal, handler) }),
        // SAFETY: the caller's promise.
        None => unsafe { by_sigaction(signal, handler, flags) },
    }
}

/// Without a libc behind us.
///
/// # Safety
/// As for signal(3).
unsafe fn by_sigaction(signal: c_int, handler: sighandler_t, flags: c_int) -> sighandler_t {
    // SAFETY: all zeros are an action.
    let mut new: Action = unsafe { std::mem::zeroed() };
    (new.sa_sigaction, new.sa_flags) = (handler, flags);
    let mut old = new;
    // SAFETY: the caller's promise on the handler.
    match unsafe { sigaction(signal, &new, &mut old) } {
        0 => old.sa_sigaction,
        _ => SIG_ERR,
    }
}

/// `bsd_signal(signal, handler)` - [`signal()`] by another name.
///
/// # Safety
/// As for signal(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bsd_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: the caller's promise.
    unsafe { self::signal(signal, handler) }
}

/// `ssignal(signal, handler)` - [`signal()`] by another name.
///
/// # Safety
/// As for signal(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ssignal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: the caller's promise.
    unsafe { self::signal(signal, handler) }
}

/// `__sysv_signal(signal, handler)` - as [`signal()`], as System V has it: for one time, with the
/// signal not blocked meanwhile, and without restarts. (`signal` of a program that is compiled for
/// strict POSIX.)
///
/// # Safety
/// As for signal(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    let flags = SA_RESETHAND | SA_NODEFER;
    // SAFETY: the caller's promise.
    if let Some(was) = unsafe { set(signal, handler, flags, 0) } {
        return was;
    }
    match SYSV_SIGNAL.get() {
        // SAFETY: the caller's promise.
        Some(next) => told(signal, unsafe { next(signal, handler) }),
        // SAFETY: the caller's promise.
        None => unsafe { by_sigaction(signal, handler, flags) },
    }
}

/// `sysv_signal(signal, handler)` - [`__sysv_signal`] by another name.
///
/// # Safety
/// As for signal(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: the caller's promise.
    unsafe { __sysv_signal(signal, handler) }
}

/// `sigset(signal, disposition)` - System V's: sets a handler and unblocks the signal, or blocks it.
/// Returns the old handler, or SIG_HOLD if the signal was blocked.
///
/// # Safety
/// As for sigset(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigset(signal: c_int, disposition: sighandler_t) -> sighandler_t {
    const SIG_HOLD: sighandler_t = 2;
    if bit(signal) == 0 || disposition == SIG_ERR {
        return failed(Errno::EINVAL);
    }
    let hold = disposition == SIG_HOLD;
    // SAFETY: all zeros are an action.
    let mut new: Action = unsafe { std::mem::zeroed() };
    new.sa_sigaction = disposition;
    let mut old = new;
    let new = if hold { null() } else { &raw const new };
    // SAFETY: the caller's promise on the handler.
    if unsafe { sigaction(signal, new, &mut old) } != 0 {
        return SIG_ERR;
    }
    let how = if hold { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    let was_held = raw::change_mask(how, bit(signal)) & bit(signal) != 0;
    if was_held { SIG_HOLD } else { old.sa_sigaction }
}

/// `sigignore(signal)` - has a signal ignored.
///
/// # Safety
/// As for sigignore(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigignore(signal: c_int) -> c_int {
    // SAFETY: all zeros are an action.
    let mut new: Action = unsafe { std::mem::zeroed() };
    new.sa_sigaction = SIG_IGN;
    // SAFETY: SIG_IGN.
    unsafe { sigaction(signal, &new, null_mut()) }
}

/// `siginterrupt(signal, flag)` - whether a signal's handler interrupts system calls.
///
/// # Safety
/// As for siginterrupt(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siginterrupt(signal: c_int, flag: c_int) -> c_int {
    // For libc's own signal(), which may be called again when the signal is not watched any more.
    // SAFETY: takes numbers.
    let done = SIGINTERRUPT.get().map_or(0, |next| unsafe { next(signal, flag) });
    if done != 0 {
        return done;
    }
    if flag != 0 {
        INTERRUPTING.fetch_or(bit(signal), Relaxed);
    } else {
        INTERRUPTING.fetch_and(!bit(signal), Relaxed);
    }
    // SAFETY: the program's own action, with another flag.
    unsafe {
        let mut action: Action = std::mem::zeroed();
        if sigaction(signal, null(), &mut action) != 0 {
            return -1;
        }
        if flag != 0 {
            action.sa_flags &= !SA_RESTART;
        } else {
            action.sa_flags |= SA_RESTART;
        }
        sigaction(signal, &action, null_mut())
    }
}

/// `sigwait(set, signal)` - takes a pending signal, or waits for one. Returns an errno.
///
/// # Safety
/// As for sigwait(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int {
    let done = match SIGWAIT.get() {
        // SAFETY: the caller's promise.
        Some(next) => unsafe { next(set, signal) },
        // SAFETY: the caller's promise.
        None => unsafe { own_sigwait(set, signal) },
    };
    if done == 0 {
        // SAFETY: libc has written it.
        signals::taken(unsafe { *signal });
    }
    done
}

/// Without a libc behind us.
///
/// # Safety
/// As for sigwait(3).
unsafe fn own_sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int {
    loop {
        // SAFETY: the caller's promise.
        match unsafe { raw::rt_sigtimedwait(set, null_mut(), null()) } {
            Err(Errno::EINTR) => {}
            Err(errno) => return errno as c_int,
            Ok(taken) => {
                // SAFETY: the caller's promise.
                unsafe { *signal = taken };
                return 0;
            }
        }
    }
}

/// `sigwaitinfo(set, info)` - takes a pending signal, or waits for one; returns its number.
///
/// # Safety
/// As for sigwaitinfo(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int {
    let taken = match SIGWAITINFO.get() {
        // SAFETY: the caller's promise.
        Some(next) => unsafe { next(set, info) },
        // SAFETY: the caller's promise.
        None => unsafe { own_sigtimedwait(set, info, null()) },
    };
    count(taken)
}

/// `sigtimedwait(set, info, timeout)` - as [`sigwaitinfo`], for so long.
///
/// # Safety
/// As for sigtimedwait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigtimedwait(
    set: *const sigset_t,
    info: *mut siginfo_t,
    timeout: *const timespec,
) -> c_int {
    let taken = match SIGTIMEDWAIT.get() {
        // SAFETY: the caller's promise.
        Some(next) => unsafe { next(set, info, timeout) },
        // SAFETY: the caller's promise.
        None => unsafe { own_sigtimedwait(set, info, timeout) },
    };
    count(taken)
}

/// Without a libc behind us.
///
/// # Safety
/// As for sigtimedwait(2).
unsafe fn own_sigtimedwait(
    set: *const sigset_t,
    info: *mut siginfo_t,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { raw::rt_sigtimedwait(set, info, timeout) }.unwrap_or_else(fail)
}

fn count(taken: c_int) -> c_int {
    if taken > 0 {
        signals::taken(taken);
    }
    taken
}
