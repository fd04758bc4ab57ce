//! The columns of the comparison: a way of waiting that libevent has, and who serves it.

mod methods;
mod plan;

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use self::methods::{Compat, Entry, LINKED, METHODS, Method, SWITCHES, method};
pub(crate) use self::plan::{Plan, Wanted, plan};

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
