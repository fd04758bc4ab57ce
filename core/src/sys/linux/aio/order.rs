//! What is asked for, and whether it can be begun.

use std::os::fd::RawFd;

use libc::{F_GETFL, O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY, S_IFMT};
use libc::{SO_TYPE, SOCK_DGRAM, SOCK_RDM, SOCK_SEQPACKET, SOL_SOCKET, c_int};
use nix::errno::Errno;

use super::files::{File, Files};
use super::request::{Buffer, Deed, Nature, Request};
use super::ring::Ring;
use crate::sys::linux::raw::{self, Result};

/// A request to be begun.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) deed: Deed,
    pub(crate) fd: RawFd,
    pub(crate) buffer: Buffer,
    /// Where in the file; of no meaning for what has no offset.
    pub(crate) offset: i64,
    /// SendFile: how many bytes of the file.
    pub(crate) bytes: Option<u64>,
    /// Its name, if it has one already.
    pub(crate) ident: Option<usize>,
    /// The list that it belongs to.
    pub(crate) list: Option<usize>,
}

impl Order {
    /// Looks whether it can be begun, in FreeBSD's order; takes hold of its files where it has to.
    pub(super) fn prepare(&mut self, files: &mut Files, ring: &Ring) -> Result<Request> {
        if let Buffer::Theirs(_, len) = self.buffer
            && isize::try_from(len).is_err()
        {
            return Err(Errno::EINVAL);
        }
        let flags = raw::fcntl(self.fd, F_GETFL, 0)?;
        let mode = flags & O_ACCMODE;
        let forbidden = match self.deed {
            Deed::Read => mode == O_WRONLY,
            Deed::Write | Deed::Sync { .. } => mode == O_RDONLY,
            _ => false,
        };
        if flags & O_PATH != 0 || forbidden {
            return Err(Errno::EBADF);
        }
        let kind = raw::fstat(self.fd)?.st_mode & S_IFMT;
        let regular = kind == libc::S_IFREG || kind == libc::S_IFBLK;
        let stream = kind == libc::S_IFIFO || kind == libc::S_IFSOCK;
        if stream && matches!(self.deed, Deed::Sync { .. }) {
            return Err(Errno::EINVAL);
        }
        if self.offset < 0 && self.deed.has_offset() && kind != libc::S_IFCHR {
            return Err(Errno::EINVAL);
        }
        let nature = Nature {
            file: File::Number(self.fd),
            regular,
            nonblocking: flags & O_NONBLOCK != 0,
            datagrams: self.deed.is_of_sockets() && keeps_bounds(self.fd)?,
            seekable: regular || kind == libc::S_IFCHR,
        };
        let (held, source) = self.hold(files, ring, &nature)?;
        let buffer = std::mem::replace(&mut self.buffer, Buffer::NONE);
        let mut request = Request::new(self.deed, self.fd, nature, buffer);
        (request.nature.file, request.source) = (held, source);
        request.begin_at(self.offset.max(0) as u64);
        if let Some(bytes) = self.bytes {
            request.ask(bytes);
        }
        request.ident = self.ident.unwrap_or(request.ident);
        request.named = self.ident.is_some();
        request.list = self.list;
        Ok(request)
    }

    /// Takes hold of the file, and of the one that is to be sent.
    fn hold(
        &self,
        files: &mut Files,
        ring: &Ring,
        nature: &Nature,
    ) -> Result<(File, Option<File>)> {
        let Deed::SendFile { source } = self.deed else {
            // A file that is not waited for is taken hold of by the kernel, in the call that
            // submits; but a sync is begun later.
            let sync = matches!(self.deed, Deed::Sync { .. });
            if nature.regular && !nature.nonblocking && !sync {
                return Ok((File::Number(self.fd), None));
            }
            return Ok((files.hold(ring, self.fd)?, None));
        };
        if raw::fcntl(source, F_GETFL, 0)? & O_ACCMODE == O_WRONLY {
            return Err(Errno::EBADF);
        }
        if raw::fstat(source)?.st_mode & S_IFMT != libc::S_IFREG {
            return Err(Errno::EINVAL);
        }
        let source = files.hold(ring, source)?;
        let held = files.hold(ring, self.fd).inspect_err(|_| files.release(ring, source))?;
        Ok((held, Some(source)))
    }
}

impl Deed {
    fn is_of_sockets(self) -> bool {
        matches!(self, Self::Send { .. } | Self::Recv { .. } | Self::SendFile { .. })
    }

    fn has_offset(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::SendFile { .. })
    }
}

/// Whether a socket keeps the bounds of messages. `ENOTSOCK` if it is none.
fn keeps_bounds(fd: RawFd) -> Result<bool> {
    let kind: c_int = raw::getsockopt(fd, SOL_SOCKET, SO_TYPE)?;
    Ok(matches!(kind, SOCK_DGRAM | SOCK_RDM | SOCK_SEQPACKET) || kind == libc::SOCK_RAW)
}
