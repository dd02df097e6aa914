//! Pages as Markdown: finds the files they link to, and rewrites what mdBook can't handle.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

/// The files that a page links to, relative to the root of the workspace.
pub(super) fn files(page: &Path, text: &str) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut problem = Ok(());
    each_prose(text, |prose| {
        rewrite_links(prose, |text, target| {
            match resolved(page, target) {
                Ok(path) => files.extend(path),
                Err(error) => problem = Err(error),
            }
            format!("[{text}]({target})")
        })
    });
    problem.map(|()| files)
}

/// The page with its links relative to the root of the workspace, for a page that is moved there.
pub(super) fn moved_to_root(page: &Path, text: &str) -> Result<String> {
    let mut problem = Ok(());
    let text = each_prose(text, |prose| {
        rewrite_links(prose, |text, target| match resolved(page, target) {
            Ok(path) => {
                let path = path.unwrap_or_else(|| target.into());
                format!("[{text}]({})", path.display())
            }
            Err(error) => {
                problem = Err(error);
                String::new()
            }
        })
    });
    problem.map(|()| text)
}

/// The page without what only rustdoc understands. Links to items become their text. In a page with
/// such links, a code block without a language becomes Rust.
pub(super) fn without_rustdoc(text: &str) -> String {
    let is_item = |target: &str| target.contains("::");
    let mut has_items = false;
    let linked = each_prose(text, |prose| {
        let prose = rewrite_links(prose, |text, target| {
            has_items |= is_item(target);
            if is_item(target) { text.to_owned() } else { format!("[{text}]({target})") }
        });
        without_shortcuts(&prose)
    });
    if !has_items {
        return linked;
    }
    let mut open = false;
    let lines = linked.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        open ^= is_fence;
        if is_fence && open && line.trim() == "```" { "```rust" } else { line }
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// ``[`Client`]`` without its brackets, unless a target follows.
fn without_shortcuts(prose: &str) -> String {
    let mut text = String::new();
    let mut rest = prose;
    while let Some(start) = rest.find("[`") {
        let (before, link) = rest.split_at(start);
        text.push_str(before);
        let end = link.find("`]").filter(|end| !link[2..*end].contains(['`', '\n']));
        let Some(end) = end else {
            text.push_str("[`");
            rest = &link[2..];
            continue;
        };
        let after = &link[end + 2..];
        let is_shortcut = !after.starts_with(['(', '[', ':']);
        text.push_str(if is_shortcut { &link[1..=end] } else { &link[..end + 2] });
        rest = after;
    }
    text + rest
}

/// The path of a link's target, relative to the root of the workspace. `None` for other sites,
/// rustdoc's items and anchors in the same page.
pub(super) fn resolved(page: &Path, target: &str) -> Result<Option<PathBuf>> {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains(':') {
        return Ok(None);
    }
    let mut normal = PathBuf::new();
    for component in page.parent().unwrap_or(Path::new("")).join(path).components() {
        match component {
            Component::ParentDir => {
                ensure!(normal.pop(), "{}: {target} leads out of the workspace", page.display());
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    Ok(Some(normal))
}

/// Applies a function to all text of a page except its code blocks.
pub(super) fn each_prose(text: &str, mut change: impl FnMut(&str) -> String) -> String {
    let mut changed = String::new();
    let mut prose = String::new();
    let mut in_code = false;
    for line in text.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        if is_fence && !in_code {
            changed.push_str(&change(&prose));
            prose.clear();
        }
        in_code ^= is_fence;
        if in_code || is_fence { changed.push_str(line) } else { prose.push_str(line) }
    }
    changed + &change(&prose)
}

/// Replaces each `[text](target)`. A link in a code span doesn't count.
pub(super) fn rewrite_links(prose: &str, mut link: impl FnMut(&str, &str) -> String) -> String {
    let code = code_spans(prose);
    let is_in_code = |at: &usize| code.iter().any(|span| span.contains(at));
    let mut text = String::new();
    let mut done = 0;
    for at in prose.match_indices("](").map(|(at, _)| at).filter(|at| !is_in_code(at)) {
        let start = prose[done..at].rmatch_indices('[').map(|(start, _)| done + start);
        let end = prose[at..].find(')').map(|end| at + end);
        let (Some(start), Some(end)) = (start.into_iter().find(|at| !is_in_code(at)), end) else {
            continue;
        };
        text.push_str(&prose[done..start]);
        text.push_str(&link(&prose[start + 1..at], &prose[at + 2..end]));
        done = end + 1;
    }
    text + &prose[done..]
}

/// The ranges of the code spans: between backtick runs of equal length, within a paragraph.
pub(super) fn code_spans(prose: &str) -> Vec<Range<usize>> {
    let ticks = |at: usize| prose[at..].bytes().take_while(|byte| *byte == b'`').count();
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(found) = prose[at..].find('`') {
        let start = at + found;
        let width = ticks(start);
        let paragraph = prose[start..].find("\n\n").map_or(prose.len(), |end| start + end);
        let mut end = start + width;
        // The next run of the same length, if any.
        while let Some(next) = prose[end..paragraph].find('`') {
            end += next + ticks(end + next);
            if prose[..end].len() - prose[..end].trim_end_matches('`').len() == width {
                spans.push(start..end);
                break;
            }
        }
        at = if spans.last().is_some_and(|span| span.start == start) { end } else { start + width };
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_from_the_root() {
        let text = "[a](../README.md#x), [b](b.md), [c](#c), [d](https://example.org), [e](a::B)\n\
                    ```\n[f](f.md)\n```\nand `[g](g.md)`, [h](h.md)\n";
        let found = files(Path::new("docs/a.md"), text).unwrap();
        assert_eq!(found, ["README.md", "docs/b.md", "docs/h.md"].map(PathBuf::from).into());
        assert!(files(Path::new("docs/a.md"), "[a](../../x.md)").is_err());
    }

    #[test]
    fn code_spans_are_as_wide_as_they_begin() {
        let text = "a `b` ``c`d`` ` e\n\n`f`";
        let spans: Vec<&str> = code_spans(text).into_iter().map(|span| &text[span]).collect();
        assert_eq!(spans, ["`b`", "``c`d``", "`f`"]);
    }

    #[test]
    fn a_summary_moves_to_the_root() {
        let text = "# S\n- [a](../README.md)\n  - [b](b.md)\n";
        let moved = moved_to_root(Path::new("docs/S.md"), text).unwrap();
        assert_eq!(moved, "# S\n- [a](README.md)\n  - [b](docs/b.md)\n");
    }

    #[test]
    fn links_of_rustdoc_become_text() {
        let text = "[`A`](crate::A), [`B`], [`C`](c.md), [D](crate::D#e)\n```\nuse a;\n```\n";
        let page = "`A`, `B`, [`C`](c.md), D\n```rust\nuse a;\n```\n";
        assert_eq!(without_rustdoc(text), page);
        let plain = "[`C`](c.md) and ``[`f`](g.rs)``\n```\n# ls\n```\n";
        assert_eq!(without_rustdoc(plain), plain);
    }
}
