//! The 64 bits that come back with an event of a kqueue-ruled queue.
//!
//! Never a pointer, and never a descriptor alone: an event that was fetched before its knote went
//! must not reach the next owner of the number.

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
}

const OURS: u64 = 1 << 31;

impl Token {
    pub(crate) fn encode(self) -> u64 {
        match self {
            Token::Descriptor { fd, token } => u64::from(token) << 32 | fd as u64,
            Token::Bell => OURS,
            Token::Clock { realtime } => OURS | 2 | u64::from(realtime),
            Token::Lane(lane) => OURS | 8 | u64::from(lane),
            Token::Inotify => OURS | 16,
            Token::Mounts => OURS | 17,
            Token::LowWater => OURS | 18,
        }
    }

    /// None for bits that no token encodes to.
    pub(crate) fn decode(bits: u64) -> Option<Self> {
        if bits & OURS == 0 {
            let fd = (bits & (OURS - 1)) as RawFd;
            return Some(Token::Descriptor { fd, token: (bits >> 32) as u32 });
        }
        match bits & !OURS {
            0 => Some(Token::Bell),
            at @ (2 | 3) => Some(Token::Clock { realtime: at == 3 }),
            at @ 8..16 => Some(Token::Lane((at & 7) as u8)),
            16 => Some(Token::Inotify),
            17 => Some(Token::Mounts),
            18 => Some(Token::LowWater),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut tokens = vec![Token::Bell, Token::Inotify, Token::Mounts, Token::LowWater];
        tokens.extend((0..8).map(Token::Lane));
        tokens.extend([false, true].map(|realtime| Token::Clock { realtime }));
        for fd in [0, 1, 1000, i32::MAX] {
            tokens.extend([0, 1, u32::MAX].map(|token| Token::Descriptor { fd, token }));
        }
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(OURS | 4), None);
    }
}
