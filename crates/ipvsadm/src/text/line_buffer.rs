//! Building lines of columns in memory. Apart from the kernel's work, this is most of the cost of a
//! list.

/// A line under construction.
pub(crate) trait LineBuffer {
    /// Appends a number in decimal digits.
    fn number(&mut self, number: u64);

    /// Appends a signed number in decimal digits.
    fn signed(&mut self, number: i32);

    /// Appends blanks until the text from `start` is `width` wide; longer text stays as it is.
    fn pad(&mut self, start: usize, width: usize);

    /// Appends a number, followed by blanks up to `width`.
    fn number_left(&mut self, number: u64, width: usize);

    /// Appends a number, preceded by blanks up to `width`.
    fn number_right(&mut self, number: u64, width: usize);

    /// Appends a text, followed by blanks up to `width`.
    fn text_left(&mut self, text: &[u8], width: usize);
}

impl LineBuffer for Vec<u8> {
    fn number(&mut self, number: u64) {
        self.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn signed(&mut self, number: i32) {
        self.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn pad(&mut self, start: usize, width: usize) {
        if self.len() < start + width {
            self.resize(start + width, b' ');
        }
    }

    fn number_left(&mut self, number: u64, width: usize) {
        let start = self.len();
        self.number(number);
        self.pad(start, width);
    }

    fn number_right(&mut self, number: u64, width: usize) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        self.pad(self.len(), width.saturating_sub(digits.len()));
        self.extend_from_slice(digits);
    }

    fn text_left(&mut self, text: &[u8], width: usize) {
        let start = self.len();
        self.extend_from_slice(text);
        self.pad(start, width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = b"|".to_vec();
        put(&mut line);
        line.push(b'|');
        String::from_utf8(line).unwrap()
    }

    /// The reference is Rust's formatting.
    #[test]
    fn columns_are_padded_and_never_cut() {
        for number in [0, 7, 1234, 99_999_999, u64::MAX] {
            for width in [0, 1, 4, 5, 8, 20, 21] {
                assert_eq!(
                    put(|line| line.number_left(number, width)),
                    format!("|{number:<width$}|")
                );
                assert_eq!(
                    put(|line| line.number_right(number, width)),
                    format!("|{number:>width$}|")
                );
                let text = number.to_string();
                assert_eq!(
                    put(|line| line.text_left(text.as_bytes(), width)),
                    format!("|{text:<width$}|")
                );
            }
            assert_eq!(put(|line| line.number(number)), format!("|{number}|"));
        }
        for number in [i32::MIN, -1, 0, i32::MAX] {
            assert_eq!(put(|line| line.signed(number)), format!("|{number}|"));
        }
    }
}
