//! nix's names, in one body that is run with nix's and with ours.

pub(crate) mod with_nix {
    use nix::sys::{eventfd, signalfd, timerfd};

    include!("api_body.rs");
}

pub(crate) mod with_compat {
    use compat_epoll::{eventfd, signalfd, timerfd};

    include!("api_body.rs");
}
