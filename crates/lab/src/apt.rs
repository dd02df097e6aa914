//! Fetches and unpacks Debian packages without root, and never installs them.
//!
//! apt does the fetching, with this machine's mirrors and keys, but with our own lists and cache:
//! refreshing the system's lists needs root, and on a fresh machine they are empty.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{find, finish, succeed};
use crate::progress;

/// How long a slow mirror may take.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Package lists younger than this aren't refreshed.
const FRESH: Duration = Duration::from_secs(12 * 3600);

/// Debian's keys. Newer releases name the file .pgp.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// The variable that names a Debian mirror where apt knows none, as on Ubuntu. Whatever the mirror
/// sends is verified with Debian's keys.
const MIRROR_VARIABLE: &str = "DEBIAN_MIRROR";

/// The suites of Debian's main archive, used to recognise its mirror.
const SUITES: [&str; 12] = [
    "stable",
    "testing",
    "unstable",
    "oldstable",
    "oldoldstable",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldoldstable",
];

/// apt with its own package lists.
#[derive(Debug)]
pub struct Apt {
    /// The source of the packages, for messages.
    whose: String,
    folder: PathBuf,
    options: Vec<OsString>,
}

impl Apt {
    /// The packages that this machine could install. `folder` is for lists and cache.
    ///
    /// # Errors
    ///
    /// This machine has no apt, or the folder can't be created.
    pub fn machine(folder: &Path) -> Result<Self> {
        if find("apt-get").is_none() || find("dpkg-deb").is_none() {
            bail!("this machine has no apt");
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part)
                .with_context(|| format!("can't make {}", part.display()))?;
        }
        let whose = "this machine".to_owned();
        let mut apt = Self { whose, folder: folder.to_owned(), options: Vec::new() };
        apt.option("Dir::State::Lists", folder.join("lists"));
        apt.option("Dir::Cache", folder.join("cache"));
        // As root, apt fetches as another user, which fails in folders that only root may enter.
        apt.option("APT::Sandbox::User", "");
        // The system's lock isn't needed, and not every user may take it.
        apt.option("Debug::NoLocking", "1");
        apt.option("Acquire::Languages", "none");
        apt.option("Acquire::Retries", "3");
        apt.option("Acquire::http::Timeout", "30");
        for extra in ["deb::DEP-11", "deb::DEP-11-icons", "deb::Contents-deb", "deb-src::Sources"] {
            apt.option(&format!("Acquire::IndexTargets::{extra}::DefaultEnabled"), "false");
        }
        Ok(apt)
    }

    /// The packages of one Debian suite, whatever this machine runs.
    ///
    /// # Errors
    ///
    /// As for [`Apt::machine`]; also if the machine lacks Debian's keys, or its apt names no
    /// mirror.
    pub fn debian(folder: &Path, suite: &str) -> Result<Self> {
        let mut apt = Self::machine(folder)?;
        apt.whose = format!("Debian {suite}");
        let source = debian_mirror(suite)?;
        let sources = folder.join("sources.list");
        std::fs::write(&sources, format!("{source}\n"))
            .with_context(|| format!("can't write {}", sources.display()))?;
        apt.option("Dir::Etc::sourcelist", sources);
        apt.option("Dir::Etc::sourceparts", "/dev/null");
        // A newer version installed here must not hide the suite's version.
        apt.option("Dir::State::status", "/dev/null");
        apt.option("APT::Default-Release", "");
        // A mirror that lags behind is acceptable: the signatures matter, not that the packages are
        // the newest.
        apt.option("Acquire::Check-Valid-Until", "false");
        Ok(apt)
    }

    /// Makes packages of these architectures available (`name:architecture`). The machine's own
    /// architecture is available only if listed.
    pub fn architectures(&mut self, names: &[&str]) {
        for name in names {
            self.option("APT::Architectures::", name);
        }
    }

    fn option(&mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        self.options.extend(["-o".into(), word]);
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(&self.options).env("LC_ALL", "C");
        command
    }

    /// Fetches the package lists, unless they are recent.
    ///
    /// # Errors
    ///
    /// A list can't be fetched; the error quotes apt.
    pub fn update(&self) -> Result<()> {
        let stamp = self.folder.join("updated");
        let age = stamp
            .metadata()
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        progress::now(&format!("fetching the package lists of {}", self.whose));
        let output = finish(self.command().arg("update").stdin(Stdio::null()), TIMEOUT)?;
        // apt reports success even if it couldn't reach a mirror and went on with the lists it has.
        let errors: Vec<&str> =
            output.stderr.lines().filter(|line| is_update_error(line)).collect();
        if !output.status.success() || !errors.is_empty() {
            bail!("apt can't fetch the package lists of {}: {}", self.whose, errors.join("; "));
        }
        std::fs::write(&stamp, "").with_context(|| format!("can't write {}", stamp.display()))
    }

    /// Makes the next update fetch the lists again.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.join("updated"));
    }

    /// What this machine lacks to use these packages: the packages themselves and their
    /// dependencies, unless installed, as `name=version`. Empty if everything is installed.
    ///
    /// # Errors
    ///
    /// apt fails; the error quotes it.
    pub fn missing(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut command = self.command();
        command.args(["--simulate", "--no-install-recommends", "install", "--"]).args(packages);
        Ok(simulated(&succeed(&mut command, TIMEOUT)?))
    }

    /// Fetches packages into `folder`, which contains nothing else afterwards, and returns their
    /// files.
    ///
    /// # Errors
    ///
    /// apt fails (the error quotes it), or the folder can't be created.
    pub fn download(&self, packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let mut download = self.command();
        download.current_dir(folder).arg("download").args(packages);
        succeed(&mut download, TIMEOUT)?;
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    /// Fetches packages and unpacks them under `root`.
    ///
    /// # Errors
    ///
    /// apt or dpkg-deb fails (the error quotes it), or the folder can't be created.
    pub fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        std::fs::create_dir_all(root).with_context(|| format!("can't make {}", root.display()))?;
        let downloads = root.with_extension("debs");
        for path in self.download(packages, &downloads)? {
            succeed(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(root), TIMEOUT)?;
        }
        std::fs::remove_dir_all(&downloads)
            .with_context(|| format!("can't remove {}", downloads.display()))
    }

    /// The version of a package that [`Apt::unpack`] would fetch.
    pub(crate) fn candidate(&self, package: &str) -> Result<String> {
        let mut command = Command::new("apt-cache");
        command.args(&self.options).args(["policy", "--", package]).env("LC_ALL", "C");
        let policy = succeed(&mut command, TIMEOUT)?;
        candidate(&policy).with_context(|| format!("there is no package {package}"))
    }
}

/// The sources.list line for a Debian suite, derived from this machine's own apt configuration. An
/// error says what is missing, and what to do.
pub(crate) fn debian_mirror(suite: &str) -> Result<String> {
    ensure!(find("apt-get").is_some(), "this machine has no apt (apt-get), which fetches packages");
    let keyring = KEYRINGS.into_iter().find(|path| Path::new(path).is_file()).context(
        "this machine has no keys of Debian's archive; \
         `apt-get install debian-archive-keyring` brings them, on Ubuntu too",
    )?;
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(RELEASE) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    command.env("LC_ALL", "C");
    let targets = succeed(&mut command, TIMEOUT)?;
    let given = || std::env::var(MIRROR_VARIABLE).ok();
    let mirror = mirror(&targets).map(str::to_owned).or_else(given).with_context(|| {
        format!(
            "this machine's apt names no mirror of Debian; \
             set {MIRROR_VARIABLE} to one, such as http://mirror.example/debian/"
        )
    })?;
    Ok(format!("deb [signed-by={keyring}] {mirror} {suite} main"))
}

/// The first mirror of Debian's main archive in `targets`, whose lines consist of release,
/// component and address.
fn mirror(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (release, component, address) = (words.next()?, words.next()?, words.next()?);
        (component == "main" && SUITES.contains(&release)).then_some(address)
    })
}

/// The packages that a simulated installation would add or replace: `Inst name [old] (version
/// origin [architecture])`.
fn simulated(output: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("Inst ")?;
            let name = rest.split_whitespace().next()?;
            let version = rest.split_once('(')?.1.split_whitespace().next()?;
            Some(format!("{name}={version}"))
        })
        .collect()
}

/// Whether a line of `apt-get update` says that a list is missing or old.
fn is_update_error(line: &str) -> bool {
    line.starts_with("E: ") || line.starts_with("W: Failed to fetch ")
}

fn candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_main_archive() {
        let targets = "bookworm-security main http://mirror.example/debian-security/\n\
                       nodistro main https://node.example/node_20.x/\n\
                       bookworm contrib http://other.example/debian/\n\
                       bookworm main http://mirror.example/debian/\n\
                       sid main http://later.example/debian/\n";
        assert_eq!(mirror(targets), Some("http://mirror.example/debian/"));
    }

    #[test]
    fn another_distribution_has_no_debian_mirror() {
        assert_eq!(
            mirror(
                "noble main http://archive.example/ubuntu/\nnoble-updates main http://archive.example/ubuntu/\n"
            ),
            None
        );
        assert_eq!(mirror(""), None);
    }

    #[test]
    fn a_simulation_names_what_would_be_added_or_replaced() {
        let output = "Inst libpcap0.8 (1.10.3-1 Debian:12.11/oldstable [amd64])\n\
                      Inst libssl3 [3.0.15-1] (3.0.17-1~deb12u2 Debian-Security:12/oldstable-security [amd64]) []\n\
                      Inst tcpdump (4.99.3-1 Debian:12.11/oldstable [amd64])\n\
                      Conf libpcap0.8 (1.10.3-1 Debian:12.11/oldstable [amd64])\n\
                      Remv something [1.0]\n";
        assert_eq!(
            simulated(output),
            ["libpcap0.8=1.10.3-1", "libssl3=3.0.17-1~deb12u2", "tcpdump=4.99.3-1"]
        );
        assert!(simulated("").is_empty());
    }

    #[test]
    fn a_list_that_could_not_be_fetched_is_noticed() {
        for line in [
            "E: The repository 'http://mirror.example/debian sid Release' does not have a Release file.",
            "W: Failed to fetch http://mirror.example/debian/dists/sid/InRelease  Could not resolve 'mirror.example'",
        ] {
            assert!(is_update_error(line), "{line}");
        }
        assert!(!is_update_error("W: Target Packages is configured multiple times"));
    }

    #[test]
    fn a_candidate_is_read_from_the_policy() {
        assert_eq!(
            candidate("libc6:\n  Installed: (none)\n  Candidate: 2.41-12+deb13u4\n"),
            Some("2.41-12+deb13u4".into())
        );
        assert_eq!(candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }
}
