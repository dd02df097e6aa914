//! Which command is told about changes of state, and when, without I/O.

use vrrp::State;

/// The commands of one table: one at a time, and the newest state wins while one is under way.
///
/// Say what happens in [`changed`](Self::changed) and [`ended`](Self::ended); start what
/// [`poll`](Self::poll) returns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifications {
    waiting: Option<State>,
    is_running: bool,
    /// What the last command was told.
    told: Option<State>,
}

impl Notifications {
    /// The state is this now. Whatever else waits to be told is out of date.
    pub(crate) fn changed(&mut self, state: State) {
        self.waiting = Some(state);
    }

    /// The command has ended.
    pub(crate) fn ended(&mut self) {
        self.is_running = false;
    }

    /// What to tell a command now. It counts as running then.
    pub(crate) fn poll(&mut self) -> Option<State> {
        if self.is_running {
            return None;
        }
        let state = self.waiting.take()?;
        // There and back, while the command before was under way.
        if self.told.replace(state) == Some(state) {
            return None;
        }
        self.is_running = true;
        Some(state)
    }

    /// Whether a command is under way, or has to be.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_running || self.waiting.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_state_wins_while_a_command_is_under_way() {
        let mut it = Notifications::default();
        assert!(!it.is_busy());
        it.changed(State::Backup);
        assert!(it.is_busy());
        assert_eq!((it.poll(), it.poll()), (Some(State::Backup), None));
        it.changed(State::Active);
        it.changed(State::Backup);
        it.changed(State::Initialize);
        assert_eq!(it.poll(), None, "one at a time");
        it.ended();
        assert_eq!((it.poll(), it.poll()), (Some(State::Initialize), None));
        it.ended();
        assert_eq!((it.poll(), it.is_busy()), (None, false));
    }

    #[test]
    fn what_the_last_command_was_told_is_no_news() {
        let mut it = Notifications::default();
        it.changed(State::Active);
        assert_eq!(it.poll(), Some(State::Active));
        it.changed(State::Backup);
        it.changed(State::Active);
        it.ended();
        assert_eq!((it.poll(), it.is_busy()), (None, false));
    }
}
