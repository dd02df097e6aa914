//! Numbers as `strtol` and `atoi` read them, and as the columns of lists show them.

use std::ops::RangeInclusive;

use crate::text::line_buffer::LineBuffer as _;

/// 31 days, in seconds: the longest timeout that an option takes.
pub(crate) const TIMEOUT_MAX: i64 = 31 * 24 * 60 * 60;

/// The result of `strtol(text, &end, 10)`, which reads leading white space, a sign and digits.
struct Strtol<'a> {
    /// The number; the nearest `i64` if it is out of range.
    value: i64,
    in_range: bool,
    /// What follows the digits.
    rest: &'a [u8],
}

/// `None` if there are no digits.
fn strtol(text: &[u8]) -> Option<Strtol<'_>> {
    // isspace(3) of the C locale; is_ascii_whitespace lacks the vertical tab.
    let space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = text.iter().position(|b| !space(b))?;
    let text = &text[start..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    let value = digits.iter().try_fold(0i64, |value, digit| {
        value.checked_mul(10)?.checked_add(sign * i64::from(digit - b'0'))
    });
    let limit = if negative { i64::MIN } else { i64::MAX };
    Some(Strtol { value: value.unwrap_or(limit), in_range: value.is_some(), rest })
}

/// Reads a whole text as a number within `range`.
pub(crate) fn parse<T: TryFrom<i64>>(text: &[u8], range: RangeInclusive<i64>) -> Option<T> {
    let number = strtol(text)?;
    let valid = number.rest.is_empty() && number.in_range && range.contains(&number.value);
    if valid { T::try_from(number.value).ok() } else { None }
}

/// Reads a text as glibc's `atoi` does: it ignores what follows the digits, reads 0 if there are
/// none, and drops the upper bits of a number that is too large.
pub(crate) fn atoi(text: &[u8]) -> i32 {
    #[allow(clippy::cast_possible_truncation, reason = "as atoi does")]
    strtol(text).map_or(0, |number| number.value as i32)
}

/// The same 32 bits as a signed number, which is how the C program shows and compares some numbers.
pub(crate) fn signed(number: u32) -> i32 {
    i32::from_ne_bytes(number.to_ne_bytes())
}

/// How lists of statistics show large numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// In thousands (`K`), millions (`M`) and so on, so that they fit the column.
    Short,
    /// In full.
    Exact,
}

/// Appends a statistics column: a blank and a number, at least 9 characters wide.
pub(crate) fn column(line: &mut Vec<u8>, number: u64, scale: Scale) {
    const THOUSAND: u64 = 1_000;
    const MILLION: u64 = 1_000_000;
    const BILLION: u64 = 1_000_000_000;
    const TRILLION: u64 = 1_000_000_000_000;
    let (unit, letter) = match (scale, number) {
        (_, 0..100_000_000) => return line.number_right(number, 9),
        (Scale::Exact, _) => {
            line.push(b' ');
            return line.number(number);
        }
        (Scale::Short, ..BILLION) => (THOUSAND, b'K'),
        (Scale::Short, 0..100_000_000_000) => (MILLION, b'M'),
        (Scale::Short, 0..100_000_000_000_000) => (BILLION, b'G'),
        (Scale::Short, _) => (TRILLION, b'T'),
    };
    line.number_right(number / unit, 8);
    line.push(letter);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(text: &str) -> Option<u32> {
        parse(text.as_bytes(), 0..=2_147_483_647)
    }

    /// What the C program does with each as a weight.
    #[test]
    fn a_number_is_a_whole_word() {
        assert_eq!(weight("7"), Some(7));
        assert_eq!(weight(" 7"), Some(7));
        assert_eq!(weight("\x0b\x0c7"), Some(7));
        assert_eq!(weight("+7"), Some(7));
        assert_eq!(weight("007"), Some(7));
        assert_eq!(weight("-0"), Some(0));
        assert_eq!(weight("2147483647"), Some(2_147_483_647));
        for bad in [
            "",
            "-",
            "+",
            " ",
            "7 ",
            "7x",
            "0x7",
            "--7",
            "+-7",
            "- 7",
            "-1",
            "2147483648",
            "4294967297",
            "99999999999999999999",
            "18446744073709551617",
            "-99999999999999999999",
        ] {
            assert_eq!(weight(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_limits_of_long_are_read() {
        let any = i64::MIN..=i64::MAX;
        assert_eq!(parse::<i64>(b"9223372036854775807", any.clone()), Some(i64::MAX));
        assert_eq!(parse::<i64>(b"-9223372036854775808", any.clone()), Some(i64::MIN));
        assert_eq!(parse::<i64>(b"9223372036854775808", any), None);
    }

    #[test]
    fn atoi_is_lenient() {
        assert_eq!(atoi(b" 64x"), 64);
        assert_eq!(atoi(b"+64"), 64);
        assert_eq!(atoi(b"4294967360"), 64);
        assert_eq!(atoi(b""), 0);
        assert_eq!(atoi(b"x"), 0);
        // strtol stops at LONG_MAX and LONG_MIN, whose low halves are -1 and 0.
        assert_eq!(atoi(b"18446744073709551617"), -1);
        assert_eq!(atoi(b"-99999999999999999999999"), 0);
    }

    #[test]
    fn columns_scale_as_in_the_c_program() {
        for (number, short, exact) in [
            (0, "        0", "        0"),
            (99_999_999, " 99999999", " 99999999"),
            (100_000_000, "  100000K", " 100000000"),
            (999_999_999, "  999999K", " 999999999"),
            (1_000_000_000, "    1000M", " 1000000000"),
            (99_999_999_999, "   99999M", " 99999999999"),
            (100_000_000_000, "     100G", " 100000000000"),
            (99_999_999_999_999, "   99999G", " 99999999999999"),
            (100_000_000_000_000, "     100T", " 100000000000000"),
            (u64::MAX, "18446744T", " 18446744073709551615"),
        ] {
            for (scale, expected) in [(Scale::Short, short), (Scale::Exact, exact)] {
                let mut line = Vec::new();
                column(&mut line, number, scale);
                assert_eq!(line, expected.as_bytes());
            }
        }
    }
}
