//! Builds a Debian package, which may replace one of Debian's own.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::texts::Texts;
use super::{clear, write};
use crate::cargo;
use lab::process::{find, succeed};
use lab::{paths, progress};

/// dpkg-deb compresses a few megabytes.
const TIMEOUT: Duration = Duration::from_secs(300);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A role, because Debian's policy requires a name with an address. The project has no mail domain:
/// reports go where SECURITY.md says, and nobody can ever own an address in `.invalid` (RFC 2606).
const MAINTAINER: &str = "The ipvs-client project <maintainers@ipvs-client.invalid>";

/// What one package has that others don't.
pub(super) struct Package {
    /// The crate.
    pub(super) krate: &'static str,
    /// Its program in /usr/sbin, and Debian's package that this one replaces, if there is one.
    pub(super) program: &'static str,
    /// The version of Debian's package that this one provides. None if Debian has none.
    pub(super) provided: Option<&'static str>,
    /// Symbolic links: their paths, and where they lead.
    pub(super) links: &'static [(&'static str, &'static str)],
    /// The program's names, which shells complete the arguments of.
    pub(super) commands: &'static [&'static str],
    /// Files that are the same in every build: path, contents and permissions.
    pub(super) contents: &'static [(&'static str, &'static str, u32)],
    /// Files of these whose changes by an administrator dpkg keeps.
    pub(super) conffiles: &'static [&'static str],
    /// Names of units, their contents, and the highest score that `systemd-analyze security` may give
    /// them.
    pub(super) units: &'static [(&'static str, &'static str, u8)],
    /// Debian's section.
    pub(super) section: &'static str,
    /// What it depends on besides the C library.
    pub(super) depends: &'static str,
    /// More such fields, each with its line's end.
    pub(super) relations: &'static str,
    /// The description: a summary, and more in lines that begin with a space.
    pub(super) description: &'static str,
    /// Paragraphs about files under another license.
    pub(super) copyright: &'static str,
    /// Generates the manual pages and completions.
    pub(super) texts: fn() -> Contents,
}

/// Manual pages and completions, each with its file name.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) pages: Vec<(&'static str, String)>,
    pub(super) completions: Vec<(&'static str, String)>,
}

impl Package {
    pub(super) fn name(&self) -> String {
        match self.provided {
            Some(_) => format!("{}-rs", self.program),
            None => self.program.to_owned(),
        }
    }

    /// Builds the program, stripped.
    pub(super) fn program(&self) -> Result<PathBuf> {
        let strip = "profile.release.strip=true";
        let arguments = ["build", "--release", "--config", strip, "-p", self.krate];
        cargo::build(&arguments, self.program)
    }

    /// Builds the package of this version in `folder` and returns its path.
    pub(super) fn build(&self, folder: &Path, texts: &Texts, program: &Path) -> Result<PathBuf> {
        self.build_version(VERSION, folder, texts, program)
    }

    /// Builds a package with another version number, to upgrade to.
    pub(super) fn build_version(
        &self,
        version: &str,
        folder: &Path,
        texts: &Texts,
        program: &Path,
    ) -> Result<PathBuf> {
        let architecture = succeed(Command::new("dpkg").arg("--print-architecture"), TIMEOUT)
            .context("a Debian package takes a machine with dpkg")?;
        let architecture = architecture.trim();
        let tree = Tree(folder.join("package"));
        clear(&tree.0)?;
        for (path, text, mode) in self.contents {
            tree.put(path, text, *mode)?;
        }
        let binary = std::fs::read(program)
            .with_context(|| format!("can't read the program {}", program.display()))?;
        tree.put(&format!("usr/sbin/{}", self.program), &binary, 0o755)?;
        for (path, target) in self.links {
            tree.link(path, target)?;
        }
        self.put_texts(&tree, texts)?;
        let doc = format!("usr/share/doc/{}", self.name());
        tree.put(&format!("{doc}/copyright"), copyright(self.copyright)?, 0o644)?;
        tree.put_compressed(&format!("{doc}/changelog"), &paths::root().join("CHANGELOG.md"))?;
        if !self.conffiles.is_empty() {
            tree.put("DEBIAN/conffiles", self.conffiles.join("\n") + "\n", 0o644)?;
        }
        let control = self.control(version, architecture, &glibc(&binary)?);
        tree.put("DEBIAN/control", control, 0o644)?;
        let package = folder.join(format!("{}_{version}_{architecture}.deb", self.name()));
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "--build"]).arg(&tree.0).arg(&package);
        succeed(&mut command, TIMEOUT)?;
        clear(&tree.0)?;
        Ok(package)
    }

    /// Builds the package with another program in the place of ours, and tests what dpkg makes of it.
    pub(super) fn prove(&self, folder: &Path, texts: &Texts) -> Result<()> {
        let file = self.build(folder, texts, Path::new("/bin/sh"))?;
        let ask = |action: &str, what: &[&str]| {
            let mut command = Command::new("dpkg-deb");
            succeed(command.arg(action).arg(&file).args(what), TIMEOUT)
        };
        let expect = |what: &[&str], wanted: String| {
            let is = ask(what[0], &what[1..])?;
            ensure!(is == wanted, "{what:?} of {} is {is:?}, not {wanted:?}", self.name());
            Ok(())
        };
        expect(&["--field", "Package"], format!("{}\n", self.name()))?;
        // A field that isn't there is an empty line.
        let conflicts = self.provided.map_or("", |_| self.program);
        expect(&["--field", "Conflicts"], format!("{conflicts}\n"))?;
        if !self.conffiles.is_empty() {
            expect(&["--info", "conffiles"], self.conffiles.join("\n") + "\n")?;
        }
        // Mode, owner, size, day, time, path, and where a link leads.
        let contents = ask("--contents", &[])?;
        let has = |path: &str, mode: &str| {
            contents.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                matches!(words[..], [is, "root/root", _, _, _, at, ..]
                    if is == mode && at.strip_prefix("./") == Some(path))
            })
        };
        let program = format!("usr/sbin/{}", self.program);
        let executables = self.contents.iter().filter(|(.., mode)| *mode == 0o755);
        for path in executables.map(|(path, ..)| *path).chain([&*program]) {
            let is_there = path.starts_with("DEBIAN/") || has(path, "-rwxr-xr-x");
            ensure!(is_there, "{} has no program {path}: {contents}", self.name());
        }
        for (path, _) in self.links {
            ensure!(has(path, "lrwxrwxrwx"), "{} has no link {path}: {contents}", self.name());
        }
        Ok(())
    }

    /// Lets Debian's own critic read the package, if this machine has it. A warning is no error.
    pub(super) fn lint(&self, file: &Path) -> Result<()> {
        if find("lintian").is_none() {
            progress::note(&format!("no lintian here: nothing has criticised {}", self.name()));
            return Ok(());
        }
        let mut command = Command::new("lintian");
        command.args(["--fail-on=error", "--allow-root"]).arg(file);
        let said = succeed(&mut command, TIMEOUT)
            .with_context(|| format!("lintian finds errors in {}", self.name()))?;
        let warnings = said.lines().filter(|line| line.starts_with("W:")).count();
        progress::note(&format!("lintian: no errors in {}, {warnings} warnings", self.name()));
        Ok(())
    }

    fn put_texts(&self, tree: &Tree, texts: &Texts) -> Result<()> {
        for page in &texts.pages {
            let name = name(page)?;
            let section = name.rsplit('.').next().unwrap_or_default();
            tree.put_compressed(&format!("usr/share/man/man{section}/{name}"), page)?;
        }
        for completion in &texts.completions {
            let text = std::fs::read(completion)
                .with_context(|| format!("can't read {}", completion.display()))?;
            // bash and fish look completions up by command name, so each command gets a file.
            let name = name(completion)?;
            let (folder, end) = match name.rsplit('.').next() {
                Some("bash") => ("bash-completion/completions", ""),
                Some("fish") => ("fish/vendor_completions.d", ".fish"),
                _ => {
                    tree.put(&format!("usr/share/zsh/vendor-completions/{name}"), &text, 0o644)?;
                    continue;
                }
            };
            for command in self.commands {
                tree.put(&format!("usr/share/{folder}/{command}{end}"), &text, 0o644)?;
            }
        }
        Ok(())
    }

    fn control(&self, version: &str, architecture: &str, glibc: &str) -> String {
        let Self { program, provided, section, depends, relations, description, .. } = self;
        let in_place_of = provided.map_or(String::new(), |version| {
            format!(
                "Provides: {program} (= {version})\nConflicts: {program}\nReplaces: {program}\n"
            )
        });
        let depends = match *depends {
            "" => String::new(),
            depends => format!(", {depends}"),
        };
        format!(
            "Package: {name}\n\
             Version: {version}\n\
             Architecture: {architecture}\n\
             Maintainer: {MAINTAINER}\n\
             Section: {section}\n\
             Priority: optional\n\
             Depends: libc6 (>= {glibc}), libgcc-s1{depends}\n\
             {in_place_of}\
             {relations}\
             Description: {description}",
            name = self.name(),
        )
    }
}

/// The folder that becomes the package.
struct Tree(PathBuf);

impl Tree {
    fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let file = write(&self.0.join(path), content)?;
        let failed = || format!("can't set the permissions of {}", file.display());
        set_permissions(&file, Permissions::from_mode(mode)).with_context(failed)?;
        // Set modes explicitly, so that the umask doesn't matter.
        for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.0)) {
            set_permissions(folder, Permissions::from_mode(0o755)).with_context(failed)?;
        }
        Ok(())
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        let link = self.0.join(path);
        let failed = || format!("can't make {}", link.display());
        std::fs::create_dir_all(link.parent().with_context(failed)?).with_context(failed)?;
        symlink(target, &link).with_context(failed)
    }

    fn put_compressed(&self, path: &str, source: &Path) -> Result<()> {
        let text =
            std::fs::read(source).with_context(|| format!("can't read {}", source.display()))?;
        self.put(path, text, 0o644)?;
        // Omit name and time, so that the same text gives the same bytes.
        let mut command = Command::new("gzip");
        succeed(command.arg("-9n").arg(self.0.join(path)), TIMEOUT).map(drop)
    }
}

fn name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).context("a file without a name")
}

/// The newest version of the C library whose symbols the program uses.
fn glibc(program: &[u8]) -> Result<String> {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let minors = program.windows(PREFIX.len()).enumerate().filter_map(|(at, window)| {
        let digits: Vec<u8> = program
            .get(at + PREFIX.len()..)?
            .iter()
            .copied()
            .take_while(u8::is_ascii_digit)
            .collect();
        (window == PREFIX).then(|| String::from_utf8(digits).ok()?.parse::<u32>().ok()).flatten()
    });
    let newest = minors.max().context("the program names no version of glibc")?;
    ensure!(newest < 1000, "the program asks for glibc 2.{newest}");
    Ok(format!("2.{newest}"))
}

/// The copyright file, in Debian's machine-readable format. Every Debian system has the text of the
/// Apache license. `others` are the paragraphs about files that aren't the project's, with their licenses.
fn copyright(others: &str) -> Result<String> {
    let path = paths::root().join("LICENSE-MIT");
    let mit =
        std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let mut paragraphs = String::new();
    for line in mit.lines() {
        paragraphs.push_str(if line.is_empty() { " ." } else { " " });
        paragraphs.push_str(line);
        paragraphs.push('\n');
    }
    let others =
        if others.is_empty() { String::new() } else { format!("{}\n\n", others.trim_end()) };
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         \n\
         Files: *\n\
         Copyright: 2026 The ipvs authors\n\
         License: Expat or Apache-2.0\n\
         \n\
         {others}\
         License: Expat\n\
         {paragraphs}\
         \n\
         License: Apache-2.0\n \
         On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_librarys_newest_version_is_asked_for() {
        let program = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(glibc(program).unwrap(), "2.34");
        assert!(glibc(b"static").is_err());
    }

    #[test]
    fn the_copyright_has_no_empty_line_in_a_license() {
        // Debian's copyright-format: an empty line ends a paragraph.
        for package in super::super::packages::ALL {
            let text = copyright(package.copyright).unwrap();
            for paragraph in text.split("\n\n") {
                let is_known =
                    ["Format:", "Files:", "License:"].iter().any(|it| paragraph.starts_with(it));
                assert!(is_known, "{paragraph}");
            }
            assert!(text.contains("WITHOUT WARRANTY OF ANY KIND"));
        }
    }

    #[test]
    fn each_license_of_a_file_is_there_in_full() {
        // Debian's copyright-format: the text is below the license's name, or in a paragraph of its own.
        for package in super::super::packages::ALL {
            let text = copyright(package.copyright).unwrap();
            for paragraph in text.split("\n\n").filter(|it| it.starts_with("Files:")) {
                let named = paragraph.lines().find_map(|it| it.strip_prefix("License: ")).unwrap();
                for license in named.split(" or ") {
                    assert!(text.contains(&format!("\n\nLicense: {license}\n ")), "{license}");
                }
            }
        }
    }
}
