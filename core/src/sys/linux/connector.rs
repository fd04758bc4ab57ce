//! The process connector: a netlink socket on which the kernel tells of every fork, exec and exit
//! of the whole system (Documentation/driver-api/connector.rst).
//!
//! A queue has one while it has a knote that asks for such things. The kernel demands CAP_NET_ADMIN
//! of who listens (before Linux 6.6), and the first process number space.

use std::os::fd::RawFd;

use libc::{EPOLLIN, pid_t, sock_filter};
use nix::errno::Errno;
use rustc_hash::FxHashMap;

use crate::event::FilterFlag;

use super::hidden::Own;
use super::process::TOLD;
use super::raw::{self, Result};
use super::registered::Registered;
use super::token::Token;

/// What the connector tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    Fork {
        parent: pid_t,
        child: pid_t,
    },
    Exec {
        pid: pid_t,
    },
    Exit {
        pid: pid_t,
        status: i64,
    },
    /// There was more than the socket could hold, and nobody knows what.
    Lost,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Connector {
    socket: Option<Registered>,
    /// The program has closed the socket, and nobody was told of what that lost.
    lost: bool,
    /// The processes that are asked about, and what is asked.
    asked: FxHashMap<pid_t, u32>,
    following: usize,
    /// The kernel leaves nobody out.
    hears_all: bool,
}

const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_CN_MCAST_IGNORE: u32 = 2;

// `struct proc_event`'s kinds (linux/cn_proc.h).
const NONE: u32 = 0;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;

// Where in a message lies what: behind `struct nlmsghdr` (16 bytes) and `struct cn_msg` (20) the
// kind, the processor, the time, and what depends on the kind.
const HEADERS: usize = 36;
const ACK: usize = HEADERS - 8;
const KIND: usize = HEADERS;
const FIRST: usize = HEADERS + 16;

/// For so many processes the kernel is asked to leave the others out; it takes 4096 instructions.
const FILTERED: usize = 1000;

/// The socket's receive buffer, in bytes: some thousand messages. Who may not have that much gets the
/// most that the system allows.
const ROOM: i32 = 4 << 20;

impl Connector {
    /// What shall be told of a process from now on: of NOTE_FORK, NOTE_EXEC and NOTE_TRACK.
    ///
    /// # Errors
    /// - `EPERM`: the system does not let this program listen, or has no process connector.
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory.
    pub(crate) fn ask(&mut self, kq: RawFd, pid: pid_t, wanted: u32) -> Result<()> {
        let wanted = wanted & TOLD;
        let opened = wanted != 0 && self.look(kq).is_none();
        if opened {
            self.socket = Some(open(kq)?);
        }
        let before = match wanted {
            0 => self.asked.remove(&pid),
            _ => self.asked.insert(pid, wanted),
        };
        let follows = |asked: u32| asked & FilterFlag::NOTE_TRACK.bits() != 0;
        self.following += usize::from(follows(wanted));
        self.following -= usize::from(before.is_some_and(follows));
        if self.asked.is_empty() {
            self.close(kq);
        } else if before.map(follows) != (wanted != 0).then(|| follows(wanted)) {
            self.refine(kq);
        }
        if opened {
            let lost = self.lost;
            while self.next().is_some() {} // what came before the filter did
            self.lost = lost;
        }
        Ok(())
    }

    /// The socket.
    pub(crate) fn own(&self) -> Option<Own> {
        self.socket.as_ref().map(Registered::own)
    }

    /// The socket's number, if the program has not closed it.
    fn look(&mut self, kq: RawFd) -> Option<RawFd> {
        let there = self.socket.as_ref()?;
        if there.is_lost(kq) {
            (self.socket, self.lost) = (None, true);
            return None;
        }
        Some(there.number())
    }

    /// Makes the socket anew if the program has closed it; the loss is the next message.
    pub(crate) fn mend(&mut self, kq: RawFd) {
        if self.look(kq).is_none() && !self.asked.is_empty() {
            self.socket = open(kq).ok();
            self.hears_all = false;
            self.refine(kq);
        }
    }

    /// Those that are asked about.
    pub(crate) fn asked(&self) -> impl Iterator<Item = pid_t> {
        self.asked.keys().copied()
    }

    /// The next message, if there is one. After [`mend`](Self::mend).
    pub(crate) fn next(&mut self) -> Option<Told> {
        if std::mem::take(&mut self.lost) {
            return Some(Told::Lost);
        }
        let fd = self.socket.as_ref()?.number();
        let mut message = [0; 256];
        loop {
            match raw::recv_netlink(fd, &mut message) {
                // Anybody may send to a netlink socket; the kernel is number 0.
                Ok((n, 0)) => {
                    if let Some(told) = parse(&message[..n]) {
                        return Some(told);
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Some(Told::Lost),
                Err(_) => return None,
            }
        }
    }

    /// Has the kernel leave out what is not asked for. Who is followed may have children that we do
    /// not know of yet, so then everybody's messages come.
    fn refine(&mut self, kq: RawFd) {
        let Some(fd) = self.look(kq) else { return };
        let all = self.following > 0 || self.asked.len() > FILTERED;
        if !all || !self.hears_all {
            // Without a filter there is only more to read.
            let _ = attach(fd, &if all { filter_all() } else { filter(self.asked()) });
        }
        self.hears_all = all;
    }

    /// Nobody is asked about any more, or the queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Some(fd) = self.look(kq) {
            // Closing alone would not do: a child that the program forked may hold it too. Before
            // Linux 6.6 the kernel would count us among the listeners for ever.
            let _ = raw::write(fd, &request(PROC_CN_MCAST_IGNORE, 0));
        }
        if let Some(socket) = self.socket.take() {
            socket.close(kq);
        }
        (self.lost, self.hears_all) = (false, false);
    }
}

fn open(kq: RawFd) -> Result<Registered> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let make = || {
        let made = raw::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR);
        let fd = made.map_err(|errno| match errno {
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS => errno,
            // Not in this kernel, not in this container.
            _ => Errno::EPERM,
        })?;
        if let Err(errno) = listen(fd) {
            let _ = raw::close(fd);
            return Err(errno);
        }
        Ok(fd)
    };
    Registered::new(kq, EPOLLIN, Token::Connector, make)
}

fn listen(fd: RawFd) -> Result<()> {
    // SAFETY: all zeros are an address.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = CN_IDX_PROC;
    attach(fd, &filter_kinds(&[NONE]))?; // the acknowledgement
    raw::bind_netlink(fd, &address).map_err(|_| Errno::EPERM)?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: an int.
        if unsafe { raw::setsockopt(fd, libc::SOL_SOCKET, option, &ROOM) }.is_ok() {
            break;
        }
    }
    // The acknowledgement goes to all listeners, whoever asked: ours is known by this number.
    let asked = (raw::getpid() as u32) << 10 ^ fd as u32;
    raw::write(fd, &request(PROC_CN_MCAST_LISTEN, asked)).map_err(|_| Errno::EPERM)?;
    // The answer is there when the write returns. Outside of the first process number space and the
    // first user space there is none (cn_proc_mcast_ctl).
    let mut message = [0; 256];
    loop {
        let (n, from) = raw::recv_netlink(fd, &mut message).map_err(|_| Errno::EPERM)?;
        let number = |at: usize| field(&message[..n], at);
        // It comes back plus one, with an errno.
        let acknowledged = number(ACK) == Some(asked.wrapping_add(1));
        if from == 0 && number(KIND) == Some(NONE) && acknowledged {
            return match number(FIRST) {
                Some(0) => Ok(()),
                _ => Err(Errno::EPERM),
            };
        }
    }
}

/// `struct nlmsghdr`, `struct cn_msg` and the operation.
fn request(operation: u32, acknowledge: u32) -> [u8; HEADERS + 4] {
    let mut bytes = [0; HEADERS + 4];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(HEADERS as u32 + 4).to_ne_bytes());
    put(4, &(libc::NLMSG_DONE as u16).to_ne_bytes());
    put(16, &CN_IDX_PROC.to_ne_bytes());
    put(20, &CN_VAL_PROC.to_ne_bytes());
    put(ACK, &acknowledge.to_ne_bytes());
    put(ACK + 4, &4_u16.to_ne_bytes()); // how much is behind the headers
    put(HEADERS, &operation.to_ne_bytes());
    bytes
}

fn field(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn parse(message: &[u8]) -> Option<Told> {
    let id = |index: usize| field(message, FIRST + 4 * index);
    let [task, process] = [id(0)?, id(1)?];
    match field(message, KIND)? {
        // Parent and parent's process, child and child's process: a new thread is none.
        FORK if id(2)? == id(3)? => {
            Some(Told::Fork { parent: process as pid_t, child: id(3)? as pid_t })
        }
        EXEC => Some(Told::Exec { pid: process as pid_t }),
        // The first thread's.
        EXIT if task == process => {
            Some(Told::Exit { pid: process as pid_t, status: i64::from(id(2)?) })
        }
        _ => None,
    }
}

fn attach(fd: RawFd, program: &[sock_filter]) -> Result<()> {
    let program =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions, which are still there.
    unsafe { raw::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program) }
}

const PASS: sock_filter = op(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0);
const DROP: sock_filter = op(libc::BPF_RET | libc::BPF_K, 0, 0, 0);

const fn op(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

const fn load(at: usize) -> sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at as u32, 0, 0)
}

/// Goes over so many instructions if the number is this, else over so many.
const fn is(value: u32, jt: u8, jf: u8) -> sock_filter {
    // The filter's machine loads as from the network; the message is in our own order.
    op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value.to_be(), jt, jf)
}

/// Lets these kinds pass.
fn filter_kinds(kinds: &[u32]) -> Vec<sock_filter> {
    let mut program = vec![load(KIND)];
    kinds.iter().for_each(|&kind| program.extend([is(kind, 0, 1), PASS]));
    program.push(DROP);
    program
}

/// Lets pass what we understand, of all processes.
fn filter_all() -> Vec<sock_filter> {
    filter_kinds(&[FORK, EXEC, EXIT])
}

/// Lets pass what we understand, of these processes.
fn filter(of: impl Iterator<Item = pid_t>) -> Vec<sock_filter> {
    let mut program = vec![load(KIND), is(FORK, 3, 0), is(EXEC, 2, 0), is(EXIT, 1, 0), DROP];
    // For all three, the process stands second.
    program.push(load(FIRST + 4));
    of.for_each(|pid| program.extend([is(pid as u32, 0, 1), PASS]));
    program.push(DROP);
    program
}
