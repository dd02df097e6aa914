//! Patterns mean what they mean to Perl, or are refused. The reference is perl(1), which every
//! Debian and Ubuntu has.

use std::io::Write as _;
use std::process::{Command, Stdio};

use probe::Pattern;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// For each line "PATTERN SUBJECT" in hexadecimal, prints whether the pattern matches: 0, 1, or E
/// if Perl refuses it. The pattern is interpolated as a string, as ldirectord does it.
const SCRIPT: &str = r#"
    no warnings;
    local $SIG{ALRM} = sub { die "perl took too long\n" };
    alarm 120;
    while (<STDIN>) {
        chomp;
        my ($pattern, $subject) = map { pack 'H*', $_ } (split / /, $_, -1);
        my $found = eval { $subject =~ /$pattern/ ? 1 : 0 };
        print defined $found ? $found : 'E', "\n";
    }
"#;

/// Perl's verdict on each pair.
fn perl(pairs: &[(String, Vec<u8>)]) -> Vec<char> {
    let hexadecimal =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let input: String = pairs
        .iter()
        .map(|(pattern, subject)| {
            format!("{} {}\n", hexadecimal(pattern.as_bytes()), hexadecimal(subject))
        })
        .collect();
    let mut child = Command::new("perl")
        .args(["-e", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl is needed (package perl-base)");
    let mut stdin = child.stdin.take().expect("it's piped");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("perl runs");
    writer.join().expect("the writer doesn't panic").expect("perl reads all");
    assert!(output.status.success(), "perl: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("perl prints ASCII");
    let found: Vec<char> = text.lines().filter_map(|line| line.chars().next()).collect();
    assert_eq!(found.len(), pairs.len());
    found
}

/// The pairs on which our verdict and Perl's differ.
fn differences(pairs: &[(String, Vec<u8>)]) -> Vec<String> {
    let theirs = perl(pairs);
    let mut differences = Vec::new();
    for ((pattern, subject), theirs) in pairs.iter().zip(theirs) {
        let Ok(ours) = Pattern::perl(pattern) else { continue };
        // Perl refuses some braces that can only be literal.
        if theirs == 'E' && pattern.contains('{') {
            continue;
        }
        let ours = if ours.is_match(subject) { '1' } else { '0' };
        if ours != theirs {
            let subject = subject.escape_ascii();
            differences
                .push(format!("{pattern:?} in b\"{subject}\": ours {ours}, Perl's {theirs}"));
        }
    }
    differences
}

/// Patterns as found in files, and constructs that the two dialects read differently.
const PATTERNS: [&str; 66] = [
    "ok",
    "Test Page",
    "webserverisworking",
    "OK web[0-9]+",
    "10.10.10.53",
    "^OK$",
    "OK$",
    r"OK\Z",
    r"OK\z",
    r"\AOK",
    "(OK$|GOOD$)",
    "((OK$)|x)",
    "(?i)ok",
    "a(?i)b|c",
    "(?s)a.b",
    "a.b",
    "(?i:O)K",
    "[[:alpha:]]+[[:digit:]]",
    "[[:^digit:]]",
    "[[:word:]]",
    "[a[b]",
    "[a&&b]",
    "[a~~b]",
    "[]a]",
    "[^]a]",
    "[a-]",
    "[-a]",
    "[+--]",
    r"[\d-]",
    r"[\w.-]+",
    r"[a\]b]",
    r"[\b]",
    r"[\x41-\x43]",
    r"\x41",
    r"\x{42}",
    r"\<b\>",
    r"\/health",
    r"a\.b",
    r"\-\_\ \#\@",
    "a{2}",
    "a{2,}",
    "a{1,2}b",
    "a{x}",
    "{\"status\":\"up\"}",
    r#""status": *"(up|ok)""#,
    "a}",
    "a]",
    "a+?b",
    "a??b",
    "é",
    "é+",
    "[é]",
    "[^é]",
    r"\bOK\b",
    r"\BK",
    r"\h\v",
    r"[\h]",
    r"\H\V",
    r"a\Nb",
    r"\s",
    r"\d\D\w\W",
    r"\e\a\f\t\r\n",
    "a|",
    "()",
    "(?<name>a)b",
    "^",
];

const SUBJECTS: [&[u8]; 45] = [
    b"",
    b"\n",
    b"OK",
    b"OK\n",
    b"OK\n\n",
    b"\nOK",
    b"NOT OK",
    b"ok",
    b"OK web12\r\n",
    b"10x10x10x53",
    b"Test Page",
    b"webserverisworking\n",
    b"GOOD\nx",
    b"a\nb",
    b"axb",
    b"ab",
    b"aab",
    b"aaaB",
    b"a",
    b"&",
    b"~",
    b"[",
    b"]",
    b"^",
    b"-",
    b"+,-",
    b"\x08",
    b"B",
    b"<b>",
    b"/health",
    b"a.b",
    b"-_ #@",
    b"a{x}",
    b"{\"status\":\"up\"}",
    b"{\"status\": \"ok\"}",
    b"}",
    "é".as_bytes(),
    "éé".as_bytes(),
    b"\xC3",
    b"\xA9\xA9",
    b"\xA0\x85",
    b" \x0B",
    b"\x1B\x07\x0C\t\r\n",
    b"5x_.",
    b"\x00\xFF",
];

#[test]
fn known_patterns_mean_the_same() {
    let pairs: Vec<_> = PATTERNS
        .iter()
        .flat_map(|pattern| SUBJECTS.iter().map(|it| ((*pattern).to_owned(), it.to_vec())))
        .collect();
    let differences = differences(&pairs);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for pattern in PATTERNS {
        let refused = ["[+--]", r"[\d-]"];
        let accepted = Pattern::perl(pattern).is_ok();
        assert!(accepted || refused.contains(&pattern), "{pattern}: {:?}", Pattern::perl(pattern));
    }
}

#[test]
fn unsupported_constructs_are_refused_where_they_stand() {
    for (pattern, offset, what) in [
        ("a(?=b)", 1, "look-ahead"),
        ("a(?!b)", 1, "look-ahead"),
        ("(?<=a)b", 0, "look-behind"),
        ("(?<!a)b", 0, "look-behind"),
        ("x(?>a)", 1, "atomic"),
        (r"(a)\1", 3, "back-reference"),
        (r"(a)\g1", 3, "back-reference"),
        (r"(?<n>a)\k<n>", 7, "back-reference"),
        ("a++", 1, "possessive"),
        ("a*+", 1, "possessive"),
        ("a{2}+", 1, "possessive"),
        ("(?m)^a", 0, "flag `m`"),
        ("(?x) a", 0, "flag `x`"),
        ("(?i-m:a)", 0, "flag `m`"),
        (r"\p{L}", 0, "Unicode property"),
        (r"\Qa\E", 0, r"escape `\Q`"),
        (r"\R", 0, r"escape `\R`"),
        ("a$b", 2, "after `$`"),
        (r"(a$)\n", 4, "after `$`"),
        ("(?:x|(a$))?", 10, "after `$`"),
        ("a{,3}", 1, "before 5.34"),
        ("(?#x)", 0, "comment"),
        ("(?R)", 0, "recursion"),
        ("(?{1})", 0, "code"),
        ("(*FAIL)", 0, "verb"),
        ("a)", 1, "without a `(`"),
        ("(a", 0, "unclosed group"),
        ("[a", 0, "without a `]`"),
        ("x[z-a]", 2, "ends before it begins"),
        ("[a-é]", 1, "ASCII"),
        ("[[:foo:]]", 1, "POSIX"),
        ("*a", 0, "missing expression"),
        ("a\\", 1, "at the end"),
        (r"\x{100}", 0, "two hexadecimal digits"),
        (r"\x4", 0, "two hexadecimal digits"),
        ("é(?=x)", 2, "look-ahead"),
        ("a{999999}", 0, "1 MiB"),
    ] {
        let error = Pattern::perl(pattern).expect_err(pattern);
        assert_eq!(error.offset(), offset, "{pattern}: {error}");
        assert!(error.what().contains(what), "{pattern}: {error}");
    }
}

/// Pieces from which random patterns are built.
const PIECES: [&str; 64] = [
    "a",
    "b",
    "é",
    ".",
    "^",
    "$",
    "|",
    "(",
    ")",
    "[",
    "]",
    "[^",
    "-",
    "a-c",
    "*",
    "+",
    "?",
    "{2}",
    "{1,2}",
    "{,2}",
    "{",
    "}",
    ",",
    "2",
    r"\d",
    r"\w",
    r"\s",
    r"\D",
    r"\S",
    r"\b",
    r"\B",
    r"\A",
    r"\z",
    r"\Z",
    r"\n",
    r"\t",
    r"\x41",
    r"\x{61}",
    r"\x",
    r"\\",
    r"\.",
    r"\<",
    r"\>",
    r"\-",
    r"\]",
    r"\h",
    r"\v",
    r"\N",
    r"\R",
    r"\e",
    r"\1",
    r"\Q",
    "(?i)",
    "(?s)",
    "(?:",
    "(?=",
    "(?m)",
    "[:alpha:]",
    "[:^digit:]",
    "&&",
    "~~",
    "--",
    "\n",
    " ",
];

/// How many random patterns; `PROBE_TEST_PATTERNS` sets another number. The first ones are always
/// the same.
fn random_patterns() -> usize {
    std::env::var("PROBE_TEST_PATTERNS").map_or(4_000, |count| count.parse().expect("a number"))
}

#[test]
fn random_patterns_mean_the_same_or_are_refused() {
    let pattern = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 1..7)
        .prop_map(|pieces| pieces.concat());
    let subject = prop::collection::vec(
        prop::sample::select(b"aabbA2 .-]\\<\n\n\t\r\xC3\xA9\xA0\x85\x0B&~{,}".to_vec()),
        0..6,
    );
    let mut runner = TestRunner::deterministic();
    let mut pairs = Vec::new();
    for _ in 0..random_patterns() {
        let pattern = pattern.new_tree(&mut runner).unwrap().current();
        for _ in 0..4 {
            pairs.push((pattern.clone(), subject.new_tree(&mut runner).unwrap().current()));
        }
    }
    let accepted = pairs.iter().filter(|(pattern, _)| Pattern::perl(pattern).is_ok()).count();
    assert!(accepted > pairs.len() / 5, "only {accepted} of {} were accepted", pairs.len());
    let differences = differences(&pairs);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
