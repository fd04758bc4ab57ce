//! When the engine serves, and when the kernel's own call does.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// How poll and select are served, for the whole process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Policy {
    /// Sets that come again are registered bit by bit, and served from the thread's queue where
    /// that is faster than the kernel's own call.
    #[default]
    Default = 0,
    /// Each set, however small, is registered as a whole when it is first seen, and served from the
    /// queue wherever that is possible at all. It proves that the engine works; it is not fast.
    RegisterAtFirstSight = 1,
    /// What is reported is the answer of the kernel's own call over all entries; the queue is only
    /// slept on.
    Strict = 2,
    /// Each call is the kernel's own.
    Off = 3,
}

impl Policy {
    /// By the name that the environment variable `KQCOMPAT_POLICY` knows: `default`, `register`,
    /// `strict`, `off`.
    pub fn by_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"default" => Self::Default,
            b"register" => Self::RegisterAtFirstSight,
            b"strict" => Self::Strict,
            b"off" => Self::Off,
            _ => return None,
        })
    }

    fn smallest(self) -> usize {
        match self {
            Self::Off => usize::MAX,
            Self::RegisterAtFirstSight => 1,
            Self::Default | Self::Strict => 8,
        }
    }
}

static POLICY: AtomicU8 = AtomicU8::new(Policy::Default as u8);
static SMALLEST: AtomicUsize = AtomicUsize::new(8);

/// Sets smaller than this are the kernel's.
#[inline]
pub(super) fn smallest() -> usize {
    SMALLEST.load(Ordering::Relaxed)
}

/// The policy in force.
#[inline]
pub fn policy() -> Policy {
    match POLICY.load(Ordering::Relaxed) {
        1 => Policy::RegisterAtFirstSight,
        2 => Policy::Strict,
        3 => Policy::Off,
        _ => Policy::Default,
    }
}

/// Sets the policy of poll and select, from the next call on.
///
/// # Examples
/// ```
/// use kq_core::sets::{Policy, policy, set_policy};
///
/// set_policy(Policy::by_name(b"off").unwrap());
/// assert_eq!(policy(), Policy::Off);
/// ```
pub fn set_policy(policy: Policy) {
    POLICY.store(policy as u8, Ordering::Relaxed);
    SMALLEST.store(policy.smallest(), Ordering::Relaxed);
}
