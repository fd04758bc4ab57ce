//! What is read of a signal.

use libc::c_int;

/// `struct signalfd_siginfo`. What the system does not tell is 0.
#[allow(missing_docs, reason = "signalfd(2) has them all")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct SignalInfo {
    pub ssi_signo: u32,
    pub ssi_errno: i32,
    pub ssi_code: i32,
    pub ssi_pid: u32,
    pub ssi_uid: u32,
    pub ssi_fd: i32,
    pub ssi_tid: u32,
    pub ssi_band: u32,
    pub ssi_overrun: u32,
    pub ssi_trapno: u32,
    pub ssi_status: i32,
    pub ssi_int: i32,
    pub ssi_ptr: u64,
    pub ssi_utime: u64,
    pub ssi_stime: u64,
    pub ssi_addr: u64,
    pub ssi_addr_lsb: u16,
    pad2: u16,
    pub ssi_syscall: i32,
    pub ssi_call_addr: u64,
    pub ssi_arch: u32,
    pad: [u8; 28],
}

const _: () = assert!(size_of::<SignalInfo>() == 128);

impl SignalInfo {
    /// Of a signal that nothing is known of but its number.
    #[cfg_attr(not(any(target_os = "openbsd", target_os = "macos")), allow(dead_code))]
    pub(super) fn bare(signal: c_int) -> Self {
        Self { ssi_signo: signal as u32, ..Self::default() }
    }

    /// Which fields there are follows from what has sent the signal.
    #[cfg(not(any(target_os = "openbsd", target_os = "macos")))]
    pub(super) fn of(info: &libc::siginfo_t) -> Self {
        let mut this =
            Self { ssi_errno: info.si_errno, ssi_code: info.si_code, ..Self::bare(info.si_signo) };
        let by_the_kernel = info.si_code > 0;
        match info.si_signo {
            libc::SIGCHLD if by_the_kernel => {
                this.set_sender(info);
                // SAFETY: plain data, which the system has filled.
                this.ssi_status = unsafe { info.si_status() };
            }
            libc::SIGILL | libc::SIGFPE | libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP
                if by_the_kernel =>
            {
                // SAFETY: plain data, which the system has filled.
                this.ssi_addr = unsafe { info.si_addr() } as u64;
            }
            _ if by_the_kernel && info.si_code != SI_USER && info.si_code != SI_QUEUE => {}
            _ => this.set_sender(info),
        }
        if info.si_code == SI_QUEUE {
            // SAFETY: plain data, which the system has filled.
            let value = unsafe { info.si_value() }.sival_ptr as u64;
            (this.ssi_ptr, this.ssi_int) = (value, value as i32);
        }
        this
    }

    #[cfg(not(any(target_os = "openbsd", target_os = "macos")))]
    fn set_sender(&mut self, info: &libc::siginfo_t) {
        // SAFETY: plain data, which the system has filled.
        (self.ssi_pid, self.ssi_uid) = unsafe { (info.si_pid() as u32, info.si_uid()) };
    }
}

/// kill(2) sent it. Above 0 on FreeBSD.
#[cfg(not(any(target_os = "openbsd", target_os = "macos")))]
const SI_USER: c_int = if cfg!(target_os = "freebsd") { 0x10001 } else { 0 };

/// sigqueue(2) sent it.
#[cfg(not(any(target_os = "openbsd", target_os = "macos")))]
const SI_QUEUE: c_int = if cfg!(target_os = "freebsd") { 0x10002 } else { -1 };
