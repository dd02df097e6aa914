//! Keeps apart what several parts print at once.

/// Passes on the output of parts in their order: at once for the first one that hasn't ended, and for
/// each later one when those before it have. What is printed is then what would be if one ran after
/// the other.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The part whose turn it is.
    current: usize,
    parts: Vec<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lines: Vec<String>,
    ended: bool,
}

impl Turns {
    /// A part printed a line.
    pub(super) fn line(&mut self, part: usize, line: &str, print: &mut dyn FnMut(&str)) {
        if part == self.current {
            print(line);
        } else {
            self.held(part).lines.push(line.to_owned());
        }
    }

    /// A part has ended, and prints nothing more.
    pub(super) fn end(&mut self, part: usize, print: &mut dyn FnMut(&str)) {
        self.held(part).ended = true;
        while self.held(self.current).ended {
            self.current += 1;
            for line in self.held(self.current).lines.drain(..) {
                print(&line);
            }
        }
    }

    fn held(&mut self, part: usize) -> &mut Held {
        if self.parts.len() <= part {
            self.parts.resize_with(part + 1, Held::default);
        }
        &mut self.parts[part]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed after each event: a part and its line, or its end.
    fn printed(events: &[(usize, Option<&str>)]) -> Vec<Vec<String>> {
        let mut turns = Turns::default();
        let each = events.iter().map(|(part, line)| {
            let mut lines = Vec::new();
            let print = &mut |line: &str| lines.push(line.to_owned());
            match line {
                Some(line) => turns.line(*part, line, print),
                None => turns.end(*part, print),
            }
            lines
        });
        each.collect()
    }

    #[test]
    fn the_first_is_printed_at_once_and_the_others_when_it_is_their_turn() {
        let lines = printed(&[
            (1, Some("b1")),
            (0, Some("a1")),
            (1, Some("b2")),
            (0, None),
            (1, Some("b3")),
            (2, Some("c1")),
            (1, None),
        ]);
        let wanted: [&[&str]; 7] = [&[], &["a1"], &[], &["b1", "b2"], &["b3"], &[], &["c1"]];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn those_that_end_before_their_turn_are_printed_together() {
        let lines = printed(&[
            (2, Some("c1")),
            (2, None),
            (1, Some("b1")),
            (1, None),
            (0, Some("a1")),
            (0, None),
        ]);
        let wanted: [&[&str]; 6] = [&[], &[], &[], &[], &["a1"], &["b1", "c1"]];
        assert_eq!(lines, wanted);
    }
}
