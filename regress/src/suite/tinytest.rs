//! The formats of tinytest, the harness inside libevent's regress program.

use super::{Judgement, Verdict};

/// A line of `regress --list-tests`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    /// "(Off by default)" or "(DISABLED)".
    pub(super) off: bool,
}

/// Reads `regress --list-tests`: some lines of help, "Known tests are:", then a case a line,
/// indented, with a remark in parentheses if it is off.
pub(super) fn parse_list(text: &str) -> Vec<Case> {
    text.lines()
        .skip_while(|line| !line.starts_with("Known tests are"))
        .skip(1)
        .filter_map(|line| {
            let (name, remark) = match line.split_once('(') {
                Some((name, remark)) => (name.trim(), Some(remark)),
                None => (line.trim(), None),
            };
            (line.starts_with(' ') && !name.is_empty())
                .then(|| Case { name: name.to_owned(), off: remark.is_some() })
        })
        .collect()
}

/// The last line of a run.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    failed: u32,
    passed: u32,
    skipped: u32,
}

/// Reads "1 tests ok.  (0 skipped)" or "1/2 TESTS FAILED. (0 skipped)".
fn parse_summary(line: &str) -> Option<Summary> {
    let (counts, skipped) = line.rsplit_once('(')?;
    let skipped = skipped.strip_suffix(" skipped)")?.parse().ok()?;
    let counts = counts.trim_end();
    if let Some(passed) = counts.strip_suffix(" tests ok.") {
        return Some(Summary { failed: 0, passed: passed.parse().ok()?, skipped });
    }
    let (failed, all) = counts.strip_suffix(" TESTS FAILED.")?.split_once('/')?;
    let failed: u32 = failed.parse().ok()?;
    let passed = all.parse::<u32>().ok()?.checked_sub(failed)?;
    Some(Summary { failed, passed, skipped })
}

/// Judges a run of exactly one case. Nothing but the summary of one case makes it pass: a process
/// that leaves through exit(0) in the middle of a test has not passed it.
pub(super) fn judge(code: i32, output: &str) -> Judgement {
    let Some(summary) = output.lines().rev().find_map(|line| parse_summary(line.trim_end())) else {
        let said = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        return Judgement::failed(format!("exit status {code} without a summary; said: {said}"));
    };
    match (code, &summary) {
        (0, Summary { failed: 0, passed: 1, .. }) => Judgement::plain(Verdict::Passed),
        // A case that is skipped is counted once or twice, according to who skips it.
        (0, Summary { failed: 0, passed: 0, skipped: 1.. }) => Judgement::plain(Verdict::Skipped),
        _ => Judgement::failed(failure(output).unwrap_or_else(|| format!("exit status {code}"))),
    }
}

/// The first thing that went wrong, without the path before the file's name.
fn failure(output: &str) -> Option<String> {
    let line = output
        .lines()
        .find(|l| l.contains("FAIL ") || l.contains("Lost connection!") || l.contains("[err]"))
        .or_else(|| output.lines().find(|l| l.contains("atexit failure!")))?;
    let line = match line.find("FAIL ") {
        Some(at) => line[at + "FAIL ".len()..].rsplit_once("test/").map_or(line, |(_, rest)| rest),
        None => line,
    };
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_without_its_help() {
        let text = "Options are: [--verbose|--quiet|--terse] [--no-fork] [--timeout <sec>]\n  \
                    Use --list-tests for a list of tests.\nKnown tests are:\n    main/methods\n    \
                    util/getaddrinfo_live   (Off by default)\n    thread/basic  (DISABLED)\n";
        let case = |name: &str, off| Case { name: name.to_owned(), off };
        assert_eq!(
            parse_list(text),
            [
                case("main/methods", false),
                case("util/getaddrinfo_live", true),
                case("thread/basic", true)
            ]
        );
        assert!(parse_list("Unknown option --list-tests.  Try --help\n").is_empty());
    }

    #[test]
    fn summaries() {
        let summary = |failed, passed, skipped| Some(Summary { failed, passed, skipped });
        assert_eq!(parse_summary("353 tests ok.  (37 skipped)"), summary(0, 353, 37));
        assert_eq!(parse_summary("6/353 TESTS FAILED. (37 skipped)"), summary(6, 347, 37));
        assert_eq!(parse_summary("0 tests ok.  (2 skipped)"), summary(0, 0, 2));
        for line in ["", "OK", "7/6 TESTS FAILED. (0 skipped)", "x tests ok.  (0 skipped)"] {
            assert_eq!(parse_summary(line), None, "{line}");
        }
    }

    #[test]
    fn a_pass_needs_the_status_and_the_summary() {
        let good = "main/simpleread: [forking] OK\n1 tests ok.  (0 skipped)\n";
        assert_eq!(judge(0, good).verdict, Verdict::Passed);
        assert_eq!(judge(1, good).verdict, Verdict::Failed);
        assert_eq!(judge(0, "main/simpleread: ").verdict, Verdict::Failed);
        assert_eq!(judge(0, "0 tests ok.  (0 skipped)\n").verdict, Verdict::Failed);
    }

    #[test]
    fn a_skip_is_counted_once_or_twice() {
        let skip = "et/et: [forking] SKIPPED\n0 tests ok.  (1 skipped)\n";
        assert_eq!(judge(0, skip).verdict, Verdict::Skipped);
        let skip = "thread/basic: SKIPPED\n0 tests ok.  (2 skipped)\n";
        assert_eq!(judge(0, skip).verdict, Verdict::Skipped);
    }

    #[test]
    fn a_failure_tells_where() {
        let output = "http/x: [forking] \n  FAIL /somewhere/src/test/regress_http.c:42: \
                      assert(a == b): 1 vs 2\n  [x FAILED]\n1/1 TESTS FAILED. (0 skipped)\n";
        let judged = judge(1, output);
        assert_eq!(judged.verdict, Verdict::Failed);
        assert_eq!(judged.detail.unwrap(), "regress_http.c:42: assert(a == b): 1 vs 2");
    }

    #[test]
    fn a_child_that_died_is_told() {
        let output = "main/x: [forking] [Lost connection!] \n  [x FAILED]\n\
                      1/1 TESTS FAILED. (0 skipped)\n";
        assert!(judge(1, output).detail.unwrap().contains("Lost connection"));
    }
}
