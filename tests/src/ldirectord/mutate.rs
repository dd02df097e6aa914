//! Changes to a file, as people make them by mistake.

use splitmix::Random;

use super::vocabulary::{GLOBALS, NESTED, ODD_ADDRESSES, ODD_KEYS, ODD_REALS, UNKNOWN};

/// A file as lines without their ends, being changed.
type Lines = Vec<String>;

/// A change; false if it found nothing to do.
type Change = fn(&mut Lines, &mut Random) -> bool;

/// All of them, with the names under which they are counted.
const CHANGES: &[(&str, Change)] = &[
    ("line deleted", |lines, random| {
        with_line(lines, random, any, |lines, at, _| drop(lines.remove(at)))
    }),
    ("line twice", |lines, random| {
        with_line(lines, random, any, |lines, at, _| lines.insert(at, lines[at].clone()))
    }),
    ("lines swapped", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            let other = random.below(lines.len());
            lines.swap(at, other);
        })
    }),
    ("indented", |lines, random| {
        on_line(lines, random, any, |line, random| {
            format!("{}{line}", random.pick(&["\t", "    ", "  ", " ", "   ", "      "]))
        })
    }),
    ("no longer indented", |lines, random| {
        on_line(lines, random, nested, |line, random| {
            let content = line.trim_start();
            let keep = random.pick(&[0, 0, 1, 2, 3, 4]);
            format!("{}{content}", " ".repeat(keep))
        })
    }),
    ("tabs to blanks", |lines, random| {
        let blanks = " ".repeat(random.pick(&[2, 4, 8]));
        on_all(lines, |line| line.replace('\t', &blanks))
    }),
    ("blanks to tabs", |lines, _| on_all(lines, |line| line.replace("    ", "\t"))),
    ("carriage return on a line", |lines, random| {
        on_line(lines, random, any, |line, _| format!("{line}\r"))
    }),
    ("carriage returns", |lines, _| on_all(lines, |line| format!("{line}\r"))),
    ("byte order mark", |lines, _| {
        lines.first_mut().is_some_and(|line| {
            line.insert(0, '\u{feff}');
            true
        })
    }),
    ("blank line", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            lines.insert(
                at,
                random.pick(&["", "", " ", "\t", "    ", "\t\t", "      ", "  "]).to_owned(),
            );
        })
    }),
    ("blanks at the end", |lines, random| {
        on_line(lines, random, any, |line, random| {
            format!("{line}{}", random.pick(&[" ", "  ", "\t", " \t "]))
        })
    }),
    ("comment at the end", |lines, random| {
        on_line(lines, random, any, |line, random| {
            format!(
                "{line}{}",
                random.pick(&[
                    " # comment",
                    "# comment",
                    "\t#",
                    " #2 = two",
                    " ; comment",
                    " // comment"
                ])
            )
        })
    }),
    ("comment line", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            lines.insert(
                at,
                random
                    .pick(&["# comment", "\t# comment", "  #", "#real=10.80.0.1:80 gate"])
                    .to_owned(),
            );
        })
    }),
    ("commented out", |lines, random| {
        on_line(lines, random, any, |line, random| {
            format!("{}{line}", random.pick(&["#", "# ", "\t#"]))
        })
    }),
    ("quotes added", |lines, random| {
        on_value(lines, random, |value, random| match random.below(4) {
            0 => format!("\"{value}"),
            1 => format!("{value}\""),
            2 => format!("'{value}'"),
            _ => format!("\"{value}\""),
        })
    }),
    ("quotes removed", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.contains('"'),
            |line, random| match random.below(2) {
                0 => line.replacen('"', "", 1),
                _ => line.replace('"', ""),
            },
        )
    }),
    ("number", |lines, random| on_line(lines, random, |line| line.contains(is_digit), number)),
    ("two on a line", |lines, random| {
        with_line(
            lines,
            random,
            |line| line.contains('='),
            |lines, at, random| {
                let other = lines[random.below(lines.len())].trim().to_owned();
                let between = random.pick(&[" ", "  ", "; ", ", ", "\t"]);
                lines[at] = format!("{}{between}{other}", lines[at]);
            },
        )
    }),
    ("lines joined", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            if at + 1 < lines.len() {
                let next = lines.remove(at + 1);
                let between = random.pick(&["", " ", "\\"]);
                lines[at] = format!("{}{between}{next}", lines[at]);
            }
        })
    }),
    ("line broken", |lines, random| {
        with_line(
            lines,
            random,
            |line| line.contains(' '),
            |lines, at, _| {
                if let Some((left, right)) = lines[at].clone().rsplit_once(' ') {
                    lines[at] = left.to_owned();
                    lines.insert(at + 1, right.to_owned());
                }
            },
        )
    }),
    ("name misspelt", |lines, random| on_name(lines, random, misspelt)),
    ("name unknown", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            let indent = if random.one_in(2) { "\t" } else { "" };
            lines.insert(at, format!("{indent}{}", random.pick(UNKNOWN)));
        })
    }),
    ("capitals in a name", |lines, random| {
        on_name(lines, random, |name, random| match random.below(2) {
            0 => name.to_uppercase(),
            _ => {
                let mut chars = name.chars();
                chars
                    .next()
                    .map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
            }
        })
    }),
    ("capitals in a value", |lines, random| {
        on_value(lines, random, |value, _| value.to_uppercase())
    }),
    ("another family", |lines, random| {
        on_name(lines, random, |name, _| match name.strip_suffix('6') {
            Some(four) => four.to_owned(),
            None => format!("{name}6"),
        })
    }),
    ("port as a name", |lines, random| {
        let ports = [
            (":80", ":http"),
            (":443", ":https"),
            (":25", ":smtp"),
            (":53", ":domain"),
            (":8080", ":webcache"),
        ];
        let (number, name) = random.pick(&ports);
        on_line(
            lines,
            random,
            |line| line.contains(number),
            |line, _| line.replacen(number, name, 1),
        )
    }),
    ("port gone", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.contains(':'),
            |line, _| {
                let Some((left, right)) = line.rsplit_once(':') else { return line.to_owned() };
                format!("{left}{}", right.trim_start_matches(is_digit))
            },
        )
    }),
    ("range", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.contains("real") && line.contains('.'),
            |line, random| {
                let Some((host, port)) = line.split_once(':') else { return line.to_owned() };
                let last = host.rsplit('=').next().unwrap_or_default().trim();
                let Some((net, number)) = last.rsplit_once('.') else { return line.to_owned() };
                let first: u32 = number.parse().unwrap_or(1);
                let end = first + random.pick(&[0, 1, 2, 5]);
                let arrow = random.pick(&["->", "->", "->", "-", " -> ", "..", "=>"]);
                match random.below(4) {
                    0 => format!("{host}{arrow}{net}.{}:{port}", first.saturating_sub(1)),
                    1 => format!("{host}:{port}{arrow}{net}.{end}"),
                    _ => format!("{host}{arrow}{net}.{end}:{port}"),
                }
            },
        )
    }),
    ("end of a real server", |lines, random| {
        on_line(lines, random, is_real, |line, random| {
            let (start, _) = split_real(line);
            format!("{start}{}", random.pick(ODD_REALS))
        })
    }),
    ("address of a real server", |lines, random| {
        on_line(lines, random, is_real, |line, random| {
            let (_, end) = split_real(line);
            let name = line.split('=').next().unwrap_or_default();
            format!("{name}={}{end}", random.pick(ODD_ADDRESSES))
        })
    }),
    ("words in another order", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.trim().contains(' '),
            |line, random| {
                let indent = &line[..line.len() - line.trim_start().len()];
                let mut words: Vec<&str> = line.split_whitespace().collect();
                let (one, other) = (random.below(words.len()), random.below(words.len()));
                words.swap(one, other);
                format!("{indent}{}", words.join(" "))
            },
        )
    }),
    ("word gone", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.trim().contains(' '),
            |line, random| {
                let indent = &line[..line.len() - line.trim_start().len()];
                let mut words: Vec<&str> = line.split_whitespace().collect();
                words.remove(random.below(words.len()));
                format!("{indent}{}", words.join(" "))
            },
        )
    }),
    ("key of a virtual service", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.starts_with("virtual"),
            |_, random| random.pick(ODD_KEYS).to_owned(),
        )
    }),
    ("value gone", |lines, random| on_value(lines, random, |_, _| String::new())),
    ("odd value", |lines, random| {
        with_line(
            lines,
            random,
            |line| odd_values(line).is_some(),
            |lines, at, random| {
                let name = lines[at].split('=').next().unwrap_or_default().to_owned();
                if let Some(values) = odd_values(&lines[at]) {
                    lines[at] = format!("{name}={}", random.pick(values));
                }
            },
        )
    }),
    ("directive added", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            let nested = lines[at].starts_with([' ', '\t']);
            let all = if nested { NESTED } else { GLOBALS };
            let line = all[random.below(all.len())].line(random, 2);
            let indent = if nested { "\t" } else { "" };
            lines.insert(at, format!("{indent}{line}"));
        })
    }),
    ("directive in the wrong section", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            let (all, indent) = if random.one_in(2) { (NESTED, "") } else { (GLOBALS, "\t") };
            let line = all[random.below(all.len())].line(random, 20);
            lines.insert(at, format!("{indent}{line}"));
        })
    }),
    ("blanks at =", |lines, random| {
        on_line(
            lines,
            random,
            |line| line.contains('='),
            |line, random| {
                line.replacen(
                    '=',
                    random.pick(&[" = ", " =", "= ", "\t=\t", "==", ":", " ", ""]),
                    1,
                )
            },
        )
    }),
    ("line from elsewhere", |lines, random| {
        with_line(lines, random, any, |lines, at, random| {
            let line = lines[random.below(lines.len())].clone();
            lines.insert(at, line);
        })
    }),
    ("cut", |lines, random| {
        let at = random.below(lines.len());
        lines.truncate(at + 1);
        if let Some(line) = lines.last_mut() {
            let mut end = random.below(line.len() + 1);
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
        }
        !lines.is_empty()
    }),
];

/// Their names.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CHANGES.iter().map(|(name, _)| *name)
}

/// Changes a file this many times, and notes how. One cut at the end has no line end there.
pub(super) fn mutated(
    text: String,
    times: usize,
    random: &mut Random,
    kinds: &mut Vec<String>,
) -> String {
    if times == 0 {
        return text;
    }
    let mut lines: Lines = text.lines().map(str::to_owned).collect();
    let mut done = 0;
    // A change may find nothing to do in a file, even each of them in an empty one.
    for _ in 0..times * 20 {
        if done == times {
            break;
        }
        let (name, change) = CHANGES[random.below(CHANGES.len())];
        if change(&mut lines, random) {
            kinds.push(name.to_owned());
            done += 1;
        }
    }
    let cut = kinds.last().is_some_and(|last| last == "cut");
    lines.join("\n") + if cut { "" } else { "\n" }
}

fn any(line: &str) -> bool {
    !line.trim().is_empty()
}

fn nested(line: &str) -> bool {
    line.starts_with([' ', '\t']) && any(line)
}

fn is_digit(char: char) -> bool {
    char.is_ascii_digit()
}

fn is_real(line: &str) -> bool {
    line.trim_start().starts_with("real") && line.contains('=')
}

/// A line of a real server up to its address, and the rest.
fn split_real(line: &str) -> (&str, &str) {
    let from = line.find('=').map_or(0, |at| at + 1);
    let word = line[from..].find(|char: char| !char.is_whitespace()).map_or(from, |at| from + at);
    let end = line[word..].find(char::is_whitespace).map_or(line.len(), |at| word + at);
    line.split_at(end)
}

/// The odd values of a line's directive.
fn odd_values(line: &str) -> Option<&'static [&'static str]> {
    let name = line.split('=').next().unwrap_or_default().trim();
    let all = if nested(line) { NESTED } else { GLOBALS };
    all.iter().find(|it| it.name == name).map(|it| it.odd)
}

/// Changes one line of those that fit.
fn with_line(
    lines: &mut Lines,
    random: &mut Random,
    fits: fn(&str) -> bool,
    change: fn(&mut Lines, usize, &mut Random),
) -> bool {
    let places: Vec<usize> = (0..lines.len()).filter(|at| fits(&lines[*at])).collect();
    if places.is_empty() {
        return false;
    }
    let at = random.pick(&places);
    change(lines, at, random);
    true
}

/// Replaces one line of those that fit.
fn on_line(
    lines: &mut Lines,
    random: &mut Random,
    fits: impl Fn(&str) -> bool,
    change: impl Fn(&str, &mut Random) -> String,
) -> bool {
    let places: Vec<usize> = (0..lines.len()).filter(|at| fits(&lines[*at])).collect();
    if places.is_empty() {
        return false;
    }
    let at = random.pick(&places);
    let changed = change(&lines[at], random);
    let differs = changed != lines[at];
    lines[at] = changed;
    differs
}

fn on_all(lines: &mut Lines, change: impl Fn(&str) -> String) -> bool {
    let changed: Lines = lines.iter().map(|line| change(line)).collect();
    let differs = changed != *lines;
    *lines = changed;
    differs
}

/// Replaces what stands before `=`.
fn on_name(
    lines: &mut Lines,
    random: &mut Random,
    change: impl Fn(&str, &mut Random) -> String,
) -> bool {
    on_setting(lines, random, |name, value, random| {
        let indent = &name[..name.len() - name.trim_start().len()];
        format!("{indent}{}={value}", change(name.trim_start(), random))
    })
}

/// Replaces what stands behind `=`.
fn on_value(
    lines: &mut Lines,
    random: &mut Random,
    change: impl Fn(&str, &mut Random) -> String,
) -> bool {
    on_setting(lines, random, |name, value, random| format!("{name}={}", change(value, random)))
}

/// Replaces a line with a `=`, given what stands before it and behind it.
fn on_setting(
    lines: &mut Lines,
    random: &mut Random,
    change: impl Fn(&str, &str, &mut Random) -> String,
) -> bool {
    on_line(
        lines,
        random,
        |line| line.contains('=') && any(line),
        |line, random| match line.split_once('=') {
            Some((name, value)) => change(name, value, random),
            None => line.to_owned(),
        },
    )
}

fn misspelt(name: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = name.chars().collect();
    let at = random.below(chars.len());
    match random.below(3) {
        _ if chars.is_empty() => {}
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, random.pick(&['e', '_', '-', 's', '1'])),
        _ => {
            let other = (at + 1) % chars.len();
            chars.swap(at, other);
        }
    }
    chars.into_iter().collect()
}

/// Replaces one of the numbers of a line.
fn number(line: &str, random: &mut Random) -> String {
    let starts: Vec<usize> = line
        .char_indices()
        .filter(|(at, char)| is_digit(*char) && !line[..*at].ends_with(is_digit))
        .map(|(at, _)| at)
        .collect();
    let start = random.pick(&starts);
    let end = line[start..].find(|char| !is_digit(char)).map_or(line.len(), |at| start + at);
    let number = random.pick(&[
        "0",
        "-1",
        "1",
        "255",
        "256",
        "65535",
        "65536",
        "99999999999",
        "2 3",
        "1.5",
        "",
        "x",
        "0x1f",
        "+4",
    ]);
    format!("{}{number}{}", &line[..start], &line[end..])
}
