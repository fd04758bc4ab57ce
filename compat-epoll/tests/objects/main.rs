//! eventfd, timerfd and signalfd: what they do, on the kernel's own and, where core lies on a native
//! kqueue, on ours; random programs beside the kernel's; and nix's names.

#[path = "../backend/mod.rs"]
#[cfg_attr(not(kqcompat_native), allow(dead_code, reason = "for ours alone"))]
mod backend;

mod api;
mod calls;
#[cfg(kqcompat_native)]
mod clock;
#[cfg(kqcompat_native)]
mod differences;
mod events;
#[cfg(kqcompat_native)]
mod random;
mod signals;
mod timers;

use std::process::ExitCode;

use kq_core::test_support::harness::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for rules in [events::RULES, timers::RULES, signals::RULES] {
        suite.add_rules("native", calls::KERNEL, rules);
        #[cfg(kqcompat_native)]
        suite.add_rules("compat", calls::OURS, rules);
    }
    suite.add("native::nix", api::with_nix::all);
    suite.add("compat::nix", api::with_compat::all);
    #[cfg(kqcompat_native)]
    {
        suite.add_rules("compat", calls::OURS, differences::RULES);
        random::add(&mut suite);
    }
    suite.run()
}
