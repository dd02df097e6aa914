//! The completions of ldirectord, vipd and director, tested in the shells that read them.

use std::path::Path;

use anyhow::Result;
use lab::tools;

use super::texts::{Texts, complete_in_zsh, expect};

/// Tests each in the shell that reads it.
pub(super) fn check(texts: &Texts) -> Result<()> {
    bash(texts.completion("ldirectord.bash")?)?;
    zsh(texts.completion("_ldirectord")?)?;
    fish(texts.completion("ldirectord.fish")?)
}

fn bash(file: &Path) -> Result<()> {
    // What bash does when Tab is pressed: COMP_WORDS, COMP_CWORD, and the function's arguments.
    const SCRIPT: &str = r#"
        . "$1"
        cd /proc/self/fdinfo || exit
        try() {
            COMP_WORDS=(ldirectord "${@}") COMP_CWORD=$#
            COMPREPLY=()
            _ldirectord ldirectord "${@: -1}" "${COMP_WORDS[$#-1]}"
            echo "$*: ${COMPREPLY[*]}"
        }
        complete -p ldirectord > /dev/null || exit
        try try; try web.cf re; try --foreg; try drain x --for 1; try --user roo
    "#;
    let mut command = tools::command("bash")?;
    command.args(["--norc", "--noprofile", "-c", SCRIPT, "bash"]).arg(file);
    expect(
        &mut command,
        "try: try-restart\n\
         web.cf re: restart reload\n\
         --foreg: --foreground\n\
         drain x --for 1: 10m 1h 1d\n\
         --user roo: root\n",
    )
}

fn fish(file: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
        source $argv[1]
        cd /proc/self/fdinfo
        for typed in 'ldirectord try' 'ldirectord web.cf re' 'ldirectord --foreg' 'ldirectord drain x --for 1'
            echo $typed: (complete -C $typed | string replace -r '\t.*' '' | sort)
        end
    "#;
    let mut command = tools::command("fish")?;
    command.args(["--no-config", "-c", SCRIPT]).arg(file);
    expect(
        &mut command,
        "ldirectord try: try-restart\n\
         ldirectord web.cf re: reload restart\n\
         ldirectord --foreg: --foreground\n\
         ldirectord drain x --for 1: 10m 1d 1h\n",
    )
}

fn zsh(file: &Path) -> Result<()> {
    complete_in_zsh(
        file,
        &["ldirectord try-r", "ldirectord web.cf relo", "ldirectord --foreg"],
        "ldirectord try-r: try-restart\n\
         ldirectord web.cf relo: reload\n\
         ldirectord --foreg: --foreground\n",
    )
}

/// The same for vipd, whose completions are made by the same code: one of each kind is enough.
pub(super) fn check_vipd(texts: &Texts) -> Result<()> {
    const BASH: &str = r#"
        . "$1"
        cd /proc/self/fdinfo || exit
        try() {
            COMP_WORDS=(vipd "${@}") COMP_CWORD=$#
            COMPREPLY=()
            _vipd vipd "${@: -1}" "${COMP_WORDS[$#-1]}"
            echo "$*: ${COMPREPLY[*]}"
        }
        try re; try status --js; try run --user roo; try run --config /etc/host-no
    "#;
    let mut command = tools::command("bash")?;
    command.args(["--norc", "--noprofile", "-c", BASH, "bash"]);
    expect(
        command.arg(texts.completion("vipd.bash")?),
        "re: release reload\n\
         status --js: --json\n\
         run --user roo: root\n\
         run --config /etc/host-no: \n",
    )?;
    complete_in_zsh(
        texts.completion("_vipd")?,
        &["vipd relo", "vipd status --js"],
        "vipd relo: reload\nvipd status --js: --json\n",
    )?;
    const FISH: &str = r#"
        source $argv[1]
        cd /proc/self/fdinfo
        for typed in 'vipd rel' 'vipd status --js'
            echo $typed: (complete -C $typed | string replace -r '\t.*' '' | sort)
        end
    "#;
    let mut command = tools::command("fish")?;
    command.args(["--no-config", "-c", FISH]).arg(texts.completion("vipd.fish")?);
    expect(&mut command, "vipd rel: release reload\nvipd status --js: --json\n")
}

/// The same for director, whose verbs have two words.
pub(super) fn check_director(texts: &Texts) -> Result<()> {
    const BASH: &str = r#"
        . "$1"
        cd /proc/self/fdinfo || exit
        try() {
            COMP_WORDS=(director "${@}") COMP_CWORD=$#
            COMPREPLY=()
            _director director "${@: -1}" "${COMP_WORDS[$#-1]}"
            echo "$*: ${COMPREPLY[*]}"
        }
        try imp; try import k; try import heartbeat --sec
    "#;
    let mut command = tools::command("bash")?;
    command.args(["--norc", "--noprofile", "-c", BASH, "bash"]);
    expect(
        command.arg(texts.completion("director.bash")?),
        "imp: import\nimport k: keepalived\nimport heartbeat --sec: --second\n",
    )?;
    complete_in_zsh(
        texts.completion("_director")?,
        &["director imp", "director import k"],
        "director imp: import\ndirector import k: keepalived\n",
    )?;
    const FISH: &str = r#"
        source $argv[1]
        cd /proc/self/fdinfo
        for typed in 'director imp' 'director import k'
            echo $typed: (complete -C $typed | string replace -r '\t.*' '' | sort)
        end
    "#;
    let mut command = tools::command("fish")?;
    command.args(["--no-config", "-c", FISH]).arg(texts.completion("director.fish")?);
    expect(&mut command, "director imp: import\ndirector import k: keepalived\n")
}
