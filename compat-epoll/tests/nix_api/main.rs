//! Every name of `nix::sys::epoll`, used in one body that is compiled and run with nix's epoll and
//! with ours.

#![allow(deprecated, reason = "nix's older functions are part of what is compared")]

mod with_nix {
    use nix::sys::epoll::*;

    include!("body.rs");
}

mod with_compat {
    use compat_epoll::*;

    include!("body.rs");
}

#[test]
fn nix() {
    with_nix::all();
}

#[test]
fn compat() {
    with_compat::all();
}
