//! Carrying commands out.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::mem;

use ipvs::{
    Connection, DestinationEntry, DestinationSummary, ErrorKind, Info, ServiceEntry, Summaries,
    SyncDaemon, SyncRole, Timeouts,
};

use crate::cli::command::{Command, ConnectionFilter, List, Listed};
use crate::cli::help;
use crate::cli::parse::{self, Dialect, Parsed};
use crate::run::kernel::{self, Kernel, Refusal};
use crate::run::lines::{Input, Lines};
use crate::run::output::Output;
use crate::run::save::{self, AllRules, Rules};
use crate::text::connections::ConnectionTable;
use crate::text::json::{self, Document};
use crate::text::list::{self, Counts, Format, Table};
use crate::text::messages::{self, UsageError};
use crate::text::names::{EndpointText, Resolver};
use crate::text::sort;

/// The codes that the C tool exits with, but for those of [`UsageError::exit_code`].
pub(super) mod exit {
    pub(in crate::run) const SUCCESS: u8 = 0;
    /// What was to be shown couldn't be read.
    pub(in crate::run) const UNREADABLE: u8 = 1;
    /// There is no IPVS for this user.
    pub(in crate::run) const NO_IPVS: u8 = 2;
    /// Lines of a strict restore are wrong.
    pub(in crate::run) const WRONG: u8 = 2;
    /// The kernel refused a change.
    pub(in crate::run) const REFUSED: u8 = 255;
}

/// A run of the tool.
pub(crate) struct Tool<'a> {
    /// What it was called as, which messages quote.
    pub(crate) program: OsString,
    pub(crate) dialect: Dialect,
    pub(crate) names: &'a dyn Resolver,
    pub(crate) out: &'a mut Output,
}

/// What a command line asks for.
pub(super) enum Task {
    /// Help or the version.
    Print(String),
    Command(Command),
}

/// How a command line ended.
struct Outcome {
    code: u8,
    /// Whether a restore stops there.
    ends_restore: bool,
}

impl Tool<'_> {
    /// Carries a command line out and returns the exit code. `stdin` is what a restore reads.
    ///
    /// # Errors
    ///
    /// If standard output can't be written or `stdin` can't be read.
    pub(crate) fn run(&mut self, words: &[OsString], stdin: impl Input) -> anyhow::Result<u8> {
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        let task = self.interpret(&words);
        if let Ok(Task::Print(text)) = &task {
            self.out.write_all(text.as_bytes())?;
            return Ok(exit::SUCCESS);
        }
        if let Ok(Task::Command(Command::RestoreStrictly)) = task {
            return self.restore_strictly(stdin);
        }
        // A missing IPVS is complained of before any mistake in the command line.
        let Some(mut kernel) = self.connect()? else { return Ok(exit::NO_IPVS) };
        match task {
            Ok(Task::Command(Command::Restore)) => self.restore(&mut kernel, stdin),
            task => Ok(self.carry_out(&mut kernel, task)?.code),
        }
    }

    /// Complains if there is no IPVS for this user.
    pub(super) fn connect(&mut self) -> io::Result<Option<Kernel>> {
        match Kernel::connect() {
            Ok(kernel) => Ok(Some(kernel)),
            Err(error) => {
                let message = messages::no_ipvs(&error, kernel::may_open_raw_sockets());
                self.out.complain(message.as_bytes())?;
                Ok(None)
            }
        }
    }

    pub(super) fn interpret(&self, words: &[&OsStr]) -> Result<Task, UsageError> {
        if words.is_empty() {
            return Ok(Task::Command(Command::List(List::everything())));
        }
        Ok(match parse::parse(words, self.dialect, self.names)? {
            Parsed::Help => Task::Print(help::help()),
            Parsed::Version => Task::Print(help::version()),
            Parsed::Command(args) => Task::Command(Command::new(&args)?),
        })
    }

    /// Runs each line of `input` as a command line. Changes go to the kernel together, but for
    /// what anybody can see it is as if each went by itself: nothing else is done before them, and
    /// none of them waits for a line that is still to come.
    fn restore(&mut self, kernel: &mut Kernel, input: impl Input) -> anyhow::Result<u8> {
        let mut lines = Lines::new(input);
        let mut code = exit::SUCCESS;
        loop {
            if kernel.has_put_off_enough() || !lines.has_next_line() {
                self.catch_up(kernel, &mut code)?;
            }
            let words = match lines.next_line() {
                Ok(Some(words)) => words,
                end => {
                    self.catch_up(kernel, &mut code)?;
                    end?;
                    return Ok(code);
                }
            };
            if words.is_empty() {
                continue;
            }
            match self.interpret(&words) {
                Ok(Task::Command(Command::Change(change))) => kernel.put_off(&change),
                Ok(Task::Command(Command::Update(update))) => kernel.put_off_update(update),
                task => {
                    self.catch_up(kernel, &mut code)?;
                    let outcome = self.carry_out(kernel, task)?;
                    code = outcome.code;
                    if outcome.ends_restore {
                        return Ok(code);
                    }
                }
            }
        }
    }

    /// Carries out the changes that wait. The exit code is that of the last of them.
    fn catch_up(&mut self, kernel: &mut Kernel, code: &mut u8) -> io::Result<()> {
        let mut written = Ok(());
        kernel.catch_up(|result| {
            *code = exit::SUCCESS;
            if let Err(refusal) = result {
                *code = exit::REFUSED;
                let complaint = self.out.complain(refusal.message().as_bytes());
                written = mem::replace(&mut written, Ok(())).and(complaint);
            }
        });
        written
    }

    fn carry_out(
        &mut self,
        kernel: &mut Kernel,
        task: Result<Task, UsageError>,
    ) -> io::Result<Outcome> {
        match task {
            Err(error) => self.refuse(&error),
            Ok(Task::Print(text)) => {
                self.out.write_all(text.as_bytes())?;
                Ok(Outcome { code: exit::SUCCESS, ends_restore: true })
            }
            Ok(Task::Command(Command::Change(change))) => {
                self.changed(kernel.client.change(&change).map_err(Refusal::Kernel))
            }
            Ok(Task::Command(Command::Update(update))) => self.changed(kernel.update(&update)),
            Ok(Task::Command(Command::List(list))) => {
                let shown = self.list(kernel, &list);
                self.shown(shown)
            }
            Ok(Task::Command(Command::Save { numeric, all: false })) => {
                let shown = self.save(kernel, numeric);
                self.shown(shown)
            }
            Ok(Task::Command(Command::Save { all: true, .. })) => {
                let shown = self.save_all(kernel);
                self.shown(shown)
            }
            // They are no commands within a restore.
            Ok(Task::Command(Command::Restore | Command::RestoreStrictly)) => {
                self.refuse(&UsageError::NoCommand)
            }
        }
    }

    fn changed(&mut self, changed: Result<(), Refusal>) -> io::Result<Outcome> {
        let Err(refusal) = changed else {
            return Ok(Outcome { code: exit::SUCCESS, ends_restore: false });
        };
        self.out.complain(refusal.message().as_bytes())?;
        Ok(Outcome { code: exit::REFUSED, ends_restore: false })
    }

    fn refuse(&mut self, error: &UsageError) -> io::Result<Outcome> {
        self.out.complain(&error.message(&self.program))?;
        Ok(Outcome { code: error.exit_code(), ends_restore: error.ends_restore() })
    }

    fn shown(&mut self, shown: Result<(), ShowError>) -> io::Result<Outcome> {
        let message = match shown {
            Ok(()) => return Ok(Outcome { code: exit::SUCCESS, ends_restore: false }),
            Err(ShowError::Output(error)) => return Err(error),
            Err(ShowError::Kernel(error)) => messages::kernel_error(&error),
            Err(ShowError::Inexact(objects)) => objects
                .iter()
                .map(|object| format!("no command line brings back as it is: {object}\n"))
                .collect(),
            Err(ShowError::NoConnectionList) => messages::NO_CONNECTION_LIST.to_owned() + "\n",
            Err(ShowError::NoSuchService) => messages::NO_SUCH_SERVICE.to_owned() + "\n",
        };
        self.out.complain(message.as_bytes())?;
        Ok(Outcome { code: exit::UNREADABLE, ends_restore: true })
    }

    fn list(&mut self, kernel: &mut Kernel, list: &List) -> Result<(), ShowError> {
        // The C tool shows rates as the kernel reports them, even if it estimates none any more.
        kernel.client.set_stale_rates(!list.json);
        if list.json {
            return self.list_json(kernel, list);
        }
        let names = self.names;
        let text = || EndpointText::new(list.numeric, names);
        let mut table = Table::new(&mut *self.out, text(), list.format, list.scale);
        match list.what {
            Listed::Table => {
                table.version(kernel.info.version, kernel.info.connection_table_size)?;
                let services = kernel.client.services()?;
                table.titles()?;
                // This format shows nothing that the summaries don't tell.
                let summaries =
                    (list.format == Format::Plain).then(|| kernel.client.summaries(services.len()));
                for service in in_order(&services, list.sorted, sort::services) {
                    if let Some(summaries) = &summaries {
                        let servers = server_summaries(kernel, summaries, service)?;
                        let servers = in_order(&servers, list.sorted, sort::summaries);
                        write_summary(&mut table, service, &servers)?;
                        continue;
                    }
                    let servers = servers(kernel, service)?;
                    let servers = in_order(&servers, list.sorted, sort::destinations);
                    write_service(&mut table, service, &servers)?;
                }
            }
            Listed::Service(key) => {
                let service = kernel.client.service(&key)?.ok_or(ShowError::NoSuchService)?;
                table.titles()?;
                let servers = servers(kernel, &service)?;
                let servers = in_order(&servers, list.sorted, sort::destinations);
                write_service(&mut table, &service, &servers)?;
            }
            Listed::Connections { engine, only } => {
                let mut table = ConnectionTable::new(&mut *self.out, text(), engine);
                let connections = connections(kernel, only)?;
                table.titles()?;
                for connection in connections {
                    table.connection(&connection?)?;
                }
            }
            Listed::Timeouts => {
                let Timeouts { tcp, tcp_fin, udp, .. } = kernel.client.timeouts()?;
                list::write_timeouts(self.out, [tcp, tcp_fin, udp])?;
            }
            Listed::Daemons => {
                let daemons = kernel.client.sync_daemons()?;
                for daemon in master_first(&daemons) {
                    list::write_daemon(self.out, daemon)?;
                }
            }
        }
        Ok(())
    }

    fn list_json(&mut self, kernel: &mut Kernel, list: &List) -> Result<(), ShowError> {
        let out = &mut *self.out;
        match list.what {
            Listed::Table | Listed::Service(_) => {
                let services = match list.what {
                    Listed::Service(key) => {
                        vec![kernel.client.service(&key)?.ok_or(ShowError::NoSuchService)?]
                    }
                    _ => kernel.client.services()?,
                };
                let Info { version, connection_table_size, .. } = kernel.info;
                let mut document = Document::services(out, version, connection_table_size)?;
                for service in in_order(&services, list.sorted, sort::services) {
                    let servers = servers(kernel, service)?;
                    let servers = in_order(&servers, list.sorted, sort::destinations)
                        .into_iter()
                        .map(|server| (&server.destination, counts(server), &server.stats));
                    document.service(&service.service, &service.stats, servers)?;
                }
                document.end()?;
            }
            Listed::Connections { only, .. } => {
                let connections = connections(kernel, only)?;
                let mut document = Document::connections(out)?;
                for connection in connections {
                    document.connection(&connection?)?;
                }
                document.end()?;
            }
            Listed::Timeouts => {
                let Timeouts { tcp, tcp_fin, udp, .. } = kernel.client.timeouts()?;
                json::write_timeouts(out, [tcp, tcp_fin, udp])?;
            }
            Listed::Daemons => {
                let daemons = kernel.client.sync_daemons()?;
                let mut document = Document::daemons(out)?;
                for daemon in master_first(&daemons) {
                    document.daemon(daemon)?;
                }
                document.end()?;
            }
        }
        Ok(())
    }

    /// Saves what the C tool leaves out, too. The table is read until two passes agree: it is to be
    /// restored.
    fn save_all(&mut self, kernel: &mut Kernel) -> Result<(), ShowError> {
        let mut rules = AllRules::new(|words: &[&OsStr]| match self.interpret(words) {
            Ok(Task::Command(Command::Change(change))) => Some(change),
            _ => None,
        });
        // As for `save`.
        kernel.client.set_stale_rates(true);
        rules.timeouts(&kernel.client.timeouts()?);
        let snapshot = kernel.client.snapshot()?;
        let services: Vec<_> =
            snapshot.services().iter().map(|service| service.entry.clone()).collect();
        for service in sort::services(&services) {
            let key = &service.service.key;
            if rules.service(&service.service) {
                let servers = snapshot.service(key).map_or(&[][..], |it| &it.destinations);
                for server in sort::destinations(servers) {
                    rules.server(key, &server.destination);
                }
            }
        }
        for daemon in master_first(&kernel.client.sync_daemons()?) {
            rules.daemon(daemon);
        }
        let AllRules { text, inexact, .. } = rules;
        self.out.write_all(&text)?;
        if inexact.is_empty() { Ok(()) } else { Err(ShowError::Inexact(inexact)) }
    }

    fn save(&mut self, kernel: &mut Kernel, numeric: bool) -> Result<(), ShowError> {
        let text = EndpointText::new(numeric, self.names);
        let mut rules = Rules::new(&mut *self.out, text);
        // Rules have no rates, so it needn't be known whether these mean anything.
        kernel.client.set_stale_rates(true);
        let services = kernel.client.services()?;
        let mut changed = String::new();
        for service in sort::services(&services) {
            rules.service(&service.service)?;
            changed += &save::saved_timeout_message(&service.service);
            for server in sort::destinations(&servers(kernel, service)?) {
                rules.server(&service.service.key, &server.destination)?;
            }
        }
        if !changed.is_empty() {
            self.out.complain(changed.as_bytes())?;
        }
        Ok(())
    }
}

fn servers(
    kernel: &mut Kernel,
    service: &ServiceEntry,
) -> Result<Vec<DestinationEntry>, ipvs::Error> {
    match kernel.client.destinations(&service.service.key) {
        // Deleted since it was listed, its servers with it.
        Err(error) if error.kind() == ErrorKind::ServiceNotFound => Ok(Vec::new()),
        result => result,
    }
}

/// The connections that a filter admits. That there is something to read, the C tool finds out before it writes titles.
fn connections(
    kernel: &mut Kernel,
    only: ConnectionFilter,
) -> Result<impl Iterator<Item = Result<Connection, ipvs::Error>>, ShowError> {
    let connections = kernel.client.connections().map_err(|_| ShowError::NoConnectionList)?;
    let mut connections = connections.peekable();
    match connections.next_if(Result::is_err) {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(connections.filter(move |connection| {
            connection.as_ref().map_or(true, |connection| only.admits(connection))
        })),
    }
}

fn server_summaries(
    kernel: &mut Kernel,
    summaries: &Summaries,
    service: &ServiceEntry,
) -> Result<Vec<DestinationSummary>, ipvs::Error> {
    match kernel.client.destination_summaries(summaries, &service.service.key) {
        // Deleted since it was listed, its servers with it.
        Err(error) if error.kind() == ErrorKind::ServiceNotFound => Ok(Vec::new()),
        result => result,
    }
}

/// Sorted if that is asked for, and else in the kernel's order.
fn in_order<T>(entries: &[T], sorted: bool, sort: fn(&[T]) -> Vec<&T>) -> Vec<&T> {
    if sorted { sort(entries) } else { entries.iter().collect() }
}

fn write_service(
    table: &mut Table<'_, &mut Output>,
    service: &ServiceEntry,
    servers: &[&DestinationEntry],
) -> io::Result<()> {
    table.service(&service.service, &service.stats)?;
    servers.iter().try_for_each(|server| {
        table.server(&service.service.key, &server.destination, counts(server), &server.stats)
    })
}

fn write_summary(
    table: &mut Table<'_, &mut Output>,
    service: &ServiceEntry,
    servers: &[&DestinationSummary],
) -> io::Result<()> {
    table.service(&service.service, &service.stats)?;
    servers.iter().try_for_each(|server| table.summary(&service.service.key, server))
}

fn counts(server: &DestinationEntry) -> Counts {
    Counts {
        active: server.active_connections,
        inactive: server.inactive_connections,
        persistent: server.persistent_connections,
    }
}

fn master_first(daemons: &[SyncDaemon]) -> impl Iterator<Item = &SyncDaemon> {
    [SyncRole::Master, SyncRole::Backup]
        .into_iter()
        .flat_map(|role| daemons.iter().filter(move |daemon| daemon.role == role))
}

/// Why something couldn't be shown.
enum ShowError {
    Output(io::Error),
    Kernel(ipvs::Error),
    NoSuchService,
    /// The list of connections can't be opened.
    NoConnectionList,
    /// What rules can't say is missing from them: these.
    Inexact(Vec<String>),
}

impl From<io::Error> for ShowError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ipvs::Error> for ShowError {
    fn from(error: ipvs::Error) -> Self {
        Self::Kernel(error)
    }
}
