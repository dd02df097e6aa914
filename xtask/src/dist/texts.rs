//! Writes the manual pages and completions, and tests them in the programs that read them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::package::Package;
use super::{clear, director_texts, packages, write};
use lab::{process, progress, tools};

/// A shell that waits for input waits forever.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the files are.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) pages: Vec<PathBuf>,
    pub(super) completions: Vec<PathBuf>,
}

impl Texts {
    pub(super) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.pages.iter().chain(&self.completions)
    }

    pub(super) fn completion(&self, name: &str) -> Result<&Path> {
        self.completions
            .iter()
            .find(|path| path.file_name().is_some_and(|file| file == name))
            .map(PathBuf::as_path)
            .with_context(|| format!("there is no completion {name}"))
    }
}

/// Writes those of all packages below `folder`, in the packages' order, and removes older ones there.
pub(super) fn write_all(folder: &Path) -> Result<Vec<Texts>> {
    let [man, completions] = ["man", "completions"].map(|name| folder.join(name));
    clear(&man)?;
    clear(&completions)?;
    let below = |place: &Path, files: Vec<(&'static str, String)>| {
        files.iter().map(|(file, text)| write(&place.join(file), text)).collect::<Result<_>>()
    };
    let texts = |package: &Package| {
        let contents = (package.texts)();
        Ok(Texts {
            pages: below(&man, contents.pages)?,
            completions: below(&completions, contents.completions)?,
        })
    };
    packages::ALL.iter().map(texts).collect()
}

/// Tests each in the program that reads it.
pub(super) fn check(texts: &[Texts]) -> Result<()> {
    progress::note("trying manual pages and completions");
    for page in texts.iter().flat_map(|texts| &texts.pages) {
        groff(page)?;
    }
    let [ipvsadm, ldirectord, vipd, director] = texts else { bail!("there are four packages") };
    director_texts::check(ldirectord)?;
    director_texts::check_vipd(vipd)?;
    director_texts::check_director(director)?;
    bash(ipvsadm.completion("ipvsadm.bash")?)?;
    zsh(ipvsadm.completion("_ipvsadm")?)?;
    fish(ipvsadm.completion("ipvsadm.fish")?)
}

/// groff must format a manual page without any warning, and within 80 columns.
fn groff(page: &Path) -> Result<()> {
    let mut command = tools::command("groff")?;
    command.args(["-ww", "-man", "-Tutf8", "-P-cbou", "-rLL=78n"]).arg(page);
    let output = process::finish(command.stdin(Stdio::null()), TIMEOUT)?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "groff complains of {}: {}",
        page.display(),
        output.stderr
    );
    let name = page.file_stem().context("a page without a name")?.to_string_lossy();
    let section = page.extension().context("a page without a section")?.to_string_lossy();
    let title = format!("{}({section})", name.to_uppercase());
    ensure!(output.stdout.contains(&title), "{} has no title {title}", page.display());
    let long = output.stdout.lines().find(|line| line.chars().count() > 80);
    ensure!(long.is_none(), "{} has a line that is too long: {long:?}", page.display());
    Ok(())
}

fn bash(file: &Path) -> Result<()> {
    // What bash does when Tab is pressed: COMP_WORDS, COMP_CWORD, and the function's arguments.
    const SCRIPT: &str = r#"
        . "$1"
        try() {
            COMP_WORDS=(ipvsadm "${@}") COMP_CWORD=$#
            COMPREPLY=()
            _ipvsadm ipvsadm "${@: -1}" "${COMP_WORDS[$#-1]}"
            echo "$*: ${COMPREPLY[*]}"
        }
        complete -p ipvsadm ipvsadm-save ipvsadm-restore > /dev/null || exit
        try --add-s; try -A --scheduler wl; try --start-daemon m; try -w ''
    "#;
    let mut command = tools::command("bash")?;
    command.args(["--norc", "--noprofile", "-c", SCRIPT, "bash"]).arg(file);
    expect(
        &mut command,
        "--add-s: --add-service --add-server\n\
         -A --scheduler wl: wlc\n\
         --start-daemon m: master\n\
         -w : \n",
    )
}

fn fish(file: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
        source $argv[1]
        for typed in 'ipvsadm --add-s' 'ipvsadm -A --scheduler wl' 'ipvsadm --start-daemon m'
            echo $typed: (complete -C $typed | string replace -r '\t.*' '' | sort)
        end
    "#;
    let mut command = tools::command("fish")?;
    command.args(["--no-config", "-c", SCRIPT]).arg(file);
    expect(
        &mut command,
        "ipvsadm --add-s: --add-server --add-service\n\
         ipvsadm -A --scheduler wl: wlc\n\
         ipvsadm --start-daemon m: master\n",
    )
}

fn zsh(file: &Path) -> Result<()> {
    complete_in_zsh(
        file,
        &["ipvsadm --add-serv", "ipvsadm -A --scheduler wl", "ipvsadm --start-daemon m"],
        "ipvsadm --add-serv: --add-server --add-service\n\
         ipvsadm -A --scheduler wl: wlc\n\
         ipvsadm --start-daemon m: master\n",
    )
}

/// What zsh makes of each of these when Tab is pressed. It completes only on a terminal, so a second
/// zsh emulates one.
pub(super) fn complete_in_zsh(file: &Path, typed: &[&str], expected: &str) -> Result<()> {
    const SCRIPT: &str = include_str!("complete.zsh");
    let mut command = tools::command("zsh")?;
    let program = command.get_program().to_owned();
    command.args(["-f", "-c", SCRIPT, "zsh"]).arg(&program);
    command.arg(file.parent().context("a file without a folder")?);
    command.arg(tools::unpacked_root(Path::new(&program)).unwrap_or(Path::new("")));
    expect(command.args(typed), expected)
}

pub(super) fn expect(command: &mut Command, expected: &str) -> Result<()> {
    let output = process::finish(command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()), TIMEOUT)?;
    ensure!(
        output.status.success() && output.stdout == expected && output.stderr.is_empty(),
        "{} completes {:?} instead of {expected:?}: {}",
        Path::new(command.get_program()).display(),
        output.stdout,
        output.stderr
    );
    Ok(())
}
