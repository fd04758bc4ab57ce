//! No link of the repository's texts is dead, those of the guide's summary (docs/SUMMARY.md) among them.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Markdown files of a folder.
fn texts(folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
}

/// What a text links to within the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#'))
}

#[test]
fn no_link_is_dead() {
    let mut seen = 0;
    for file in [".", "docs", "bench"].into_iter().flat_map(texts) {
        let text = fs::read_to_string(&file).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap();
            let there = file.parent().unwrap().join(target);
            assert!(there.exists(), "{} links to {link}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} links were found");
}
