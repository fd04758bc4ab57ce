//! No link of the repository's texts is dead; the book (docs/SUMMARY.md) has all pages, and its links
//! stay within it.

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

#[test]
fn the_book_has_each_page_once_and_links_to_nothing_else() {
    let folder = root().join("docs");
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    let mut listed: Vec<_> = links(&summary).map(|link| folder.join(link)).collect();
    let mut pages = texts("docs");
    pages.retain(|page| !page.ends_with("SUMMARY.md"));
    listed.sort();
    pages.sort();
    assert_eq!(listed, pages);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            assert!(!link.starts_with(".."), "{} links to {link}, outside", page.display());
        }
    }
}
