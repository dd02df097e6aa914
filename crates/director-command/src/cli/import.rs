//! `director import`: files in, `vip.toml` and commands out.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use daemon_kit::say;

use super::VIP_TOML;
use super::args::{Import as Wanted, Program};
use super::exit::Exit;
use super::report::report;
use crate::import::{Director, Import, Kind, Source, heartbeat, keepalived};

/// Where heartbeat reads its files.
const HEARTBEAT: &str = "/etc/ha.d";

/// What keepalived reads.
const KEEPALIVED: &str = "/etc/keepalived/keepalived.conf";

/// Imports, says what there is to know about it, and shows or writes the result.
pub(super) fn import(wanted: &Wanted) -> Exit {
    match run(wanted) {
        Ok(exit) => exit,
        Err(Failure { message, exit }) => {
            say::err(format_args!("director: {}\n", say::printable(&message)));
            exit
        }
    }
}

#[derive(Debug)]
struct Failure {
    message: String,
    exit: Exit,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: Exit::Usage }
    }

    fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self { message: format!("cannot {what} {}: {error}", path.display()), exit: Exit::Failed }
    }
}

fn run(wanted: &Wanted) -> Result<Exit, Failure> {
    let (sources, import) = match &wanted.program {
        Program::Heartbeat { second } => of_heartbeat(&wanted.files, second.as_deref())?,
        Program::Keepalived => of_keepalived(&wanted.files)?,
    };
    match report(&sources, &import.notes) {
        Ok(shown) => say::err(say::printable(&shown)),
        Err(_) => say::err(format_args!("{:?}\n", import.notes)),
    }
    if import.notes.iter().any(|note| note.kind == Kind::Error) {
        return Ok(Exit::Usage);
    }
    match &wanted.output {
        None => say::out(say::printable(&shown(&import.directors))),
        Some(folder) => {
            for director in &import.directors {
                write(folder, director)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn of_heartbeat(files: &[PathBuf], second: Option<&str>) -> Result<(Vec<Source>, Import), Failure> {
    let folder = match files {
        [] => Some(Path::new(HEARTBEAT)),
        [only] if only.is_dir() => Some(only.as_path()),
        _ => None,
    };
    let names = ["ha.cf", "haresources", "authkeys"];
    let mut found = [None, None, None];
    if let Some(folder) = folder {
        found = names.map(|name| Some(folder.join(name)));
        // The others have to be there.
        found[2] = found[2].take().filter(|it| it.exists());
    }
    for file in files.iter().filter(|_| folder.is_none()) {
        let name = file.file_name().unwrap_or_default();
        let at = names.iter().position(|it| name == *it).ok_or_else(|| {
            let names = names.join(", ");
            Failure::usage(format!("{}: heartbeat's files are called {names}", file.display()))
        })?;
        if found[at].replace(file.clone()).is_some() {
            return Err(Failure::usage(format!("there are two files {}", names[at])));
        }
    }
    let [Some(ha_cf), Some(haresources), authkeys] = found else {
        return Err(Failure::usage("both ha.cf and haresources are needed"));
    };
    let (ha_cf, haresources) = (read(&ha_cf)?, read(&haresources)?);
    let authkeys = authkeys.as_deref().map(read).transpose()?;
    let import = heartbeat::import(&ha_cf, &haresources, authkeys.as_ref(), second);
    Ok(([ha_cf, haresources].into_iter().chain(authkeys).collect(), import))
}

fn of_keepalived(files: &[PathBuf]) -> Result<(Vec<Source>, Import), Failure> {
    let named: Vec<(String, PathBuf)> = match files {
        [] => vec![(this_machine(), KEEPALIVED.into())],
        [only] => vec![(this_machine(), only.clone())],
        several => several.iter().map(|it| (name_of(it), it.clone())).collect(),
    };
    let (mut sources, mut import) = (Vec::new(), Import::default());
    for (name, file) in named {
        if import.directors.iter().any(|it: &Director| it.name == name) {
            return Err(Failure::usage(format!(
                "two files would be those of `{name}`: name the files, or their directories, after the machines"
            )));
        }
        let source = read(&file)?;
        let of_file = keepalived::import(&source, &name);
        let notes = of_file.notes.into_iter().map(|mut note| {
            note.file = sources.len();
            note
        });
        import.notes.extend(notes);
        import.directors.extend(of_file.directors);
        sources.push(source);
    }
    Ok((sources, import))
}

fn this_machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The machine that a file is of: `one.conf` and `one/keepalived.conf` are of `one`.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    let folder = file.parent().and_then(Path::file_name);
    let name = if stem == "keepalived" { folder.unwrap_or(stem) } else { stem };
    name.to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Source, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure { exit: Exit::Usage, ..Failure::io("read", path, &error) })?;
    Ok(Source { name: path.display().to_string(), text })
}

/// All of it, for people.
fn shown(directors: &[Director]) -> String {
    let mut text = String::new();
    for director in directors {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "### {}: {VIP_TOML}\n", director.name);
        text += &director.vip_toml();
        let _ = writeln!(text, "\n### {}: the commands\n", director.name);
        for command in &director.commands {
            let _ = writeln!(text, "# {command}");
        }
        text.push('\n');
    }
    text
}

/// Writes what a machine gets. What is there already stays as it is.
fn write(folder: &Path, director: &Director) -> Result<(), Failure> {
    let name = Path::new(&director.name);
    // A name with a slash or two dots would lead elsewhere.
    if name.file_name() != Some(OsStr::new(&director.name)) {
        return Err(Failure::usage(format!(
            "{:?} can't be the name of a directory",
            director.name
        )));
    }
    let folder = folder.join(name);
    let created = DirBuilder::new().recursive(true).mode(0o755).create(&folder);
    created.map_err(|error| Failure::io("create", &folder, &error))?;
    let mut commands = format!("# Type these on {}, as root, in this order.\n", director.name);
    let _ = writeln!(commands, "install -D -m 600 vip.toml {VIP_TOML}");
    for command in &director.commands {
        let _ = writeln!(commands, "{command}");
    }
    for (name, text) in [("vip.toml", director.vip_toml()), ("commands", commands)] {
        let path = folder.join(name);
        // There may be a password in it.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::io("write", &path, &error))?;
        say::out(format_args!("{}\n", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_keepalived_names_its_machine() {
        for (file, name) in [
            ("one.conf", "one"),
            ("conf/one.conf", "one"),
            ("one/keepalived.conf", "one"),
            ("keepalived.conf", "keepalived"),
        ] {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = std::env::temp_dir();
        for name in ["", ".", "..", "../a", "a/b", "/a", "a/"] {
            let director =
                Director { name: name.to_owned(), tables: Vec::new(), commands: Vec::new() };
            let failure = write(&folder, &director).expect_err(name);
            assert_eq!(failure.exit, Exit::Usage, "{name}");
        }
    }
}
