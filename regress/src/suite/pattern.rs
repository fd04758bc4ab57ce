//! `--tests`: names, groups, prefixes and globs of tests.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use glob::{MatchOptions, Pattern};

#[derive(Debug)]
enum One {
    /// `main/simpleread`
    Name(String),
    /// `main/` or, as tinytest writes it, `main/simple..`
    Prefix(String),
    Glob(Pattern),
}

impl One {
    fn parse(text: &str) -> Result<Self> {
        if text.contains(['*', '?', '[']) {
            let pattern = Pattern::new(text).with_context(|| format!("pattern {text}"))?;
            return Ok(One::Glob(pattern));
        }
        if let Some(prefix) = text.strip_suffix("..") {
            return Ok(One::Prefix(prefix.to_owned()));
        }
        if text.ends_with('/') {
            return Ok(One::Prefix(text.to_owned()));
        }
        Ok(One::Name(text.to_owned()))
    }

    fn matches(&self, name: &str) -> bool {
        // `*` goes over `/`: `*timeout*` is meant to find them in every group.
        let options = MatchOptions { require_literal_separator: false, ..MatchOptions::new() };
        match self {
            One::Name(n) => n == name,
            One::Prefix(prefix) => name.starts_with(prefix.as_str()),
            One::Glob(pattern) => pattern.matches_with(name, options),
        }
    }
}

/// A choice of tests; without any pattern, all.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<(String, One)>);

impl Patterns {
    /// # Errors
    /// If one is not a valid glob.
    pub(crate) fn parse(texts: &[String]) -> Result<Self> {
        texts
            .iter()
            .map(|text| Ok((text.clone(), One::parse(text)?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    pub(super) fn choose(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|(_, one)| one.matches(name))
    }

    pub(super) fn name_exactly(&self, name: &str) -> bool {
        self.0.iter().any(|(_, one)| matches!(one, One::Name(n) if n == name))
    }

    /// # Errors
    /// If a pattern matches none of these names: a mistyped pattern must not look like success.
    pub(super) fn check(&self, names: &[&str]) -> Result<()> {
        for (text, one) in &self.0 {
            if !names.iter().any(|name| one.matches(name)) {
                let groups: BTreeSet<&str> = names
                    .iter()
                    .map(|name| name.split_inclusive('/').next().unwrap_or(name))
                    .collect();
                let groups: Vec<&str> = groups.into_iter().collect();
                bail!("no test matches {text}; there are {}", groups.join(" "));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        Patterns::parse(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn names_groups_prefixes_and_globs() {
        for (pattern, yes, no) in [
            ("main/simple", "main/simple", "main/simpleread"),
            ("main/", "main/simple", "domain/simple"),
            ("main/simple..", "main/simpleread", "main/multiple"),
            ("*timeout*", "http/cancel_timeout", "http/cancel"),
            ("http/*", "http/a", "https/a"),
            ("et/et?", "et/et1", "et/et"),
        ] {
            assert!(patterns(&[pattern]).choose(yes), "{pattern} {yes}");
            assert!(!patterns(&[pattern]).choose(no), "{pattern} {no}");
        }
    }

    #[test]
    fn none_is_all_and_several_add_up() {
        assert!(patterns(&[]).choose("main/simple"));
        let two = patterns(&["main/", "et/"]);
        assert!(two.choose("main/a") && two.choose("et/a") && !two.choose("util/a"));
    }

    #[test]
    fn only_a_name_names_exactly() {
        assert!(patterns(&["util/live"]).name_exactly("util/live"));
        assert!(!patterns(&["util/"]).name_exactly("util/live"));
        assert!(!patterns(&["util/liv*"]).name_exactly("util/live"));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_that_shows_the_groups() {
        let names = ["main/a", "util/b", "test-eof"];
        let error = patterns(&["mian/"]).check(&names).unwrap_err().to_string();
        for part in ["mian/", "main/", "util/", "test-eof"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(patterns(&["main/"]).check(&names).is_ok());
        assert!(Patterns::parse(&["[".to_owned()]).is_err());
    }
}
