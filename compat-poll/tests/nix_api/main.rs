//! Every name of `nix::poll`, used in one body that is compiled and run with nix's poll and with ours.

mod with_nix {
    use nix::poll::*;

    include!("body.rs");
}

mod with_compat {
    use compat_poll::*;

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
