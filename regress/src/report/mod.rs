//! The report of a comparison, and its forms.

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod logs;
pub(crate) mod text;

use std::time::Duration;

use crate::column::Plan;
use crate::compare::{Baselines, Difference, Standing, differences};
use crate::runner::{Outcome, Settings, Stage, shown};
use crate::suite::Verdict;

/// Everything that was found out.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which libevent.
    pub(crate) libevent: String,
    pub(crate) columns: Vec<ColumnReport>,
    pub(crate) left_out: Vec<(String, String)>,
    pub(crate) differences: Vec<Difference>,
}

#[derive(Debug)]
pub(crate) struct ColumnReport {
    pub(crate) stage: Stage,
    /// False for a native column that was only asked about tests that did not pass elsewhere.
    pub(crate) whole: bool,
    pub(crate) tests: Vec<TestReport>,
}

#[derive(Debug)]
pub(crate) struct TestReport {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) standing: Standing,
    /// How a person runs it by hand.
    pub(crate) command: String,
}

impl Report {
    /// The first `whole` stages are the columns that were asked for.
    pub(crate) fn new(
        libevent: &str,
        plan: &Plan,
        stages: Vec<Stage>,
        whole: usize,
        settings: &Settings,
    ) -> Self {
        let baselines = Baselines::of(&stages);
        let differences = differences(&stages, &baselines);
        let columns = stages
            .into_iter()
            .enumerate()
            .map(|(i, stage)| ColumnReport {
                tests: tests(&stage, &baselines, settings),
                whole: i < whole,
                stage,
            })
            .collect();
        Self {
            libevent: libevent.to_owned(),
            columns,
            left_out: plan.left_out.clone(),
            differences,
        }
    }
}

fn tests(stage: &Stage, baselines: &Baselines, settings: &Settings) -> Vec<TestReport> {
    stage
        .tests
        .iter()
        .filter_map(|test| {
            let outcome = stage.outcomes.get(&test.name)?;
            Some(TestReport {
                name: test.name.clone(),
                standing: baselines.standing(&stage.column, &test.name, outcome),
                outcome: outcome.clone(),
                command: shown(&stage.command(test, settings)),
            })
        })
        .collect()
}

impl TestReport {
    pub(crate) fn verdict(&self) -> Verdict {
        self.outcome.verdict()
    }

    pub(crate) fn detail(&self) -> &str {
        self.outcome.last().judgement.detail.as_deref().unwrap_or("")
    }

    /// Whether the run beside others and the run alone ended otherwise.
    pub(crate) fn wavers(&self) -> bool {
        self.outcome.first.judgement.verdict != self.verdict()
    }

    /// Whether its output is worth keeping.
    pub(crate) fn is_of_interest(&self) -> bool {
        self.verdict() == Verdict::Failed || self.standing == Standing::Differs || self.wavers()
    }
}

impl ColumnReport {
    pub(crate) fn name(&self) -> String {
        self.stage.column.to_string()
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.tests.iter().filter(|test| test.verdict() == verdict).count()
    }

    pub(crate) fn standing(&self, standing: Standing) -> impl Iterator<Item = &TestReport> {
        self.tests.iter().filter(move |test| test.standing == standing)
    }

    /// The time of all tests, one after the other.
    pub(crate) fn elapsed(&self) -> Duration {
        self.tests.iter().map(|test| test.outcome.first.elapsed).sum()
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! A report to test its forms with: one native and one compat column.

    use std::collections::BTreeMap;
    use std::time::Duration;

    use crate::column::{Backend, Column, Plan, method};
    use crate::libevent::Build;
    use crate::report::Report;
    use crate::runner::{Attempt, Outcome, Settings, Stage};
    use crate::suite::Verdict::{self, Failed, Off, Passed, Skipped};
    use crate::suite::{Judgement, Test};

    /// A test, what it did, and what it did alone.
    type Sample = (&'static str, Verdict, Option<Verdict>);

    const NATIVE: &[Sample] = &[
        ("main/good", Passed, None),
        ("main/wavers", Passed, None),
        ("main/broken", Passed, None),
        ("dns/no_network", Failed, Some(Failed)),
        ("util/live", Off, None),
        ("main/skipped", Skipped, None),
    ];
    const COMPAT: &[Sample] = &[
        ("main/good", Passed, None),
        ("main/wavers", Failed, Some(Passed)),
        ("main/broken", Failed, Some(Failed)),
        ("dns/no_network", Failed, Some(Failed)),
        ("util/live", Off, None),
        ("main/skipped", Skipped, None),
    ];

    fn attempt(verdict: Verdict) -> Attempt {
        let detail = (verdict == Failed).then(|| "x.c:1: assert(<a> & \"b\")".to_owned());
        Attempt {
            judgement: Judgement { verdict, detail },
            elapsed: Duration::from_millis(250),
            output: "printed \u{1b}[0m text\n".to_owned(),
        }
    }

    fn stage(backend: Backend, samples: &[Sample]) -> Stage {
        let outcomes: BTreeMap<String, Outcome> = samples
            .iter()
            .map(|(name, first, alone)| {
                let outcome = Outcome { first: attempt(*first), alone: alone.map(attempt) };
                ((*name).to_owned(), outcome)
            })
            .collect();
        Stage {
            column: Column { method: method("epoll").unwrap(), backend, policy: None },
            build: Build { source: "/s".into(), bin: "/b".into() },
            libraries: vec!["/l/libkqcompat_epoll.so".into()],
            tests: samples.iter().map(|(name, ..)| Test::sample(name)).collect(),
            outcomes,
        }
    }

    pub(crate) fn report() -> Report {
        let plan = Plan {
            columns: Vec::new(),
            left_out: vec![("poll compat".to_owned(), "no package".to_owned())],
        };
        let stages = vec![stage(Backend::Native, NATIVE), stage(Backend::Compat, COMPAT)];
        let settings =
            Settings { jobs: 1, timeout: Duration::from_secs(30), python: "python3".into() };
        Report::new("libevent 2.1.12", &plan, stages, 2, &settings)
    }

    #[test]
    fn only_what_fails_alone_too_is_a_difference() {
        let names: Vec<String> = report().differences.into_iter().map(|d| d.test).collect();
        assert_eq!(names, ["main/broken"]);
    }
}
