//! The completions of ldirectord, vipd and director, tested in the shells that read them. They are made by
//! the same code: of the last two, one of each kind is enough.

use std::path::Path;

use anyhow::Result;
use lab::tools;

use super::texts::{Texts, complete_in_zsh, expect};

pub(super) fn check(texts: &Texts) -> Result<()> {
    complete_in_bash(
        "ldirectord",
        texts.completion("ldirectord.bash")?,
        &["try", "web.cf re", "--foreg", "drain x --for 1", "--user roo"],
        "try: try-restart\n\
         web.cf re: restart reload\n\
         --foreg: --foreground\n\
         drain x --for 1: 10m 1h 1d\n\
         --user roo: root\n",
    )?;
    complete_in_zsh(
        texts.completion("_ldirectord")?,
        &["ldirectord try-r", "ldirectord web.cf relo", "ldirectord --foreg"],
        "ldirectord try-r: try-restart\n\
         ldirectord web.cf relo: reload\n\
         ldirectord --foreg: --foreground\n",
    )?;
    complete_in_fish(
        texts.completion("ldirectord.fish")?,
        &[
            "ldirectord try",
            "ldirectord web.cf re",
            "ldirectord --foreg",
            "ldirectord drain x --for 1",
        ],
        "ldirectord try: try-restart\n\
         ldirectord web.cf re: reload restart\n\
         ldirectord --foreg: --foreground\n\
         ldirectord drain x --for 1: 10m 1d 1h\n",
    )
}

pub(super) fn check_vipd(texts: &Texts) -> Result<()> {
    complete_in_bash(
        "vipd",
        texts.completion("vipd.bash")?,
        &["re", "status --js", "run --user roo", "run --config /etc/host-no"],
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
    complete_in_fish(
        texts.completion("vipd.fish")?,
        &["vipd rel", "vipd status --js"],
        "vipd rel: release reload\nvipd status --js: --json\n",
    )
}

/// Its verbs have two words.
pub(super) fn check_director(texts: &Texts) -> Result<()> {
    complete_in_bash(
        "director",
        texts.completion("director.bash")?,
        &["imp", "import k", "import heartbeat --sec"],
        "imp: import\nimport k: keepalived\nimport heartbeat --sec: --second\n",
    )?;
    complete_in_zsh(
        texts.completion("_director")?,
        &["director imp", "director import k"],
        "director imp: import\ndirector import k: keepalived\n",
    )?;
    complete_in_fish(
        texts.completion("director.fish")?,
        &["director imp", "director import k"],
        "director imp: import\ndirector import k: keepalived\n",
    )
}

/// What bash makes of these beginnings of a line, which lack the program's name.
fn complete_in_bash(program: &str, file: &Path, typed: &[&str], expected: &str) -> Result<()> {
    // What bash does when Tab is pressed: COMP_WORDS, COMP_CWORD, and the function's arguments.
    const SCRIPT: &str = r#"
        program=$1
        . "$2"
        shift 2
        cd /proc/self/fdinfo || exit
        complete -p "$program" > /dev/null || exit
        try() {
            COMP_WORDS=("$program" "${@}") COMP_CWORD=$#
            COMPREPLY=()
            "_$program" "$program" "${@: -1}" "${COMP_WORDS[$#-1]}"
            echo "$*: ${COMPREPLY[*]}"
        }
        for typed; do try $typed; done
    "#;
    let mut command = tools::command("bash")?;
    command.args(["--norc", "--noprofile", "-c", SCRIPT, "bash", program]).arg(file).args(typed);
    expect(&mut command, expected)
}

/// What fish makes of these beginnings of a line.
fn complete_in_fish(file: &Path, typed: &[&str], expected: &str) -> Result<()> {
    const SCRIPT: &str = r#"
        source $argv[1]
        cd /proc/self/fdinfo
        for typed in $argv[2..]
            echo $typed: (complete -C $typed | string replace -r '\t.*' '' | sort)
        end
    "#;
    let mut command = tools::command("fish")?;
    command.args(["--no-config", "-c", SCRIPT]).arg(file).args(typed);
    expect(&mut command, expected)
}
