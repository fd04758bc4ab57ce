//! The columns of the comparison: which ways of waiting libevent has, who serves them, and which
//! of them a run was asked for. Everything that differs between columns is data in this file.

use std::fmt;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

/// Who answers the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// The kernel's own calls.
    Native,
    /// kqcompat's libraries.
    Compat,
}

/// How far the poll and select libraries trust their registrations (`KQCOMPAT_POLICY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// Descriptors are registered when a set comes again.
    Default,
    /// Descriptors are registered at first sight: every test goes through the engine.
    Register,
    /// The kernel is asked at each call.
    Strict,
    /// The library hands every call to the kernel.
    Off,
}

impl Policy {
    /// The policies that a run compares when none is named.
    const USUAL: &[Policy] = &[Policy::Default, Policy::Register];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Policy::Default => "default",
            Policy::Register => "register",
            Policy::Strict => "strict",
            Policy::Off => "off",
        }
    }
}

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
    entry: Entry::Preload,
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

/// The library that libevent is linked with for its kqueue method.
pub(crate) fn kqueue() -> &'static Compat {
    &KQUEUE
}

const EPOLL_METHOD: Method = Method {
    name: "epoll",
    announced: "epoll",
    switch: "EPOLL",
    env: &[],
    native: true,
    baseline: "epoll",
    skips_count: true,
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
        baseline: "epoll-changelist",
        by_default: false,
        ..EPOLL_METHOD
    },
    Method {
        name: "epoll-timerfd",
        env: &[("EVENT_PRECISE_TIMER", "1")],
        baseline: "epoll-timerfd",
        by_default: false,
        ..EPOLL_METHOD
    },
    Method {
        name: "epoll-timerfd-changelist",
        announced: "epoll (with changelist)",
        env: &[("EVENT_PRECISE_TIMER", "1"), ("EVENT_EPOLL_USE_CHANGELIST", "yes")],
        baseline: "epoll-timerfd-changelist",
        by_default: false,
        ..EPOLL_METHOD
    },
    Method {
        name: "poll",
        announced: "poll",
        switch: "POLL",
        baseline: "poll",
        compat: &POLL,
        ..EPOLL_METHOD
    },
    Method {
        name: "select",
        announced: "select",
        switch: "SELECT",
        baseline: "select",
        compat: &SELECT,
        ..EPOLL_METHOD
    },
    Method {
        name: "kqueue",
        announced: "kqueue",
        switch: "KQUEUE",
        native: false,
        skips_count: false,
        compat: &KQUEUE,
        by_default: false,
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

/// A method on a backend: one column of the report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) method: &'static Method,
    pub(crate) backend: Backend,
    /// Only where the library has policies.
    pub(crate) policy: Option<Policy>,
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        // Methods are told apart by their names, which are unique (see the tests).
        self.method.name == other.method.name
            && self.backend == other.backend
            && self.policy == other.policy
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = match self.backend {
            Backend::Native => "native",
            Backend::Compat => "compat",
        };
        write!(f, "{} {backend}", self.method.name)?;
        match self.policy {
            Some(policy) if policy != Policy::Default => write!(f, " {}", policy.name()),
            _ => Ok(()),
        }
    }
}

impl Column {
    fn native(method: &'static Method) -> Self {
        Column { method, backend: Backend::Native, policy: None }
    }

    /// The native column that says what is expected here; a native column is its own.
    pub(crate) fn baseline(&self) -> Column {
        // The table's tests show that every baseline is the name of a native method.
        Column::native(method(self.method.baseline).unwrap_or(self.method))
    }

    /// The compat library that is meant to answer, if one is.
    pub(crate) fn compat(&self) -> Option<&'static Compat> {
        (self.backend == Backend::Compat).then_some(self.method.compat)
    }

    /// A name that can be part of a path.
    pub(crate) fn file_name(&self) -> String {
        self.to_string().replace(' ', "-")
    }
}

/// What the command line asks for; empty means "not said".
#[derive(Debug, Default, Clone)]
pub(crate) struct Wanted {
    pub(crate) methods: Vec<String>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) policies: Vec<Policy>,
}

/// What a run does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) columns: Vec<Column>,
    /// What is not run although nothing on the command line excludes it, and why.
    pub(crate) left_out: Vec<(String, String)>,
}

/// Chooses the columns. `missing` says why a library cannot be had, or None if it can.
///
/// # Errors
/// If a column that was asked for by name cannot be had, or nothing is left to run.
pub(crate) fn plan(wanted: &Wanted, missing: impl Fn(&Compat) -> Option<String>) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut unusual = Vec::new();
    for method in METHODS {
        let named = wanted.methods.iter().any(|name| name == method.name);
        if !named && !wanted.methods.is_empty() {
            continue;
        }
        if !named && !method.by_default {
            unusual.push(method.name);
            continue;
        }
        let asked = |backend| wanted.backends.is_empty() || wanted.backends.contains(&backend);
        if method.native && asked(Backend::Native) {
            plan.columns.push(Column::native(method));
        }
        if !asked(Backend::Compat) {
            continue;
        }
        if let Some(reason) = missing(method.compat) {
            // Leaving out what was asked for by name would pass for success.
            if named && (!method.native || !wanted.backends.is_empty()) {
                bail!("{} on {}: {reason}", method.name, method.compat.library);
            }
            plan.left_out.push((format!("{} compat", method.name), reason));
            continue;
        }
        let policies: Vec<Option<Policy>> = match (method.compat.has_policies, &wanted.policies) {
            (false, _) => vec![None],
            (true, named) if named.is_empty() => Policy::USUAL.iter().copied().map(Some).collect(),
            (true, named) => named.iter().copied().map(Some).collect(),
        };
        for policy in policies {
            let column = Column { method, backend: Backend::Compat, policy };
            if !plan.columns.contains(&column) {
                plan.columns.push(column);
            }
        }
    }
    if !unusual.is_empty() {
        let reason = "not in the usual set; --method runs them".to_owned();
        plan.left_out.push((unusual.join(", "), reason));
    }
    if plan.columns.is_empty() {
        let reasons: Vec<String> =
            plan.left_out.iter().map(|(what, why)| format!("\n  {what}: {why}")).collect();
        bail!("no column is left to run{}", reasons.concat());
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(plan: &Plan) -> Vec<String> {
        plan.columns.iter().map(Column::to_string).collect()
    }

    fn wanted(methods: &[&str], backends: &[Backend], policies: &[Policy]) -> Wanted {
        Wanted {
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            backends: backends.to_vec(),
            policies: policies.to_vec(),
        }
    }

    fn nothing_missing(_: &Compat) -> Option<String> {
        None
    }

    fn only_epoll(compat: &Compat) -> Option<String> {
        (compat.library != "kqcompat_epoll").then(|| "no such package".to_owned())
    }

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

    #[test]
    fn the_usual_set_has_both_policies_of_poll_and_select() {
        let plan = plan(&Wanted::default(), nothing_missing).unwrap();
        assert_eq!(
            names(&plan),
            [
                "epoll native",
                "epoll compat",
                "poll native",
                "poll compat",
                "poll compat register",
                "select native",
                "select compat",
                "select compat register",
            ]
        );
    }

    #[test]
    fn a_library_that_does_not_exist_is_left_out_with_its_reason() {
        let plan = plan(&Wanted::default(), only_epoll).unwrap();
        assert_eq!(names(&plan), ["epoll native", "epoll compat", "poll native", "select native"]);
        assert!(
            plan.left_out.contains(&("poll compat".to_owned(), "no such package".to_owned())),
            "{:?}",
            plan.left_out
        );
    }

    #[test]
    fn a_library_that_was_asked_for_by_name_must_exist() {
        for wanted in [
            wanted(&["poll"], &[Backend::Compat], &[]),
            wanted(&["epoll", "kqueue"], &[], &[]),
            wanted(&["kqueue"], &[], &[]),
        ] {
            let error = plan(&wanted, only_epoll).unwrap_err().to_string();
            assert!(error.contains("no such package"), "{wanted:?}: {error}");
        }
        // "poll" alone still has its native column.
        let plan = plan(&wanted(&["poll"], &[], &[]), only_epoll).unwrap();
        assert_eq!(names(&plan), ["poll native"]);
    }

    #[test]
    fn policies_multiply_only_where_there_are_policies() {
        let policies = [Policy::Strict, Policy::Off, Policy::Strict];
        let wanted = wanted(&["epoll", "select"], &[Backend::Compat], &policies);
        let plan = plan(&wanted, nothing_missing).unwrap();
        assert_eq!(names(&plan), ["epoll compat", "select compat strict", "select compat off"]);
    }

    #[test]
    fn kqueue_is_measured_by_native_epoll() {
        let plan = plan(&wanted(&["kqueue"], &[], &[]), nothing_missing).unwrap();
        assert_eq!(names(&plan), ["kqueue compat"]);
        assert_eq!(plan.columns[0].baseline().to_string(), "epoll native");
    }

    #[test]
    fn nothing_to_run_is_an_error_that_says_why() {
        let wanted = wanted(&["kqueue"], &[Backend::Native], &[]);
        assert!(plan(&wanted, nothing_missing).is_err());
    }
}
