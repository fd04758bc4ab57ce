//! What a column's results mean beside those of the kernel's own calls.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::column::Column;
use crate::runner::{Outcome, Stage};
use crate::suite::Verdict;

/// What a test of a column is, measured by its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// As natively, or better.
    Equal,
    /// Passes natively (or is skipped there) and not here.
    Differs,
    /// Fails here and natively too.
    FailsNativelyToo,
    /// libevent skips it here because the method, which is not the baseline's, lacks something.
    DoesNotApply,
}

/// Measures one test. `expected` is None where the baseline has no such test.
pub(crate) fn standing(expected: Option<Verdict>, got: Verdict, skips_count: bool) -> Standing {
    use Verdict::{Failed, Off, Passed, Skipped};
    match (expected, got) {
        (Some(Failed), Failed) => Standing::FailsNativelyToo,
        (_, Failed) => Standing::Differs,
        (Some(Passed), Skipped | Off) if skips_count => Standing::Differs,
        (Some(Passed), Skipped | Off) => Standing::DoesNotApply,
        _ => Standing::Equal,
    }
}

/// The native verdicts, by column and test.
#[derive(Debug, Default)]
pub(crate) struct Baselines(BTreeMap<String, BTreeMap<String, Verdict>>);

impl Baselines {
    pub(crate) fn of(stages: &[Stage]) -> Self {
        let mut all = BTreeMap::new();
        for stage in stages.iter().filter(|s| s.column.compat().is_none()) {
            let tests: &mut BTreeMap<_, _> = all.entry(stage.column.to_string()).or_default();
            tests.extend(stage.outcomes.iter().map(|(name, o)| (name.clone(), o.verdict())));
        }
        Self(all)
    }

    pub(crate) fn verdict(&self, column: &Column, test: &str) -> Option<Verdict> {
        self.0.get(&column.baseline().to_string())?.get(test).copied()
    }

    /// Where a test stands.
    pub(crate) fn standing(&self, column: &Column, test: &str, outcome: &Outcome) -> Standing {
        standing(self.verdict(column, test), outcome.verdict(), column.method.skips_count)
    }
}

/// A test that passes natively and not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) column: String,
    pub(crate) test: String,
    pub(crate) natively: Option<Verdict>,
    pub(crate) here: Verdict,
    pub(crate) detail: Option<String>,
    /// What it did when it was tried again alone, if it was.
    pub(crate) alone: Option<Verdict>,
}

/// Every difference, column by column in the order of the tests.
pub(crate) fn differences(stages: &[Stage], baselines: &Baselines) -> Vec<Difference> {
    let mut all = Vec::new();
    for stage in stages {
        for test in &stage.tests {
            let Some(outcome) = stage.outcomes.get(&test.name) else { continue };
            if baselines.standing(&stage.column, &test.name, outcome) != Standing::Differs {
                continue;
            }
            all.push(Difference {
                column: stage.column.to_string(),
                test: test.name.clone(),
                natively: baselines.verdict(&stage.column, &test.name),
                here: outcome.verdict(),
                detail: outcome.last().judgement.detail.clone(),
                alone: outcome.alone.as_ref().map(|a| a.judgement.verdict),
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Failed, Off, Passed, Skipped};
    use super::*;

    #[test]
    fn what_passes_natively_must_pass_here() {
        for (expected, got, differs) in [
            (Passed, Passed, false),
            (Passed, Failed, true),
            (Passed, Skipped, true),
            (Passed, Off, true),
            (Skipped, Failed, true),
            (Skipped, Skipped, false),
            (Skipped, Passed, false),
            (Failed, Passed, false),
            (Failed, Skipped, false),
            (Off, Off, false),
            (Off, Failed, true),
        ] {
            let found = standing(Some(expected), got, true) == Standing::Differs;
            assert_eq!(found, differs, "{expected:?} natively, {got:?} here");
        }
    }

    #[test]
    fn a_failure_on_both_sides_is_shown_as_such() {
        assert_eq!(standing(Some(Failed), Failed, true), Standing::FailsNativelyToo);
    }

    #[test]
    fn a_failure_without_a_native_result_is_a_difference() {
        assert_eq!(standing(None, Failed, true), Standing::Differs);
        assert_eq!(standing(None, Passed, true), Standing::Equal);
    }

    #[test]
    fn another_method_may_skip_what_it_cannot_do_but_not_fail() {
        assert_eq!(standing(Some(Passed), Skipped, false), Standing::DoesNotApply);
        assert_eq!(standing(Some(Passed), Failed, false), Standing::Differs);
    }
}
