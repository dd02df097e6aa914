//! Captures of the traffic between the C ipvsadm and real kernels: `tests/golden/KERNEL/NAME.hex`.

use std::{fs, path::Path};

/// A capture: one command, and the netlink datagrams that it caused.
#[derive(Debug)]
pub(crate) struct Capture {
    /// Kernel series and name of the command: `6.1/add-tcp`.
    pub(crate) name: String,
    /// The comment lines at the top, by their key.
    comments: Vec<(String, String)>,
    /// In the order in which the kernel handled them.
    pub(crate) datagrams: Vec<Datagram>,
}

/// A netlink datagram.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// Whether it was sent to the kernel, not by it.
    pub(crate) to_kernel: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Capture {
    /// The series of the kernel.
    pub(crate) fn series(&self) -> &str {
        self.name.split_once('/').unwrap().0
    }

    /// The name of the command.
    pub(crate) fn step(&self) -> &str {
        self.name.split_once('/').unwrap().1
    }

    /// The comments of a key, in their order.
    pub(crate) fn comments<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.comments.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// All captures, sorted by name.
pub(crate) fn captures() -> Vec<Capture> {
    captures_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"))
}

/// All captures of a directory, sorted by name.
pub(crate) fn captures_in(folder: &Path) -> Vec<Capture> {
    let mut captures = Vec::new();
    for series in fs::read_dir(folder).unwrap() {
        let series = series.unwrap();
        for file in fs::read_dir(series.path()).unwrap() {
            let path = file.unwrap().path();
            let name = Path::new(&series.file_name()).join(path.file_stem().unwrap());
            let text = fs::read_to_string(&path).unwrap();
            captures.push(parse(name.to_str().unwrap().to_owned(), &text));
        }
    }
    captures.sort_by(|a, b| a.name.cmp(&b.name));
    captures
}

/// Reads `# KEY: VALUE` lines, then datagrams: `>` (to the kernel) or `<`, and bytes in
/// hexadecimal, which continue in lines that start with a space.
fn parse(name: String, text: &str) -> Capture {
    let mut capture = Capture { name, comments: Vec::new(), datagrams: Vec::new() };
    for line in text.lines() {
        let (mark, rest) = line.split_at(1);
        match mark {
            "#" => {
                let (key, value) = rest.split_once(':').unwrap();
                let value = value.strip_prefix(' ').unwrap_or(value);
                capture.comments.push((key.trim().to_owned(), value.to_owned()));
                continue;
            }
            ">" | "<" => {
                capture.datagrams.push(Datagram { to_kernel: mark == ">", bytes: Vec::new() });
            }
            " " => {}
            _ => panic!("{}: what is {line:?}?", capture.name),
        }
        let bytes = &mut capture.datagrams.last_mut().unwrap().bytes;
        let digits: Vec<_> = rest.chars().filter_map(|digit| digit.to_digit(16)).collect();
        bytes.extend(digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8));
    }
    capture
}
