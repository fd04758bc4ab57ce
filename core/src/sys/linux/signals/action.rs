//! Our handlers in the kernel, and the program's actions behind them.
//!
//! Each handler of ours stands for one action of the program's, which never changes: a handler that
//! is saved (by sigaction's old action, in Rust, where nobody disguises it) and set again later
//! brings that action back. So there are several, for the actions that a program takes turns with.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use libc::{
    SA_NOCLDWAIT, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SA_SIGINFO, SIG_DFL, SIG_IGN, c_ulong,
    siginfo_t,
};

use super::lock::Guard;
use super::{SIGNALS, bit, count, is_ours, is_watched, ringer};
use crate::sys::linux::raw::{self, KernelAction, Result};

/// How many of a signal's actions are remembered.
const ACTIONS: usize = 16;

/// One of the program's actions. Written under the lock, before its handler is the kernel's.
#[derive(Debug)]
struct Action {
    handler: AtomicUsize,
    flags: AtomicU64,
    mask: AtomicU64,
}

static PROGRAMS: [[Action; ACTIONS]; SIGNALS] = [const {
    [const {
        Action {
            handler: AtomicUsize::new(SIG_DFL),
            flags: AtomicU64::new(0),
            mask: AtomicU64::new(0),
        }
    }; ACTIONS]
}; SIGNALS];

/// The entry that is overwritten next.
static NEXT: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(1) }; SIGNALS];

type Handler = unsafe extern "C-unwind" fn(c_int, *mut siginfo_t, *mut c_void);

/// Ours, one for each entry. (A table, since the address of a function may differ from place to
/// place; that in the table does not.)
static HANDLERS: [Handler; ACTIONS] = [
    handler::<0>,
    handler::<1>,
    handler::<2>,
    handler::<3>,
    handler::<4>,
    handler::<5>,
    handler::<6>,
    handler::<7>,
    handler::<8>,
    handler::<9>,
    handler::<10>,
    handler::<11>,
    handler::<12>,
    handler::<13>,
    handler::<14>,
    handler::<15>,
];

/// What the kernel calls. The frame has nothing to drop: a handler may leave it by siglongjmp, and a
/// cancelled thread unwinds through it.
unsafe extern "C-unwind" fn handler<const N: usize>(
    signal: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: what the kernel gave.
    unsafe { handle(N, signal, info, context) }
}

/// # Safety
/// As the kernel calls a handler with SA_SIGINFO.
unsafe fn handle(entry: usize, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if is_watched(signal) && is_ours() && count::happened(signal) {
        ringer::ring(signal);
    }
    let Some(entry) = PROGRAMS.get(signal as usize).and_then(|entries| entries.get(entry)) else {
        return;
    };
    let mut action = entry.load();
    if action.flags & SA_RESETHAND as c_ulong != 0 {
        action = reset(signal, action);
    }
    // SAFETY: the kernel's siginfo.
    let code = unsafe { (*info).si_code };
    match action.handler {
        SIG_DFL => default_action(signal, code),
        // A fault cannot be ignored.
        SIG_IGN if is_fault(signal, code) => default_action(signal, code),
        SIG_IGN => {}
        function => {
            // SAFETY: the program gave this function to sigaction(2), with its flags. One that takes
            // the number only is given the others too, as the kernel does.
            unsafe {
                let function = std::mem::transmute::<usize, Handler>(function);
                function(signal, info, context);
            }
        }
    }
}

/// SA_RESETHAND: this time is the last. The kernel does the same, if the handler is its.
#[cold]
fn reset(signal: c_int, action: KernelAction) -> KernelAction {
    let guard = Guard::lock();
    // SAFETY: only asks.
    let Ok(installed) = (unsafe { raw::rt_sigaction(signal, None) }) else { return action };
    let Some(now) = behind(signal, &installed) else { return action };
    if now != action {
        return now; // another thread was first
    }
    let _ = set(&guard, signal, &KernelAction { handler: SIG_DFL, ..action });
    KernelAction { flags: action.flags & !(SA_RESETHAND as c_ulong), ..action }
}

/// Raised by the thread's own instruction or system call, and not sent.
fn is_fault(signal: c_int, code: c_int) -> bool {
    const FAULTS: [c_int; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
    code > 0 && FAULTS.contains(&signal)
}

/// Those that are not ended or stopped by by default: signal(7).
fn is_harmless(signal: c_int) -> bool {
    [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT].contains(&signal)
}

/// What the kernel does where there is no handler: it does it.
#[cold]
fn default_action(signal: c_int, code: c_int) {
    if is_harmless(signal) {
        return;
    }
    let default = KernelAction { handler: SIG_DFL, ..KernelAction::default() };
    // SAFETY: the default action.
    let Ok(ours) = (unsafe { raw::rt_sigaction(signal, Some(&default)) }) else { return };
    // The instruction at fault is about to be tried again, so the core dump will be of that.
    let repeats = ![libc::SIGTRAP, libc::SIGSYS].contains(&signal);
    if is_fault(signal, code) && repeats {
        return;
    }
    let _ = raw::raise(signal);
    // Here it ends, or stops until it is continued.
    let mask = raw::change_mask(libc::SIG_UNBLOCK, bit(signal));
    raw::change_mask(libc::SIG_SETMASK, mask);
    let _guard = Guard::lock();
    // SAFETY: what was there, unless the program has set another since.
    unsafe {
        if raw::rt_sigaction(signal, None).is_ok_and(|there| there.handler == SIG_DFL) {
            let _ = raw::rt_sigaction(signal, Some(&ours));
        }
    }
}

impl Action {
    fn load(&self) -> KernelAction {
        KernelAction {
            handler: self.handler.load(SeqCst),
            flags: self.flags.load(SeqCst) as c_ulong,
            mask: self.mask.load(SeqCst),
            ..KernelAction::default()
        }
    }

    fn store(&self, action: &KernelAction) {
        self.handler.store(action.handler, SeqCst);
        self.flags.store(action.flags, SeqCst);
        self.mask.store(action.mask, SeqCst);
    }
}

/// Which of ours the kernel has.
fn entry_of(installed: &KernelAction) -> Option<usize> {
    HANDLERS.iter().position(|&handler| handler as usize == installed.handler)
}

/// The program's action behind the kernel's, if that is one of ours.
fn behind(signal: c_int, installed: &KernelAction) -> Option<KernelAction> {
    entry_of(installed).map(|entry| PROGRAMS[signal as usize][entry].load())
}

/// An action as it is kept, and compared: without what libc puts in for returning.
fn plain(action: &KernelAction) -> KernelAction {
    KernelAction {
        handler: action.handler,
        flags: action.flags & !SA_RESTORER & u32::MAX as c_ulong, // libc's are a signed int
        mask: action.mask,
        ..KernelAction::default()
    }
}

/// Makes one of ours stand for an action of the program's, and the kernel's.
fn set(_: &Guard, signal: c_int, action: &KernelAction) -> Result<()> {
    let action = plain(action);
    if is_left_alone(signal, &action) {
        // SAFETY: SIG_IGN.
        return unsafe { raw::rt_sigaction(signal, Some(&action)) }.map(drop);
    }
    let entry = entry_for(signal, &action)?;
    // SAFETY: one of ours, with SA_SIGINFO.
    unsafe { raw::rt_sigaction(signal, Some(&disguised(signal, &action, entry))) }.map(drop)
}

/// To set this action throws away what is pending (sigaction(2)): is something?
fn throws_away(signal: c_int, action: &KernelAction) -> bool {
    let ignored = action.handler == SIG_IGN || (action.handler == SIG_DFL && is_harmless(signal));
    ignored && raw::rt_sigpending() & bit(signal) != 0
}

/// A terminal lets a process in the background read and write if it ignores these; if it has a
/// handler the call would be repeated for ever.
fn is_left_alone(signal: c_int, action: &KernelAction) -> bool {
    action.handler == SIG_IGN && [libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}

/// The entry of an action: the one it has, or the oldest that the kernel does not use.
fn entry_for(signal: c_int, action: &KernelAction) -> Result<usize> {
    let entries = &PROGRAMS[signal as usize];
    if let Some(known) = entries.iter().position(|entry| entry.load() == *action) {
        return Ok(known);
    }
    // SAFETY: only asks.
    let in_use = entry_of(&unsafe { raw::rt_sigaction(signal, None) }?);
    let next = &NEXT[signal as usize];
    let mut entry = next.load(SeqCst);
    if Some(entry) == in_use {
        entry = after(entry);
    }
    next.store(after(entry), SeqCst);
    entries[entry].store(action);
    Ok(entry)
}

/// Entry 0 is the default action, and stays it.
fn after(entry: usize) -> usize {
    entry % (ACTIONS - 1) + 1
}

/// The kernel's action for one of ours.
fn disguised(signal: c_int, action: &KernelAction, entry: usize) -> KernelAction {
    let mut flags = action.flags & !(SA_RESETHAND as c_ulong) | SA_SIGINFO as c_ulong;
    if matches!(action.handler, SIG_DFL | SIG_IGN) {
        // Where nothing would have been interrupted, as little as possible is.
        flags |= (SA_RESTART | SA_ONSTACK) as c_ulong;
    }
    if signal == libc::SIGCHLD && action.handler == SIG_IGN {
        flags |= SA_NOCLDWAIT as c_ulong; // children are not kept as zombies: wait(2)
    }
    with_restorer(KernelAction {
        handler: HANDLERS[entry] as usize,
        flags,
        mask: action.mask,
        ..KernelAction::default()
    })
}

/// Puts ours in the place of the program's action, unless it is there already.
pub(super) fn install(guard: &Guard, signal: c_int) -> Result<()> {
    // SAFETY: only asks.
    let installed = unsafe { raw::rt_sigaction(signal, None) }?;
    match entry_of(&installed) {
        Some(_) => Ok(()),
        None => set(guard, signal, &installed),
    }
}

/// The program may have put a handler in the place of ours, with nobody telling, or by libc's
/// sigaction(3) while the signal was not watched yet.
pub(crate) fn reinstall(signal: c_int) {
    // SAFETY: only asks.
    let installed = unsafe { raw::rt_sigaction(signal, None) };
    if installed.is_ok_and(|there| entry_of(&there).is_none() && !is_left_alone(signal, &there)) {
        let _ = install(&Guard::lock(), signal);
    }
}

/// Gives the program's action back to the kernel. Not one that would throw a signal away that is
/// pending: ours does the same when it comes.
pub(super) fn uninstall(_: &Guard, signal: c_int) {
    // SAFETY: only asks.
    let Ok(installed) = (unsafe { raw::rt_sigaction(signal, None) }) else { return };
    if let Some(action) = behind(signal, &installed).filter(|action| !throws_away(signal, action)) {
        // SAFETY: the program's own action.
        let _ = unsafe { raw::rt_sigaction(signal, Some(&with_restorer(action))) };
    }
}

/// For a C library's sigaction(3): sets the action of a signal that is watched, and returns the old
/// one as the program knows it. None: the signal is not watched here, and the call is libc's.
///
/// # Errors
/// Those of sigaction(2).
///
/// # Safety
/// As for sigaction(2): the new handler is one that may be called.
pub unsafe fn change_action(
    signal: c_int,
    new: Option<&KernelAction>,
) -> Option<Result<KernelAction>> {
    if !is_watched(signal) || !is_ours() {
        return None;
    }
    let guard = Guard::lock();
    // SAFETY: only asks.
    let old = match unsafe { raw::rt_sigaction(signal, None) } {
        Ok(installed) => disguise(signal, installed),
        Err(errno) => return Some(Err(errno)),
    };
    let done = new.map_or(Ok(()), |new| {
        if throws_away(signal, new) {
            // SAFETY: SIG_IGN or SIG_DFL.
            unsafe { raw::rt_sigaction(signal, Some(&plain(new))) }?;
        }
        set(&guard, signal, new)
    });
    Some(done.map(|()| old))
}

/// For a C library: an old action as the program knows it, where the kernel gave one of ours. A
/// forked child still has them.
pub fn disguise(signal: c_int, installed: KernelAction) -> KernelAction {
    if (1..SIGNALS as c_int).contains(&signal) {
        behind(signal, &installed).unwrap_or(installed)
    } else {
        installed
    }
}

/// An action as the kernel takes it: with what returns from a handler, where that is asked for.
pub fn for_kernel(action: KernelAction) -> KernelAction {
    with_restorer(action)
}

/// The kernel's flag for a restorer (asm/signal.h), which libc does not name.
const SA_RESTORER: c_ulong =
    if cfg!(any(target_arch = "riscv64", target_arch = "loongarch64")) { 0 } else { 0x0400_0000 };

/// What a handler returns to. Debuggers and unwinders know a signal's frame by these very bytes, and
/// by there being nothing about them in the unwind tables (a naked function has none).
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn restore() {
    std::arch::naked_asm!(
        "nop",                                            // they look one byte before a return address
        ".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00", // mov $15, %rax: rt_sigreturn
        ".byte 0x0f, 0x05",                               // syscall
    );
}

/// x86-64 has handlers return to a function of the program's; elsewhere the kernel has its own.
#[cfg(target_arch = "x86_64")]
fn with_restorer(mut action: KernelAction) -> KernelAction {
    action.flags |= SA_RESTORER;
    action.restorer = restore as *const () as usize + 1; // behind the nop
    action
}

#[cfg(not(target_arch = "x86_64"))]
fn with_restorer(action: KernelAction) -> KernelAction {
    action
}
