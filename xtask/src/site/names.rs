//! Tests that every path, file and item named in the workspace's Markdown pages exists.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lab::paths::root;

use super::page;

/// The folders whose files pages name, relative to the root or to the page's own folder.
const FOLDERS: [&str; 9] =
    [".cargo", ".ci", "benches", "crates", "docs", "fuzz", "src", "tests", "xtask"];

/// All files of the checkout, relative to its root, except build output and the findings of
/// fuzzing.
fn files() -> BTreeSet<PathBuf> {
    fn collect(folder: &Path, root: &Path, files: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            if !entry.file_type().unwrap().is_dir() {
                files.insert(path.strip_prefix(root).unwrap().to_owned());
            } else if !["target", "corpus", "artifacts", ".git"].iter().any(|other| name == *other)
            {
                collect(&path, root, files);
            }
        }
    }
    let mut files = BTreeSet::new();
    collect(&root(), &root(), &mut files);
    files
}

/// The page without its code blocks: they contain examples, not claims.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    page::each_prose(text, |part| {
        prose.push_str(part);
        // A paragraph ends here.
        prose.push_str("\n\n");
        String::new()
    });
    prose
}

/// The links of a page, each with its text.
fn links(prose: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    page::rewrite_links(prose, |text, target| {
        links.push((text.to_owned(), target.to_owned()));
        String::new()
    });
    links
}

/// The code spans of a page that are one word. Code that contains backticks is an example.
fn code(prose: &str) -> Vec<&str> {
    let spans = page::code_spans(prose).into_iter().map(|span| &prose[span]);
    let single = spans.filter_map(|span| span.strip_prefix('`')?.strip_suffix('`'));
    single.filter(|span| !span.contains(|c: char| c == '`' || c.is_whitespace())).collect()
}

/// Whether a span begins with a folder of the workspace.
fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    span.chars().all(plain)
        && span.split_once('/').is_some_and(|(first, _)| FOLDERS.contains(&first))
}

/// Whether a part of a path is a placeholder, as in `crates/NAME/TOPIC.rs`.
fn has_placeholder(span: &str) -> bool {
    span.split('/').any(|part| {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase())
    })
}

/// Whether a source defines an item of this name, of any kind.
fn defines(source: &str, name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "macro_rules!"];
    let starts = kinds.map(|kind| format!("{kind} {name}"));
    source.lines().any(|line| {
        starts.iter().any(|start| {
            let rest = line.split_once(start.as_str()).map(|(_, rest)| rest);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    })
}

/// The names in a page that don't exist.
fn problems(file: &Path, text: &str, files: &BTreeSet<PathBuf>) -> Vec<String> {
    let exists = |path: &Path| {
        files.contains(path) || files.iter().any(|file| file.starts_with(path) && file != path)
    };
    let mut problems = Vec::new();
    let prose = prose(text);
    for (text, target) in links(&prose) {
        let Some(path) = page::resolved(file, &target).unwrap() else { continue };
        if !exists(&path) {
            problems.push(format!("{}: the link to {target} leads nowhere", file.display()));
        } else if !files.contains(&path) {
            let file = file.display();
            problems.push(format!("{file}: {target} is a folder; the site needs a link to a file"));
        } else if let (Some(item), true) = (text.strip_prefix('`'), target.ends_with(".rs")) {
            // `Type::function`, `function()`
            let item = item.trim_end_matches('`').trim_end_matches("()");
            let name = item.rsplit("::").next().unwrap();
            let source = fs::read_to_string(root().join(&path)).unwrap();
            if !name.contains('.') && !defines(&source, name) {
                problems.push(format!("{}: {target} defines no {item}", file.display()));
            }
        }
    }
    for span in code(&prose) {
        let found = if has_placeholder(span) {
            true
        } else if is_path(span) {
            exists(Path::new(span)) || exists(&page::resolved(file, span).unwrap().unwrap())
        } else if span.ends_with(".rs") && !span.contains(['*', '{', '<']) {
            files.iter().any(|file| file.ends_with(span))
        } else {
            true
        };
        if !found {
            problems.push(format!("{}: there is no {span}", file.display()));
        }
    }
    problems
}

#[test]
fn what_the_pages_name_exists() {
    let files = files();
    let pages = files.iter().filter(|file| file.extension().is_some_and(|end| end == "md"));
    let mut count = 0;
    let mut all = Vec::new();
    for page in pages {
        let text = fs::read_to_string(root().join(page)).unwrap();
        all.extend(problems(page, &text, &files));
        count += 1;
    }
    assert!(count > 15, "only {count} pages were found");
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_does_not_exist_is_found() {
    let files = BTreeSet::from(["docs/a.md", "crates/ipvs/src/lib.rs"].map(PathBuf::from));
    let found = |text: &str| problems(Path::new("docs/a.md"), text, &files).len();
    assert_eq!(
        found("[a](a.md), [b](../crates/ipvs/src/lib.rs), `crates/ipvs/src`, `lib.rs`, [c](#c)"),
        0
    );
    assert_eq!(found("`crates/NAME/README.md`, `tests/tests/ROOM/TOPIC.rs`, `TOPIC.rs`"), 0);
    assert_eq!(found("[`Client`](crate::Client), `crates/NAME/src`, [x](https://example.org)"), 0);
    assert_eq!(found("```\n[a](b.md) `crates/none`\n```\n"), 0);
    assert_eq!(found("[a](b.md)"), 1);
    assert_eq!(found("[a](../crates/ipvs)"), 1);
    assert_eq!(found("[a](../crates/ipvs/src/main.rs)"), 1);
    assert_eq!(found("`crates/none` and `main.rs`"), 2);
    assert_eq!(found("`rc/lib.rs`"), 1, "half a name of a folder");
}

#[test]
fn an_item_is_where_it_is_defined() {
    let source = "pub(crate) fn run(self) {\nstruct Table<T> {\nmacro_rules! flag {\n";
    assert!(["run", "Table", "flag"].iter().all(|name| defines(source, name)));
    assert!(!["ru", "self", "T"].iter().any(|name| defines(source, name)));
}
