//! `cargo xtask site`: builds a site from the workspace's Markdown pages, with mdBook.
//!
//! The pages stay where they are. mdBook gets copies at the same paths, so their links work as in a
//! checkout. Its `src` can't be the checkout itself, because it copies everything there, `target`
//! included.

mod links;
#[cfg(test)]
mod names;
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::{paths, progress};

use crate::cargo;
use crate::install::Program;

/// The last release that builds with the oldest Rust that the workspace supports. Its server and
/// search aren't needed, and account for most of its build time.
const MDBOOK: Program =
    Program { name: "mdbook", version: "0.4.52", arguments: &["--no-default-features"] };

/// The list of pages. Its links start from the folder it is in.
const SUMMARY: &str = "docs/SUMMARY.md";
const SETTINGS: &str = "docs/book.toml";

#[derive(Debug, Args)]
pub(crate) struct Site {}

impl Site {
    #[expect(clippy::unused_self, reason = "as every command")]
    pub(crate) fn run(self) -> Result<u8> {
        let index = build()?;
        println!("{}", index.display());
        Ok(0)
    }
}

/// Builds the site and checks its links. Returns the path of its first page.
pub(crate) fn build() -> Result<PathBuf> {
    let mdbook = MDBOOK.path()?;
    progress::now("building the site");
    let folder = paths::root().join("target/site");
    let source = folder.join("source");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("can't remove the old {}", folder.display()))?;
    }
    stage(&paths::root(), &source)?;
    let html = folder.join("html");
    let mut command = Command::new(mdbook);
    command.arg("build").arg(&source).arg("--dest-dir").arg(&html);
    let built = cargo::watch(command.env("RUST_LOG", "warn"), |line| println!("{line}"))?;
    ensure!(built, "mdbook couldn't build the site from {}", source.display());
    let broken = links::broken(&html)?;
    ensure!(broken.is_empty(), "links of the site lead nowhere:\n{}", broken.join("\n"));
    Ok(html.join("index.html"))
}

/// Copies the pages, and the files they link to, to where mdBook expects them.
fn stage(root: &Path, source: &Path) -> Result<()> {
    let read = |path: &Path| {
        fs::read_to_string(root.join(path))
            .with_context(|| format!("can't read {}", path.display()))
    };
    let write = |path: &Path, bytes: &[u8]| {
        let path = source.join(path);
        let folder = path.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))
    };
    let summary = read(Path::new(SUMMARY))?;
    let pages: BTreeSet<PathBuf> = page::files(Path::new(SUMMARY), &summary)?;
    let summary = page::moved_to_root(Path::new(SUMMARY), &summary)?;
    write(Path::new("src/SUMMARY.md"), summary.as_bytes())?;
    write(Path::new("book.toml"), read(Path::new(SETTINGS))?.as_bytes())?;
    for path in &pages {
        let text = read(path)?;
        for file in page::files(path, &text)?.difference(&pages) {
            // mdBook makes pages only from the files that the summary names.
            ensure!(
                file.extension().is_none_or(|extension| extension != "md"),
                "{} links to {}, which {SUMMARY} lacks",
                path.display(),
                file.display()
            );
            let bytes = fs::read(root.join(file))
                .with_context(|| format!("{} links to {}", path.display(), file.display()))?;
            write(&Path::new("src").join(file), &bytes)?;
        }
        write(&Path::new("src").join(path), page::without_rustdoc(&text).as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_workspace_that_is_linked_can_be_staged() {
        let folder = paths::root().join("target/site-of-a-test");
        let _ = fs::remove_dir_all(&folder);
        stage(&paths::root(), &folder).unwrap();
        let summary = fs::read_to_string(folder.join("src/SUMMARY.md")).unwrap();
        assert!(
            summary.contains("(README.md)") && summary.contains("(docs/parity.md)"),
            "{summary}"
        );
        assert!(folder.join("src/crates/ipvs/README.md").is_file());
        fs::remove_dir_all(&folder).unwrap();
    }
}
