//! Values: numbers, yes or no, words, quoted texts.

use super::source::{Diagnostic, Spanned, Text};

/// A value, and possibly a warning about how it was read.
pub(super) type Read<T> = Result<(Spanned<T>, Option<Diagnostic>), Diagnostic>;

/// The first number anywhere in the value, which is how the original program reads numbers.
pub(super) fn number(value: Text<'_>) -> Read<u32> {
    let is_digit = |char: char| char.is_ascii_digit();
    let Some(start) = value.text.find(is_digit) else {
        return Err(Diagnostic::error(value.span(), "a number is needed here"));
    };
    let length = value.text[start..].find(|char| !is_digit(char));
    let end = length.map_or(value.text.len(), |length| start + length);
    let digits = value.slice(start..end);
    let Ok(number) = digits.text.parse() else {
        return Err(Diagnostic::error(digits.span(), "this number is too large"));
    };
    let rest = [value.slice(0..start), value.from(end)].into_iter().find(|it| !it.text.is_empty());
    let warning = rest.filter(|rest| !rest.text.trim_start().starts_with('#')).map(|rest| {
        Diagnostic::warning(rest.trim().span(), format!("only the number {number} is read here"))
            .help("put another directive, or a comment, on a line of its own")
    });
    Ok((digits.with(number), warning))
}

/// A number that is at least 1.
pub(super) fn positive(value: Text<'_>) -> Read<u32> {
    match number(value)? {
        (number, _) if number.value == 0 => {
            Err(Diagnostic::error(number.span, "0 can't be used here: write a number from 1 on"))
        }
        read => Ok(read),
    }
}

/// `yes` or `no`.
pub(super) fn yes_or_no(value: Text<'_>) -> Read<bool> {
    match value.text {
        "yes" => Ok((value.with(true), None)),
        "no" => Ok((value.with(false), None)),
        text => {
            let error = Diagnostic::error(value.span(), "either yes or no has to stand here");
            let comment = text.contains('#');
            Err(if comment {
                error.help("a comment can't follow a global directive: put it on a line of its own")
            } else {
                error
            })
        }
    }
}

/// The text between the first and the last double quote.
pub(super) fn quoted(value: Text<'_>) -> Read<String> {
    let inside = value.text.strip_prefix('"').and_then(|rest| rest.rfind('"'));
    match inside {
        None => {
            let error = Diagnostic::error(value.span(), "this has to stand in double quotes");
            Err(error.help(format!("write \"{}\"", value.text.trim_matches('"'))))
        }
        Some(0) => Err(Diagnostic::error(value.span(), "there has to be something in the quotes")),
        Some(end) => {
            let rest = value.from(end + 2).trim();
            let warning = (!rest.text.is_empty())
                .then(|| Diagnostic::warning(rest.span(), "what follows the quotes isn't read"));
            let inside = value.slice(1..end + 1);
            Ok((inside.with(inside.text.to_owned()), warning))
        }
    }
}

/// A text, in double quotes or not.
pub(super) fn text(value: Text<'_>) -> Read<String> {
    if value.text.starts_with('"') && value.text[1..].contains('"') {
        return quoted(value);
    }
    if value.text.is_empty() {
        return Err(Diagnostic::error(value.span(), "a value is missing here"));
    }
    Ok((value.with(value.text.to_owned()), None))
}

/// One of a list of words.
pub(super) fn one_of<T: Copy>(value: Text<'_>, words: &[(&str, T)]) -> Read<T> {
    if let Some((_, found)) = words.iter().find(|(word, _)| *word == value.text) {
        return Ok((value.with(*found), None));
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let error = Diagnostic::error(value.span(), format!("this is none of {}", listed(&names)));
    let lower = value.text.to_lowercase();
    Err(match closest(&lower, &names) {
        Some(word) => error.help(format!("did you mean `{word}`?")),
        None => error,
    })
}

/// The most likely word for a misspelled one, if there is one.
///
/// ```
/// assert_eq!(ldirectord::closest("lbrc", &["rr", "lblc", "wlc"]), Some("lblc"));
/// assert_eq!(ldirectord::closest("fastest", &["rr", "lblc", "wlc"]), None);
/// ```
pub fn closest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| strsim::osa_distance(text, word);
    let nearest = words.iter().min_by_key(|word| distance(word))?;
    (distance(nearest) <= 1 + nearest.len() / 4).then_some(*nearest)
}

/// "a, b and c".
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} and {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Text<'_> {
        Text { text, start: 10 }
    }

    #[test]
    fn the_first_number_counts_and_what_is_dropped_is_said() {
        let read = |text: &'static str| {
            let (number, warning) = number(of(text)).unwrap();
            (number.value, number.span, warning.map(|it| it.span))
        };
        assert_eq!(read("30"), (30, 10..12, None));
        assert_eq!(read("30 checkinterval=2"), (30, 10..12, Some(13..28)));
        assert_eq!(read("5 # every 2"), (5, 10..11, None));
        assert_eq!(read("# 3"), (3, 12..13, None));
        assert!(number(of("x")).is_err() && number(of("")).is_err());
        assert!(number(of("4294967296")).is_err());
        assert!(positive(of("0")).is_err());
    }

    #[test]
    fn quotes_reach_from_the_first_to_the_last() {
        let (text, warning) = quoted(of("\"a \"b\" c\" d")).unwrap();
        assert_eq!((&*text.value, text.span), ("a \"b\" c", 11..18));
        assert_eq!(warning.map(|it| it.span), Some(20..21));
        for wrong in ["a", "\"\"", "\"a", "\""] {
            assert!(quoted(of(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_word_is_guessed_if_it_is_near() {
        let words = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr"];
        assert_eq!(closest("lbrc", &words), Some("lblc"));
        assert_eq!(closest("lbic", &words), Some("lblc"));
        assert_eq!(closest("zzzzzz", &words), None);
    }
}
