//! libevent's ways of waiting and the libraries that serve them: all that differs between columns
//! is data in this file.

/// The kernel has epoll, and no kqueue; everywhere else it is the other way round.
const LINUX: bool = cfg!(target_os = "linux");

/// How a compat library comes into a test program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// `LD_PRELOAD`: the program is the same as for the native column.
    Preload,
    /// libevent is built a second time against our header and linked with the library.
    Link,
}

/// The library that serves a method.
#[derive(Debug)]
pub(crate) struct Compat {
    /// The workspace's package that builds it.
    pub(crate) package: &'static str,
    /// Its name: `kqcompat_epoll` is `libkqcompat_epoll.so`.
    pub(crate) library: &'static str,
    pub(crate) entry: Entry,
    /// What a program may call of it. Whatever of these a program imports must be bound to the
    /// library, and at least one must be.
    pub(crate) symbols: &'static [&'static str],
    /// Files of the workspace that must exist, relative to its root.
    pub(crate) needs: &'static [&'static str],
    pub(crate) has_policies: bool,
}

/// One of libevent's ways of waiting for events.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    /// The name that libevent says when it is told to show its method.
    pub(crate) announced: &'static str,
    /// `X` of libevent's variable `EVENT_NOX`, which forbids the method.
    pub(crate) switch: &'static str,
    /// Variables that choose a variant of the method.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// The kernel has it.
    pub(crate) native: bool,
    /// Whose native results are the expected ones.
    pub(crate) baseline: &'static str,
    /// Whether a test that libevent skips here but runs on the baseline is a difference. It is
    /// where the method is the same; another method lacks other features.
    pub(crate) skips_count: bool,
    pub(crate) compat: &'static Compat,
    /// Part of a run in which no method is named.
    pub(crate) by_default: bool,
}

static EPOLL: Compat = Compat {
    package: "compat-epoll-c",
    library: "kqcompat_epoll",
    entry: if LINUX { Entry::Preload } else { Entry::Link },
    symbols: &[
        "epoll_create",
        "epoll_create1",
        "epoll_ctl",
        "epoll_wait",
        "epoll_pwait",
        "epoll_pwait2",
    ],
    needs: &[],
    has_policies: false,
};

static POLL: Compat = Compat {
    package: "compat-poll-c",
    library: "kqcompat_poll",
    entry: Entry::Preload,
    symbols: &["poll", "ppoll", "__poll", "__poll_chk", "__ppoll_chk"],
    needs: &[],
    has_policies: true,
};

static SELECT: Compat = Compat {
    package: "compat-select-c",
    library: "kqcompat_select",
    entry: Entry::Preload,
    symbols: &["select", "__select", "pselect"],
    needs: &[],
    has_policies: true,
};

static KQUEUE: Compat = Compat {
    package: "kq-core-c",
    library: "kqcompat_kqueue",
    entry: Entry::Link,
    symbols: &["kqueue", "kqueue1", "kqueuex", "kevent"],
    needs: &["core/c/include/sys/event.h"],
    has_policies: false,
};

/// The method that the system lacks: libevent is built a second time for it.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) compat: &'static Compat,
    /// Where our header lies in the workspace.
    pub(crate) include: &'static str,
    /// What libevent's cmake has to find, and what it is told that there is not, so that nothing can
    /// fall back.
    pub(crate) found: &'static [&'static str],
    pub(crate) denied: &'static [&'static str],
}

/// kqueue on Linux, and epoll elsewhere.
pub(crate) static LINKED: Linked = if LINUX {
    Linked {
        compat: &KQUEUE,
        include: "core/c/include",
        found: &["EVENT__HAVE_SYS_EVENT_H", "EVENT__HAVE_KQUEUE", "EVENT__HAVE_WORKING_KQUEUE"],
        // Checked for on the way to "has epoll"; preset, they are not looked for.
        denied: &[
            "EVENT__HAVE_EPOLL_CREATE",
            "EVENT__HAVE_EPOLL_CREATE1",
            "EVENT__HAVE_EPOLL_CTL",
            "EVENT__HAVE_EPOLL",
        ],
    }
} else {
    Linked {
        compat: &EPOLL,
        include: "compat-epoll/c/include",
        found: &["EVENT__HAVE_SYS_EPOLL_H", "EVENT__HAVE_EPOLL"],
        denied: &["EVENT__HAVE_KQUEUE", "EVENT__HAVE_WORKING_KQUEUE"],
    }
};

const EPOLL_METHOD: Method = Method {
    name: "epoll",
    announced: "epoll",
    switch: "EPOLL",
    env: &[],
    native: LINUX,
    baseline: if LINUX { "epoll" } else { "kqueue" },
    skips_count: LINUX,
    compat: &EPOLL,
    by_default: true,
};

/// Every method, in the order of the report.
pub(crate) static METHODS: &[Method] = &[
    EPOLL_METHOD,
    // The three variants in which libevent's own cmake tests run epoll: other orders of
    // epoll_ctl, and a timerfd in the set.
    Method {
        name: "epoll-changelist",
        announced: "epoll (with changelist)",
        env: &[("EVENT_EPOLL_USE_CHANGELIST", "yes")],
        baseline: if LINUX { "epoll-changelist" } else { "kqueue" },
        by_default: false,
        ..EPOLL_METHOD
    },
    Method {
        name: "epoll-timerfd",
        env: &[("EVENT_PRECISE_TIMER", "1")],
        baseline: if LINUX { "epoll-timerfd" } else { "kqueue" },
        by_default: false,
        ..EPOLL_METHOD
    },
    Method {
        name: "epoll-timerfd-changelist",
        announced: "epoll (with changelist)",
        env: &[("EVENT_PRECISE_TIMER", "1"), ("EVENT_EPOLL_USE_CHANGELIST", "yes")],
        baseline: if LINUX { "epoll-timerfd-changelist" } else { "kqueue" },
        by_default: false,
        ..EPOLL_METHOD
    },
    Method {
        name: "poll",
        announced: "poll",
        switch: "POLL",
        native: true,
        baseline: "poll",
        skips_count: true,
        compat: &POLL,
        ..EPOLL_METHOD
    },
    Method {
        name: "select",
        announced: "select",
        switch: "SELECT",
        native: true,
        baseline: "select",
        skips_count: true,
        compat: &SELECT,
        ..EPOLL_METHOD
    },
    Method {
        name: "kqueue",
        announced: "kqueue",
        switch: "KQUEUE",
        native: !LINUX,
        skips_count: false,
        compat: &KQUEUE,
        ..EPOLL_METHOD
    },
];

/// Every `X` of libevent's `EVENT_NOX` variables, in libevent 2.1 and 2.2.
pub(crate) const SWITCHES: &[&str] =
    &["EVPORT", "KQUEUE", "EPOLL", "DEVPOLL", "POLL", "SELECT", "WIN32", "WEPOLL"];

/// The method of this name.
pub(crate) fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_baseline_is_a_native_method_and_names_are_unique() {
        let mut seen = BTreeSet::new();
        for m in METHODS {
            assert!(seen.insert(m.name), "{} is there twice", m.name);
            assert!(SWITCHES.contains(&m.switch), "{} is switched by no known variable", m.name);
            let baseline = method(m.baseline).expect("a known baseline");
            assert!(baseline.native, "{} is measured by a method that the kernel lacks", m.name);
        }
    }
}
