//! A Debian package of ipvsadm that replaces Debian's own.
//!
//! It has a different name, so that a later version of Debian's package isn't taken for an upgrade.
//! It provides `ipvsadm`, in the version of the C program whose commands it accepts, which
//! satisfies the dependencies of other packages.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::texts::Texts;
use super::{clear, write};
use lab::paths;
use lab::process::succeed;

/// dpkg-deb compresses a few megabytes.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) const NAME: &str = "ipvsadm-rs";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Debian's package whose commands ours accepts.
const PROVIDED: &str = "1:1.31";

/// A role, because Debian's policy requires a name with an address. The project has no mail domain:
/// reports go where SECURITY.md says, and nobody can ever own an address in `.invalid` (RFC 2606).
const MAINTAINER: &str = "The ipvs-client project <maintainers@ipvs-client.invalid>";

/// The unit of the service that restores the rules at boot.
pub(super) const SERVICE: &str = include_str!("debian/service");

/// Files that are the same in every build: path, contents and permissions.
const CONTENTS: [(&str, &str, u32); 7] = [
    ("etc/init.d/ipvsadm", include_str!("debian/init"), 0o755),
    ("lib/systemd/system/ipvsadm.service", SERVICE, 0o644),
    ("usr/share/ipvsadm-rs/default", include_str!("debian/default"), 0o644),
    ("DEBIAN/preinst", include_str!("debian/preinst"), 0o755),
    ("DEBIAN/postinst", include_str!("debian/postinst"), 0o755),
    ("DEBIAN/prerm", include_str!("debian/prerm"), 0o755),
    ("DEBIAN/postrm", include_str!("debian/postrm"), 0o755),
];

/// Builds the package in `folder` and returns its path.
pub(super) fn build(folder: &Path, texts: &Texts, program: &Path) -> Result<PathBuf> {
    let architecture = succeed(Command::new("dpkg").arg("--print-architecture"), TIMEOUT)
        .context("a Debian package takes a machine with dpkg")?;
    let tree = Tree(folder.join("package"));
    clear(&tree.0)?;
    for (path, text, mode) in CONTENTS {
        tree.put(path, text, mode)?;
    }
    let binary = std::fs::read(program)
        .with_context(|| format!("can't read the program {}", program.display()))?;
    tree.put("usr/sbin/ipvsadm", &binary, 0o755)?;
    for wrapper in ["ipvsadm-save", "ipvsadm-restore"] {
        let link = tree.0.join("usr/sbin").join(wrapper);
        symlink("ipvsadm", &link).with_context(|| format!("can't make {}", link.display()))?;
    }
    for page in &texts.pages {
        tree.put_compressed(&format!("usr/share/man/man8/{}", name(page)?), page)?;
    }
    for completion in &texts.completions {
        let text = std::fs::read(completion)
            .with_context(|| format!("can't read {}", completion.display()))?;
        match name(completion)? {
            // bash looks completions up by command name, so each command gets a file.
            "ipvsadm.bash" => {
                for command in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
                    let path = format!("usr/share/bash-completion/completions/{command}");
                    tree.put(&path, &text, 0o644)?;
                }
            }
            "ipvsadm.fish" => {
                for command in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
                    let path = format!("usr/share/fish/vendor_completions.d/{command}.fish");
                    tree.put(&path, &text, 0o644)?;
                }
            }
            zsh => tree.put(&format!("usr/share/zsh/vendor-completions/{zsh}"), &text, 0o644)?,
        }
    }
    let doc = format!("usr/share/doc/{NAME}");
    tree.put(&format!("{doc}/copyright"), copyright()?, 0o644)?;
    tree.put_compressed(&format!("{doc}/changelog"), &paths::root().join("CHANGELOG.md"))?;
    tree.put("DEBIAN/conffiles", "/etc/init.d/ipvsadm\n", 0o644)?;
    let control = control(architecture.trim(), &glibc(&binary)?);
    tree.put("DEBIAN/control", control, 0o644)?;
    let package = folder.join(format!("{NAME}_{VERSION}_{}.deb", architecture.trim()));
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "--build"]).arg(&tree.0).arg(&package);
    succeed(&mut command, TIMEOUT)?;
    clear(&tree.0)?;
    Ok(package)
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

fn control(architecture: &str, glibc: &str) -> String {
    // Before Debian 12, lsb-base has the functions for init scripts.
    format!(
        "Package: {NAME}\n\
         Version: {VERSION}\n\
         Architecture: {architecture}\n\
         Maintainer: {MAINTAINER}\n\
         Section: net\n\
         Priority: optional\n\
         Depends: libc6 (>= {glibc}), libgcc-s1, sysvinit-utils (>= 3.05-3) | lsb-base\n\
         Provides: ipvsadm (= {PROVIDED})\n\
         Conflicts: ipvsadm\n\
         Replaces: ipvsadm\n\
         Suggests: keepalived, ldirectord\n\
         Description: administers the Linux Virtual Server (IPVS), in Rust\n \
         The program ipvsadm with the commands of the C program, byte for byte the\n \
         same output, and the boot-time service of that name. It takes the place of\n \
         the package ipvsadm.\n"
    )
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
/// Apache license.
fn copyright() -> Result<String> {
    let path = paths::root().join("LICENSE-MIT");
    let mit =
        std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let mut paragraphs = String::new();
    for line in mit.lines() {
        paragraphs.push_str(if line.is_empty() { " ." } else { " " });
        paragraphs.push_str(line);
        paragraphs.push('\n');
    }
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         \n\
         Files: *\n\
         Copyright: 2026 The ipvs authors\n\
         License: Expat or Apache-2.0\n\
         \n\
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
        let text = copyright().unwrap();
        let fields = ["Format:", "Files:", "License: Expat\n", "License: Apache-2.0"];
        for paragraph in text.split("\n\n") {
            assert!(fields.iter().any(|field| paragraph.starts_with(field)), "{paragraph}");
        }
        assert!(text.contains("WITHOUT WARRANTY OF ANY KIND"));
    }
}
