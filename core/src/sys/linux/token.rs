//! The 64 bits that come back with an event of a kqueue-ruled queue.
//!
//! Never a pointer, and never a descriptor alone: an event that was fetched before its knote went
//! must not reach the next owner of the number. An event of a descriptor of our own carries its serial
//! number: one that the program has closed may go on to tell of things, if a child that was forked
//! has it too.

use std::os::fd::RawFd;

/// Who an event is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    /// A descriptor's registration.
    Descriptor { fd: RawFd, token: u32 },
    /// A nested lane has events.
    Lane(u8),
    /// The bell was rung.
    Bell,
    /// A timer descriptor has expired: of the real-time clock, or the monotonic one.
    Clock { realtime: bool },
    /// Something happened to a watched file.
    Inotify,
    /// The mount table has changed.
    Mounts,
    /// A writer that waits for its low-water mark is to be looked at again.
    LowWater,
    /// A process has ended, which a PROC knote names by its number, a PROCDESC knote by a
    /// descriptor. `token` names the knote's registration, as with descriptors.
    Process { ident: u32, by_descriptor: bool, token: u32 },
    /// The process connector has messages.
    Connector,
    /// The set is given up.
    Alarm,
    /// A signal was counted.
    Signals,
    /// A signal is pending.
    Pending,
    /// Asynchronous requests are complete.
    Aio,
}

const OURS: u64 = 1 << 31;
/// Beside [`OURS`]: the low 29 bits are the number of a process, which has 22 at most, or, with
/// [`BY_DESCRIPTOR`], of a descriptor.
const PROCESS: u64 = 1 << 30;
const BY_DESCRIPTOR: u64 = 1 << 29;

impl Token {
    pub(crate) fn encode(self) -> u64 {
        match self {
            Token::Descriptor { fd, token } => u64::from(token) << 32 | fd as u64,
            Token::Process { ident, by_descriptor, token } => {
                let ident = u64::from(ident) & (BY_DESCRIPTOR - 1);
                let kind = if by_descriptor { PROCESS | BY_DESCRIPTOR } else { PROCESS };
                u64::from(token) << 32 | OURS | kind | ident
            }
            Token::Bell => OURS,
            Token::Clock { realtime } => OURS | 2 | u64::from(realtime),
            Token::Alarm => OURS | 4,
            Token::Connector => OURS | 5,
            Token::Signals => OURS | 6,
            Token::Pending => OURS | 7,
            Token::Lane(lane) => OURS | 8 | u64::from(lane),
            Token::Inotify => OURS | 16,
            Token::Mounts => OURS | 17,
            Token::LowWater => OURS | 18,
            Token::Aio => OURS | 19,
        }
    }

    /// Encodes a token of a descriptor of our own with that one's serial number, which tells it from
    /// those before.
    pub(crate) fn encode_with(self, serial: u32) -> u64 {
        self.encode() | u64::from(serial) << 32
    }

    /// The serial number that was encoded.
    pub(crate) fn serial(bits: u64) -> u32 {
        (bits >> 32) as u32
    }

    /// The number and the name of a descriptor's registration, if it is one's.
    #[inline(always)]
    pub(crate) fn of_descriptor(bits: u64) -> Option<(RawFd, u32)> {
        (bits & OURS == 0).then_some((bits as u32 as RawFd, (bits >> 32) as u32))
    }

    /// None for bits that no token encodes to.
    pub(crate) fn decode(bits: u64) -> Option<Self> {
        match Self::of_descriptor(bits) {
            Some((fd, token)) => Some(Token::Descriptor { fd, token }),
            None => Self::decode_ours(bits),
        }
    }

    fn decode_ours(bits: u64) -> Option<Self> {
        if bits & PROCESS != 0 {
            let ident = (bits & (BY_DESCRIPTOR - 1)) as u32;
            let by_descriptor = bits & BY_DESCRIPTOR != 0;
            return Some(Token::Process { ident, by_descriptor, token: (bits >> 32) as u32 });
        }
        match bits & (OURS - 1) {
            0 => Some(Token::Bell),
            at @ (2 | 3) => Some(Token::Clock { realtime: at == 3 }),
            4 => Some(Token::Alarm),
            5 => Some(Token::Connector),
            6 => Some(Token::Signals),
            7 => Some(Token::Pending),
            at @ 8..16 => Some(Token::Lane((at & 7) as u8)),
            16 => Some(Token::Inotify),
            17 => Some(Token::Mounts),
            18 => Some(Token::LowWater),
            19 => Some(Token::Aio),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut tokens =
            vec![Token::Bell, Token::Inotify, Token::Mounts, Token::LowWater, Token::Alarm];
        tokens.extend([Token::Connector, Token::Signals, Token::Pending, Token::Aio]);
        tokens.extend((0..8).map(Token::Lane));
        tokens.extend([false, true].map(|realtime| Token::Clock { realtime }));
        for fd in [0, 1, 1000, i32::MAX] {
            tokens.extend([0, 1, u32::MAX].map(|token| Token::Descriptor { fd, token }));
        }
        for (ident, by_descriptor) in [(1, false), (4_194_304, false), (0, true), (1 << 20, true)] {
            let process = |token| Token::Process { ident, by_descriptor, token };
            tokens.extend([0, 1, u32::MAX].map(process));
        }
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(OURS | 1), None);
        let with_serial = Token::Lane(3).encode_with(77);
        assert_eq!(Token::decode(with_serial), Some(Token::Lane(3)));
        assert_eq!(Token::serial(with_serial), 77);
    }
}
