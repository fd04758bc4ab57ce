//! Which columns a run has.

use anyhow::{Result, bail};

use super::{Backend, Column, Compat, METHODS, Policy};

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
                "kqueue compat",
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
