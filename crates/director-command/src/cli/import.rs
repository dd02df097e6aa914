//! `director import`: files in, `vip.toml` and commands out.

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
use crate::import::{Director, Import, Kind, Note, Source, heartbeat, keepalived};
use crate::regular_file;

/// The largest file that is read, in bytes: many times what any configuration has.
const LARGEST: u64 = 1 << 20;

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
    for (number, director) in import.directors.iter().enumerate() {
        check_name(&director.name)?;
        if import.directors[..number].iter().any(|it| it.name == director.name) {
            let message = format!("two machines are called {:?}", director.name);
            return Err(Failure::usage(message));
        }
        check_file(director)?;
    }
    match &wanted.output {
        None => say::out(say::printable(&shown(&import.directors))),
        Some(folder) => write_all(folder, &import.directors)?,
    }
    Ok(Exit::Done)
}

/// It becomes the name of a directory, and a word in a file.
fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let is_host = (1..=253).contains(&name.len()) && name.chars().all(fits);
    match is_host && !name.starts_with(['-', '.']) {
        true => Ok(()),
        false => Err(Failure::usage(format!("{name:?} can't be the name of a machine"))),
    }
}

/// What `vipd` refuses isn't a result.
fn check_file(director: &Director) -> Result<(), Failure> {
    let text = director.vip_toml();
    let Err(mistakes) = vip::config::parse(&text) else { return Ok(()) };
    let name = format!("vip.toml of {}", director.name);
    let note = |it: &vip::config::Diagnostic| Note {
        kind: Kind::Error,
        file: 0,
        span: it.span.clone(),
        message: it.message.clone(),
        help: it.help.clone(),
    };
    let notes: Vec<Note> = mistakes.iter().map(note).collect();
    match report(&[Source { name, text }], &notes) {
        Ok(shown) => say::err(say::printable(&shown)),
        Err(_) => say::err(format_args!("{notes:?}\n")),
    }
    Err(Failure::usage("vipd would refuse what these files become; change them, or write vip.toml"))
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

/// Reads a file, if it is one and not too large.
fn read(path: &Path) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let failed =
        |error: io::Error| Failure { exit: Exit::Usage, ..Failure::io("read", path, &error) };
    let bytes = regular_file::read(path, LARGEST).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|it| **it == b'\n').count() + 1;
        Failure::usage(format!(
            "{name}: line {line} isn't UTF-8: convert it, with iconv for example"
        ))
    })?;
    // A byte order mark isn't part of the first word.
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    Ok(Source { name, text })
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

/// Writes what all machines get, or nothing. What is there already stays as it is.
fn write_all(folder: &Path, directors: &[Director]) -> Result<(), Failure> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for director in directors {
        let folder = folder.join(&director.name);
        files.push((folder.join("vip.toml"), director.vip_toml()));
        files.push((folder.join("commands"), commands(director)));
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(Failure::usage(format!("{} is there already", path.display())));
    }
    let mut written = Vec::new();
    for (path, text) in &files {
        let done = create(path, text);
        if let Err(failure) = done {
            for path in written.iter().chain([path]) {
                // It may not be there.
                let _ = fs::remove_file(path);
            }
            return Err(failure);
        }
        written.push(path.clone());
    }
    let list: String = written.iter().map(|path| format!("{}\n", path.display())).collect();
    say::out(say::printable(&list));
    Ok(())
}

/// Writes a file that isn't there.
fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let created = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    created.map_err(|error| Failure::io("create", folder, &error))?;
    // There may be a password in it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| Failure::io("write", path, &error))
}

/// What is typed on a machine.
fn commands(director: &Director) -> String {
    let mut text = format!("# Type these on {}, as root, in this order.\n", director.name);
    for command in &director.commands {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{command}");
    }
    text
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
    fn a_name_is_that_of_a_machine() {
        for name in ["ld1", "ld-1.example.com", "LD_2"] {
            check_name(name).unwrap();
        }
        for name in ["", ".", "..", "../a", "a/b", "/a", "-a", "a\nreboot", "a\u{1b}[31m", "a b"] {
            assert_eq!(check_name(name).expect_err(name).exit, Exit::Usage, "{name}");
        }
    }

    #[test]
    fn all_files_are_written_or_none() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("folder");
        let director = |name: &str| {
            let commands = vec!["true".to_owned()];
            Director { name: name.to_owned(), tables: Vec::new(), commands }
        };
        let both = [director("a"), director("b")];
        write_all(&folder, &both).unwrap();
        let commands = fs::read_to_string(folder.join("b/commands")).unwrap();
        assert!(commands.ends_with("in this order.\ntrue\n"), "{commands}");
        // One of four is there.
        for file in ["a/vip.toml", "a/commands", "b/vip.toml"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
        assert_eq!(write_all(&folder, &both).unwrap_err().exit, Exit::Usage);
        assert!(!folder.join("a/vip.toml").exists());
        // A file where a directory should be.
        fs::remove_dir_all(folder.join("b")).unwrap();
        fs::write(folder.join("b"), "").unwrap();
        assert_eq!(write_all(&folder, &both).unwrap_err().exit, Exit::Failed);
        assert!(!folder.join("a/vip.toml").exists());
    }

    #[test]
    fn what_vipd_refuses_is_no_result() {
        let source =
            |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let ha_cf = source("ha.cf", "node a b\nucast eth0 10.0.0.1\n");
        let addresses = source("haresources", "a IPv6addr::2001:db8::5/64/eth0\n");
        let import = heartbeat::import(&ha_cf, &addresses, None, None);
        assert_eq!(check_file(&import.directors[0]).unwrap_err().exit, Exit::Usage);
        let addresses = source("haresources", "a 10.0.0.5/24/eth0\n");
        let import = heartbeat::import(&ha_cf, &addresses, None, None);
        check_file(&import.directors[0]).unwrap();
    }
}
