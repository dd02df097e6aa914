//! The workspace's published crates and the sources of their dependencies, as reported by this
//! machine's Cargo.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::cargo::cargo;
use lab::process::succeed;

/// Cargo may have to fetch the dependencies first.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A published crate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Crate {
    pub(super) name: String,
    /// The oldest compiler that it claims to build with.
    pub(super) rust_version: Option<String>,
    /// The registries it may be published to; `None` means all.
    publish: Option<Vec<String>>,
    targets: Vec<Target>,
}

/// What Cargo makes of a crate: a library, a program, tests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
}

/// The workspace's crates, except those with `publish = false`.
pub(super) fn published() -> Result<Vec<Crate>> {
    let text = succeed(cargo().args(["metadata", "--no-deps", "--format-version", "1"]), TIMEOUT)?;
    let crates = parse(&text)?;
    ensure!(!crates.is_empty(), "the workspace has no crate to publish");
    Ok(crates)
}

fn parse(metadata: &str) -> Result<Vec<Crate>> {
    let metadata: Metadata =
        serde_json::from_str(metadata).context("can't read what cargo metadata says")?;
    let is_published = |one: &Crate| one.publish.as_ref().is_none_or(|places| !places.is_empty());
    Ok(metadata.packages.into_iter().filter(is_published).collect())
}

impl Crate {
    /// Whether its integration tests start one of its programs. They do in a crate that has a
    /// program, and in `ipvs-os`, whose tests of starting processes start themselves.
    pub(super) fn starts_programs(&self) -> bool {
        let has_program = |target: &Target| target.kind.iter().any(|kind| kind == "bin");
        self.name == "ipvs-os" || self.targets.iter().any(has_program)
    }

    /// Whether `compiler`, such as 1.85.1, belongs to the oldest release that the crate promises to
    /// build with. A newer one would prove nothing.
    pub(super) fn promises(&self, compiler: &str) -> bool {
        self.rust_version.as_ref().is_some_and(|promised| {
            compiler
                .strip_prefix(promised.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// Copies the sources of all dependencies into `folder`, at exactly the versions of Cargo.lock.
/// They are copied because two versions of Cargo may lay out the user's registry cache differently,
/// and because the settings of a mirror wouldn't reach the other Cargo.
pub(super) fn vendor(folder: &Path) -> Result<()> {
    let mut command = cargo();
    command.args(["vendor", "--locked", "--versioned-dirs"]).arg(folder);
    succeed(&mut command, TIMEOUT).map(drop).context("can't get the sources of the dependencies")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_crate(name: &str, rust_version: Option<&str>) -> Crate {
        let rust_version = rust_version.map(Into::into);
        Crate { name: name.into(), rust_version, publish: None, targets: Vec::new() }
    }

    #[test]
    fn unpublished_crates_are_left_out() {
        // `cargo help metadata` describes the format.
        let metadata = r#"{"packages": [
            {"name": "a", "publish": null, "rust_version": "1.85", "edition": "2024", "targets": [
                {"kind": ["lib"], "name": "a"}, {"kind": ["test"], "name": "b"}]},
            {"name": "b", "publish": [], "rust_version": "1.85", "targets": []},
            {"name": "ipvs-os", "publish": null, "rust_version": "1.85", "targets": [
                {"kind": ["lib"], "name": "ipvs_os"}]},
            {"name": "c", "publish": ["somewhere"], "rust_version": null, "targets": [
                {"kind": ["lib"], "name": "c"}, {"kind": ["bin"], "name": "d"}]}
        ]}"#;
        let published = parse(metadata).unwrap();
        let seen: Vec<_> = published
            .iter()
            .map(|one| (one.name.as_str(), one.rust_version.as_deref(), one.starts_programs()))
            .collect();
        let promised = Some("1.85");
        assert_eq!(seen, [("a", promised, false), ("ipvs-os", promised, true), ("c", None, true)]);
    }

    #[test]
    fn only_the_promised_release_proves_the_promise() {
        let promising = |version| a_crate("a", Some(version));
        for (promised, compiler) in [("1.85", "1.85.1"), ("1.85", "1.85.0"), ("1.85.1", "1.85.1")] {
            assert!(promising(promised).promises(compiler), "{promised} {compiler}");
        }
        for (promised, compiler) in [("1.85", "1.86.0"), ("1.8", "1.85.1"), ("1.85.1", "1.85.0")] {
            assert!(!promising(promised).promises(compiler), "{promised} {compiler}");
        }
        assert!(!a_crate("a", None).promises("1.85.1"));
    }
}
