//! Watching a table through a client.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::error::Error;
use crate::reconcile::watch::{TableChange, Watch};
use crate::transport::Transport;

impl Watch {
    /// Looks at the table, and returns what has changed since the last look: first the virtual
    /// services that are gone, then the others, both in the order of keys.
    ///
    /// # Errors
    ///
    /// As [`Client::snapshot`]. The next look then reports what has changed since the last one
    /// that succeeded.
    #[must_use = "changes are reported once"]
    pub fn poll<T: Transport>(
        &mut self,
        client: &mut Client<T>,
    ) -> Result<Vec<TableChange>, Error> {
        Ok(self.update(client.snapshot_with(&self.options)?))
    }

    /// An endless iterator over changes: looks at the table at once, and again `interval` after the
    /// last change found was consumed. An error is an item, too; the iterator continues after it.
    pub fn changes<T: Transport>(
        self,
        client: &mut Client<T>,
        interval: Duration,
    ) -> impl Iterator<Item = Result<TableChange, Error>> {
        Changes { watch: self, client, interval, found: VecDeque::new(), looked: false }
    }
}

struct Changes<'a, T: Transport> {
    watch: Watch,
    client: &'a mut Client<T>,
    interval: Duration,
    found: VecDeque<TableChange>,
    looked: bool,
}

impl<T: Transport> Iterator for Changes<'_, T> {
    type Item = Result<TableChange, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(change) = self.found.pop_front() {
                return Some(Ok(change));
            }
            if self.looked {
                thread::sleep(self.interval);
            }
            self.looked = true;
            match self.watch.poll(self.client) {
                Ok(changes) => self.found = changes.into(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
