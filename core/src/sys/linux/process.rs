//! EVFILT_PROC and EVFILT_PROCDESC: what becomes of a process.
//!
//! Its end is told by a pidfd, one for each knote: epoll cannot watch a number. What else it does
//! (fork, exec) is told by the [process connector](super::connector), if the program may use that.

use std::ffi::CString;
use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, pid_t};
use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::data;
use super::hidden::Own;
use super::lanes::epoll_event;
use super::raw::{self, Result};
use super::registered;
use super::report::Report;
use super::roll;
use super::source::{Key, Shared};
use super::token::Token;

const EXIT: u32 = FilterFlag::NOTE_EXIT.bits();
/// What only the connector tells.
pub(crate) const TOLD: u32 =
    FilterFlag::NOTE_FORK.union(FilterFlag::NOTE_EXEC).union(FilterFlag::NOTE_TRACK).bits();

/// The filter's part of a PROC or PROCDESC knote.
#[derive(Debug)]
pub(crate) struct Process {
    /// 0 where it is only known by descriptor, and was reaped.
    pid: pid_t,
    /// The program's own descriptor (PROCDESC).
    descriptor: Option<RawFd>,
    /// Tells of the end; None once it has, and where the process was gone before we could ask.
    pidfd: Option<Own>,
    /// The process that the pidfd was made for ([`behind`]).
    behind: Behind,
    /// Registered with the queue, by this token.
    armed: Option<u32>,
    /// What the program asks for.
    pub(crate) wanted: u32,
    /// Its parent, if that is followed and the program has not been told yet.
    child_of: Option<pid_t>,
    /// What has happened since the last report.
    happened: u32,
    /// The wait status, once it is over.
    ended: Option<i64>,
}

impl Process {
    /// A process that the program names.
    ///
    /// # Errors
    /// - `ESRCH`: PROC: there is no such process, or no longer.
    /// - `EBADF`: PROCDESC: there is no such descriptor.
    /// - `EINVAL`: PROCDESC: it is another kind of descriptor.
    /// - `EPERM`: see [`Connector::ask`](super::connector::Connector::ask).
    /// - `ENOSYS`: the kernel has no pidfd_open (Linux 5.3), or a filter on system calls hides it.
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory.
    pub(crate) fn new(key: Key, change: &KEvent, shared: &mut Shared) -> Result<Self> {
        let mut process = match key.0 {
            EventFilter::EVFILT_PROCDESC => Self::by_descriptor(key.1)?,
            _ => Self::by_number(key.1)?,
        };
        match process.ask(change.fflags, shared) {
            Ok(()) => Ok(process),
            Err(errno) => {
                process.close(shared.kq);
                Err(errno)
            }
        }
    }

    fn by_number(ident: usize) -> Result<Self> {
        let pid = pid_of(ident).ok_or(Errno::ESRCH)?;
        let pidfd = roll::hidden(|| raw::pidfd_open(pid)).map_err(|errno| match errno {
            // A thread that is not its process's first, or a number out of range.
            Errno::EINVAL | Errno::ENOENT => Errno::ESRCH,
            other => other,
        })?;
        Ok(Self::unseen(pid).with(Some(pidfd)))
    }

    fn by_descriptor(ident: usize) -> Result<Self> {
        let fd = RawFd::try_from(ident).map_err(|_| Errno::EBADF)?;
        // A duplicate: the program may have registered its own with this queue, for READ.
        let make = || {
            let pidfd = raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0)?;
            match raw::waitid_pidfd(pidfd, LOOK) {
                Err(Errno::EBADF | Errno::EINVAL) => {
                    let _ = raw::close(pidfd);
                    Err(Errno::EINVAL)
                }
                _ => Ok(pidfd),
            }
        };
        let pidfd = roll::hidden(make)?;
        let process = Self::unseen(0).with(Some(pidfd));
        Ok(Self { descriptor: Some(fd), pid: process.behind.pid.unwrap_or(0), ..process })
    }

    /// A child of a process that is followed. It may be gone already; then the connector has its
    /// end for us.
    pub(crate) fn child(pid: pid_t, parent: pid_t) -> Result<Self> {
        let pidfd = match roll::hidden(|| raw::pidfd_open(pid)) {
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => None,
            made => Some(made?),
        };
        Ok(Self { child_of: Some(parent), ..Self::unseen(pid).with(pidfd) })
    }

    fn unseen(pid: pid_t) -> Self {
        Self {
            pid,
            descriptor: None,
            pidfd: None,
            behind: Behind::default(),
            armed: None,
            wanted: 0,
            child_of: None,
            happened: 0,
            ended: None,
        }
    }

    fn with(self, pidfd: Option<Own>) -> Self {
        let behind = pidfd.map(|pidfd| behind(pidfd.number())).unwrap_or_default();
        Self { pidfd, behind, ..self }
    }

    /// What the program asks for from now on.
    ///
    /// # Errors
    /// Those of [`Connector::ask`](super::connector::Connector::ask); then nothing has changed.
    pub(crate) fn ask(&mut self, wanted: u32, shared: &mut Shared) -> Result<()> {
        if self.descriptor.is_none() {
            let told = if self.ended.is_none() { wanted } else { 0 };
            shared.connector.ask(shared.kq, self.pid, told)?;
            self.wanted = wanted;
        } else {
            self.wanted = wanted & EXIT; // all that PROCDESC knows
        }
        Ok(())
    }

    /// A change.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub(crate) fn touch(&mut self, change: &KEvent, shared: &mut Shared) -> Result<()> {
        // FreeBSD forgets what was asked for at a plain EV_ENABLE too; a lost event is worse.
        if change.flags & EvFlags::EV_ADD.bits() != 0 || change.fflags != 0 {
            self.ask(change.fflags, shared)?;
        }
        Ok(())
    }

    /// The knote goes.
    pub(crate) fn leave(&mut self, shared: &mut Shared) {
        if self.descriptor.is_none() {
            // To ask for nothing cannot fail.
            let _ = shared.connector.ask(shared.kq, self.pid, 0);
        }
        self.close(shared.kq);
    }

    /// Whether the program's descriptor was closed, or stands for another process by now.
    pub(crate) fn is_stale(&self) -> bool {
        let (Some(ours), Some(theirs)) = (self.pidfd, self.descriptor) else { return false };
        behind(ours.number()) != behind(theirs)
    }

    /// What the program asks for.
    pub(crate) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Whether its end is known, reported or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Registers the pidfd with the queue, or takes it out: one that is disabled must not make the
    /// queue's descriptor ready.
    pub(crate) fn arm(&mut self, key: Key, enabled: bool, shared: &mut Shared) -> Result<()> {
        if self.pidfd.is_none() {
            return Ok(());
        }
        if enabled && self.armed.is_none() {
            if self.pidfd.is_some_and(|pidfd| !roll::holds(pidfd)) {
                self.reopen();
            }
            let Some(pidfd) = self.pidfd else { return Ok(()) };
            shared.last_token = shared.last_token.wrapping_add(1);
            let token = Token::Process {
                ident: key.1 as u32,
                by_descriptor: self.descriptor.is_some(),
                token: shared.last_token,
            };
            let event = epoll_event(EPOLLIN as u32, token);
            match registered::control(shared.kq, EPOLL_CTL_ADD, pidfd, &event) {
                // The program has closed it, but has the same file elsewhere; and here it is again.
                Err(Errno::EEXIST) => {
                    registered::control(shared.kq, EPOLL_CTL_MOD, pidfd, &event)?;
                }
                done => done?,
            }
            self.armed = Some(shared.last_token);
        } else if !enabled
            && self.armed.take().is_some()
            && let Some(pidfd) = self.pidfd
        {
            // Fails where the program has closed it: found out when it is enabled again.
            registered::leave(shared.kq, pidfd);
        }
        Ok(())
    }

    /// Another pidfd, in the place of one that the program has closed. None: the process is gone.
    fn reopen(&mut self) {
        let again = match self.descriptor {
            None => roll::hidden(|| raw::pidfd_open(self.pid)),
            Some(fd) => roll::hidden(|| raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0)),
        };
        self.armed = None;
        self.pidfd = again.ok().filter(|&pidfd| {
            let now = behind(pidfd.number());
            let same =
                now.file == self.behind.file && (now.pid.is_none() || now.pid == self.behind.pid);
            if !same {
                registered::close(-1, pidfd);
            }
            same
        });
        if self.pidfd.is_none() && self.ended.is_none() {
            self.end(UNKNOWN);
        }
    }

    /// Looks whether the program has closed the pidfd. True: it had, and another serves, or there is
    /// none to be had: then the process is taken for ended.
    pub(crate) fn mend(&mut self, key: Key, shared: &mut Shared) -> bool {
        let is_lost = self.armed.is_some()
            && self.pidfd.is_some_and(|pidfd| {
                registered::check(shared.kq, pidfd).is_err() && !roll::holds(pidfd)
            });
        if is_lost {
            self.reopen();
            if self.arm(key, true, shared).is_err() {
                self.end(UNKNOWN);
            }
        }
        is_lost && self.is_ready()
    }

    /// Whether an event with this token is for this registration.
    pub(crate) fn is_armed_as(&self, token: u32) -> bool {
        self.armed == Some(token)
    }

    /// It did something that the connector told of.
    pub(crate) fn note(&mut self, what: u32) {
        self.happened |= what & (self.wanted | FilterFlag::NOTE_TRACKERR.bits());
    }

    /// The pidfd says that it has ended.
    pub(crate) fn note_end(&mut self, kq: RawFd) {
        let pidfd = self.pidfd.filter(|&pidfd| registered::check(kq, pidfd).is_ok());
        let status = pidfd.and_then(|pidfd| wait_status(pidfd.number(), self.pid));
        self.end(status.unwrap_or(UNKNOWN));
        self.close(kq);
    }

    /// The connector says that it has ended. For one that has a pidfd, that is still to speak.
    pub(crate) fn note_end_as_told(&mut self, status: Option<i64>) {
        if self.pidfd.is_none() && self.ended.is_none() {
            self.end(status.unwrap_or(UNKNOWN));
        }
    }

    fn end(&mut self, status: i64) {
        self.happened |= EXIT & self.wanted;
        self.ended = Some(status);
    }

    /// The program knew of this process already when its followed parent forked it.
    pub(crate) fn becomes_child(&mut self, parent: pid_t) {
        self.child_of = Some(parent);
    }

    /// Whether there is something to report, or the knote to be dropped.
    pub(crate) fn is_ready(&self) -> bool {
        self.child_of.is_some() || self.happened != 0 || self.ended.is_some()
    }

    /// What to report. That it is a child comes alone: its data is the parent, that of its end the
    /// status.
    ///
    /// # Errors
    /// - `ESRCH`: it has ended, and nobody asked for that: the knote goes.
    pub(crate) fn take(&mut self) -> Result<Report> {
        if let Some(parent) = self.child_of.take() {
            let fflags = FilterFlag::NOTE_CHILD.bits();
            return Ok(Report { flags: 0, fflags, data: i64::from(parent) });
        }
        let fflags = std::mem::take(&mut self.happened);
        match self.ended {
            None => Ok(Report { flags: 0, fflags, data: 0 }),
            Some(_) if fflags == 0 => Err(Errno::ESRCH),
            Some(status) => Ok(Report {
                flags: (EvFlags::EV_EOF | EvFlags::EV_ONESHOT).bits(),
                fflags,
                data: if fflags & EXIT != 0 { status } else { 0 },
            }),
        }
    }

    /// The knote goes, or has no more need of it.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Some(pidfd) = self.pidfd.take() {
            registered::close(kq, pidfd);
        }
    }
}

/// What is known of the process that a pidfd is of.
#[derive(Debug, Default, Eq, PartialEq)]
struct Behind {
    /// Since Linux 6.9 each process has an inode of its own.
    file: Option<(u64, u64)>,
    /// Its number, if it has not been reaped.
    pid: Option<pid_t>,
}

fn behind(pidfd: RawFd) -> Behind {
    Behind {
        file: raw::fstat(pidfd).map(|st| (st.st_dev, st.st_ino)).ok(),
        pid: data::fdinfo(pidfd, b"Pid:", 10).and_then(|pid| pid_t::try_from(pid).ok()),
    }
}

/// Looks for an end without taking it: the process stays to be waited for.
const LOOK: libc::c_int = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG | libc::__WALL;

/// The process that an ident names.
fn pid_of(ident: usize) -> Option<pid_t> {
    pid_t::try_from(ident).ok().filter(|&pid| pid > 0)
}

/// What `data` says of an end whose status nobody can tell: no wait status (wait(2)'s macros find
/// neither an exit nor a signal in it).
const UNKNOWN: i64 = -1;

/// The wait status of a process that has ended, which stays to be waited for.
fn wait_status(pidfd: RawFd, pid: pid_t) -> Option<i64> {
    // In this order: whoever is not reaped yet may be while we ask.
    status_of_child(pidfd)
        .or_else(|| status_of_zombie(pidfd, pid))
        .or_else(|| status_of_reaped(pidfd))
}

/// Our own child, as waitid(2) tells it.
fn status_of_child(pidfd: RawFd) -> Option<i64> {
    let info = raw::waitid_pidfd(pidfd, LOOK).ok()?;
    // SAFETY: waitid fills the fields of SIGCHLD, or leaves zeros where there is nothing to tell.
    let status = unsafe { info.si_status() };
    match info.si_code {
        libc::CLD_EXITED => Some(i64::from(status & 0xff) << 8),
        libc::CLD_KILLED => Some(i64::from(status)),
        libc::CLD_DUMPED => Some(i64::from(status | 0x80)),
        _ => None,
    }
}

/// Anybody's, once it was reaped: the pidfd keeps the status (Linux 6.15).
fn status_of_reaped(pidfd: RawFd) -> Option<i64> {
    /// `struct pidfd_info` as it was first (linux/pidfd.h).
    #[repr(C)]
    struct PidfdInfo {
        mask: u64,
        ids: [u32; 13],
        exit_code: i32,
    }
    const _: () = assert!(size_of::<PidfdInfo>() == 64);
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    const PIDFD_GET_INFO: libc::c_ulong = 3 << 30 | 64 << 16 | 0xff << 8 | 11;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ids: [0; 13], exit_code: 0 };
    // SAFETY: the request carries the size of this struct, and the kernel keeps to it.
    unsafe { raw::ioctl_struct(pidfd, PIDFD_GET_INFO, &mut info) }.ok()?;
    (info.mask & PIDFD_INFO_EXIT != 0).then_some(i64::from(info.exit_code))
}

/// Anybody's that was not reaped yet, if we may look at it as a debugger may: the last field of
/// /proc/PID/stat (proc_pid_stat(5)).
fn status_of_zombie(pidfd: RawFd, pid: pid_t) -> Option<i64> {
    // Without that right the field reads 0, as after exit(0). The same right is asked for the
    // program's path, which a zombie has not got any more.
    if raw::readlink(&proc_path(pid, "exe")?, &mut [0; 8]) != Err(Errno::ENOENT) {
        return None;
    }
    let file = raw::open_read(&proc_path(pid, "stat")?).ok()?;
    let mut text = [0; 1024];
    let read = raw::read(file, &mut text);
    let _ = raw::close(file);
    let status = parse_stat(&text[..read.ok()?])?;
    // Was it the number's owner that we know, or has another come since?
    match raw::pidfd_send_signal(pidfd, 0) {
        Err(Errno::ESRCH) => None,
        _ => Some(status),
    }
}

fn proc_path(pid: pid_t, file: &str) -> Option<CString> {
    CString::new(format!("/proc/{pid}/{file}")).ok()
}

/// A zombie's wait status out of the one line of /proc/PID/stat.
fn parse_stat(text: &[u8]) -> Option<i64> {
    // The name, in brackets, may hold anything; the state comes after it.
    let after = text.iter().rposition(|&b| b == b')')? + 1;
    let mut fields = std::str::from_utf8(&text[after..]).ok()?.split_ascii_whitespace();
    if !matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_last_field_of_a_zombie() {
        assert_eq!(parse_stat(b"7 (a) b) Z 1 7 7 0 -1 0 17 256\n"), Some(256));
        assert_eq!(parse_stat(b"7 (Z) S 1 7 7 0 -1 0 17 256\n"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn idents_that_are_no_process() {
        for ident in [0, usize::MAX, 1 << 31, u32::MAX as usize] {
            assert_eq!(pid_of(ident), None);
        }
        assert_eq!(pid_of(1), Some(1));
    }
}
