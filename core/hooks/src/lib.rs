//! What the C libraries have in common: libc's functions that close descriptors, or make a socket
//! ready without waking anybody, exported with our hooks around them, and the way to the next
//! library's function of a name.
//!
//! A C library exports these symbols by linking this package. Calls inside libc do not come by
//! here: that is why fclose, freopen, closedir and pclose are hooked beside close, and why what
//! happens in login_tty or daemon is found out later (docs/poll.md).
//!
//! On a native kqueue nothing is hooked.

#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub mod close;
pub mod counters;
mod next;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub mod sandbox;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub mod socket;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub mod stdio;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub mod waits;

use std::os::unix::ffi::OsStrExt;

use kq_core::sets::Policy;
pub use next::{Next, fail, returned, to_c};

/// To be called when the library is loaded, in a constructor, with the library's name: finds libc's
/// functions now, since looking for them allocates, and declares that closes are told.
pub fn init(library: &'static str) {
    kq_stats_c::init(library);
    #[cfg(all(target_os = "linux", not(kqcompat_native)))]
    {
        close::find();
        stdio::find();
        sandbox::find();
        socket::find();
        kq_core::hooks::all_closes_are_told();
    }
}

/// Whether the environment variable `KQCOMPAT_PRIVATE` is `1`: the program promises that its queues
/// are only waited on through the library ([`kq_core::Kqueue::private`]).
pub fn private_from_environment() -> bool {
    kq_stats_c::setting(c"KQCOMPAT_PRIVATE").is_some_and(|value| value == "1")
}

/// Sets the policy of poll and select that the environment variable `KQCOMPAT_POLICY` names; not in
/// a program that runs with the rights of another user (secure_getenv(3)).
pub fn policy_from_environment() {
    let name = kq_stats_c::setting(c"KQCOMPAT_POLICY");
    if let Some(policy) = name.and_then(|name| Policy::by_name(name.as_bytes())) {
        kq_core::sets::set_policy(policy);
    }
}
