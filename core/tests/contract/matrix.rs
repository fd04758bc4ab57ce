//! `docs/contract-matrix.md`: which contract holds for which subject, and why not.
//!
//! `KQCOMPAT_WRITE_MATRIX=1 cargo test --test contract matrix` writes it anew.

use std::fmt::Write;
use std::path::PathBuf;

use super::contracts::CONTRACTS;
use super::subject::SUBJECTS;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/contract-matrix.md")
}

/// Compares the file with what it should be, or writes it.
pub(crate) fn check() {
    let text = render();
    if std::env::var_os("KQCOMPAT_WRITE_MATRIX").is_some() {
        std::fs::create_dir_all(file().parent().unwrap()).unwrap();
        std::fs::write(file(), text).unwrap();
        return;
    }
    let there = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(
        there == text,
        "docs/contract-matrix.md is out of date: run this test with KQCOMPAT_WRITE_MATRIX=1"
    );
}

fn render() -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut out = String::from(
        "# Contracts\n\n\
         What holds for every knote, filter by filter. A tick is a test that runs with `cargo test`\n\
         (`core/tests/contract`); a number is a reason, below, why the contract does not apply.\n\
         This page is generated: `KQCOMPAT_WRITE_MATRIX=1 cargo test --test contract matrix`.\n\n",
    );
    let mut row = |cells: &mut dyn Iterator<Item = String>| {
        let _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    };
    let names = SUBJECTS.iter().map(|kind| kind.name.to_owned());
    row(&mut std::iter::once("contract".to_owned()).chain(names));
    row(&mut std::iter::once("---".to_owned()).chain(SUBJECTS.iter().map(|_| ":-:".to_owned())));
    for contract in CONTRACTS {
        let cells = SUBJECTS.iter().map(|kind| match contract.obstacle(kind) {
            None => "✓".to_owned(),
            Some(reason) => {
                let known = reasons.iter().position(|&other| other == reason);
                let at = known.unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                (at + 1).to_string()
            }
        });
        row(&mut std::iter::once(contract.name.replace('_', " ")).chain(cells));
    }
    out.push_str("\n## What each contract says\n\n");
    for contract in CONTRACTS {
        let _ = writeln!(out, "- **{}**: {}.", contract.name.replace('_', " "), contract.holds);
    }
    out.push_str("\n## Why one does not apply\n\n");
    for (at, reason) in reasons.iter().enumerate() {
        let _ = writeln!(out, "{}. {reason}", at + 1);
    }
    out
}
