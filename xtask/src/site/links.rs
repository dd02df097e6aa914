//! Checks the links of the generated site, including anchors within pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The targets that a page links to, and the anchors that it offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    targets: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl Page {
    fn read(html: &str) -> Self {
        let attributes = |name: &str| -> BTreeSet<String> {
            let start = format!(" {name}=\"");
            let values = html.split(start.as_str()).skip(1);
            values.filter_map(|rest| Some(rest.split_once('"')?.0.replace("&amp;", "&"))).collect()
        };
        let targets = &attributes("href") | &attributes("src");
        Self { targets, ids: attributes("id") }
    }
}

/// The broken links in the site's pages. Links to other sites aren't followed.
pub(super) fn broken(site: &Path) -> Result<Vec<String>> {
    let mut files = BTreeSet::new();
    collect(site, site, &mut files)?;
    let mut pages = BTreeMap::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "html")) {
        let html = fs::read_to_string(site.join(file))
            .with_context(|| format!("can't read {}", file.display()))?;
        pages.insert(file.clone(), Page::read(&html));
    }
    // Its links start from where the site is served, which isn't known.
    pages.remove(Path::new("404.html"));
    ensure!(pages.len() > 1, "the site has no pages");
    let mut broken = Vec::new();
    for (file, page) in &pages {
        for target in &page.targets {
            if !leads_somewhere(file, target, &files, &pages) {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    Ok(broken)
}

fn leads_somewhere(
    from: &Path,
    target: &str,
    files: &BTreeSet<PathBuf>,
    pages: &BTreeMap<PathBuf, Page>,
) -> bool {
    let (path, id) = target.split_once('#').unwrap_or((target, ""));
    if path.contains(':') {
        return true;
    }
    let to = match path {
        "" => from.to_owned(),
        path => {
            let mut to = from.parent().map(Path::to_owned).unwrap_or_default();
            for component in Path::new(path).components() {
                match component {
                    Component::ParentDir if !to.pop() => return false,
                    Component::ParentDir | Component::CurDir => {}
                    other => to.push(other),
                }
            }
            to
        }
    };
    let has_id = || pages.get(&to).is_some_and(|page| page.ids.contains(id));
    files.contains(&to) && (id.is_empty() || has_id())
}

fn collect(folder: &Path, site: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, site, files)?;
        } else {
            files.insert(path.strip_prefix(site)?.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_ids_are_read() {
        let page = Page::read(r##"<a href="a.html#b"><h2 id="c">C</h2><script src="d.js">"##);
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(page, Page { targets: set(&["a.html#b", "d.js"]), ids: set(&["c"]) });
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_place_in_it() {
        let files = BTreeSet::from(["x/a.html", "b.html", "c.rs"].map(PathBuf::from));
        let page = Page::read(r#"<h1 id="here">"#);
        let pages = BTreeMap::from([("x/a.html".into(), Page::default()), ("b.html".into(), page)]);
        let leads = |target| leads_somewhere(Path::new("x/a.html"), target, &files, &pages);
        assert!(
            ["../b.html", "../b.html#here", "a.html", "../c.rs", "https://x.y", "#"]
                .iter()
                .all(|t| leads(t))
        );
        for target in ["b.html", "../b.html#there", "#here", "../x", "../../b.html"] {
            assert!(!leads(target), "{target}");
        }
    }
}
