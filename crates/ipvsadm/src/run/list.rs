//! `-L`: reads the requested objects from the kernel, sorts them, and writes them as text or JSON.

use std::io::{self, Write};

use ipvs::{
    Connection, DestinationEntry, DestinationSummary, ErrorKind, Info, ServiceEntry, Summaries,
    SyncDaemon, SyncRole, Timeouts, Transport,
};

use crate::cli::command::{ConnectionFilter, List, Listed};
use crate::run::kernel::Kernel;
use crate::run::show_error::ShowError;
use crate::text::connections::ConnectionTable;
use crate::text::json::{self, Document};
use crate::text::list::{self, Counts, Format, Table};
use crate::text::names::{EndpointText, Resolver};
use crate::text::sort;

/// Lists what a command line asks for.
pub(crate) fn list<T: Transport>(
    kernel: &mut Kernel<T>,
    list: &List,
    names: &dyn Resolver,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    // The C program shows rates as the kernel reports them, even if it has stopped estimating them.
    kernel.client.set_stale_rates(!list.json);
    if list.json { list_as_json(kernel, list, out) } else { list_as_text(kernel, list, names, out) }
}

fn list_as_text<T: Transport>(
    kernel: &mut Kernel<T>,
    list: &List,
    names: &dyn Resolver,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    let text = EndpointText::new(list.numeric, names);
    match list.what {
        Listed::Table => {
            let mut table = Table::new(out, text, list.format, list.scale);
            table.version(kernel.info.version, kernel.info.connection_table_size)?;
            let services = kernel.client.services()?;
            table.titles()?;
            // This format shows nothing beyond summaries.
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
            let mut table = Table::new(out, text, list.format, list.scale);
            table.titles()?;
            let servers = servers(kernel, &service)?;
            let servers = in_order(&servers, list.sorted, sort::destinations);
            write_service(&mut table, &service, &servers)?;
        }
        Listed::Connections { engine, only } => {
            let connections = connections(kernel, only)?;
            let mut table = ConnectionTable::new(out, text, engine);
            table.titles()?;
            for connection in connections {
                table.connection(&connection?)?;
            }
        }
        Listed::Timeouts => {
            let Timeouts { tcp, tcp_fin, udp, .. } = kernel.client.timeouts()?;
            list::write_timeouts(out, [tcp, tcp_fin, udp])?;
        }
        Listed::Daemons => {
            let daemons = kernel.client.sync_daemons()?;
            for daemon in master_first(&daemons) {
                list::write_daemon(out, daemon)?;
            }
        }
    }
    Ok(())
}

fn list_as_json<T: Transport>(
    kernel: &mut Kernel<T>,
    list: &List,
    out: &mut impl Write,
) -> Result<(), ShowError> {
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

/// The real servers of a listed service.
pub(crate) fn servers<T: Transport>(
    kernel: &mut Kernel<T>,
    service: &ServiceEntry,
) -> Result<Vec<DestinationEntry>, ipvs::Error> {
    none_if_deleted(kernel.client.destinations(&service.service.key))
}

fn server_summaries<T: Transport>(
    kernel: &mut Kernel<T>,
    summaries: &Summaries,
    service: &ServiceEntry,
) -> Result<Vec<DestinationSummary>, ipvs::Error> {
    none_if_deleted(kernel.client.destination_summaries(summaries, &service.service.key))
}

/// A service that was deleted since it was listed has no real servers.
fn none_if_deleted<E>(servers: Result<Vec<E>, ipvs::Error>) -> Result<Vec<E>, ipvs::Error> {
    match servers {
        Err(error) if error.kind() == ErrorKind::ServiceNotFound => Ok(Vec::new()),
        result => result,
    }
}

/// The connections that pass a filter. As with the C program, if the list can't be read, the error
/// comes before the titles.
fn connections<T: Transport>(
    kernel: &mut Kernel<T>,
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

/// Sorted if requested, otherwise in the kernel's order.
fn in_order<T>(entries: &[T], sorted: bool, sort: fn(&[T]) -> Vec<&T>) -> Vec<&T> {
    if sorted { sort(entries) } else { entries.iter().collect() }
}

fn write_service(
    table: &mut Table<'_, impl Write>,
    service: &ServiceEntry,
    servers: &[&DestinationEntry],
) -> io::Result<()> {
    table.service(&service.service, &service.stats)?;
    servers.iter().try_for_each(|server| {
        table.server(&service.service.key, &server.destination, counts(server), &server.stats)
    })
}

fn write_summary(
    table: &mut Table<'_, impl Write>,
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

/// The order in which sync daemons are listed and saved.
pub(crate) fn master_first(daemons: &[SyncDaemon]) -> impl Iterator<Item = &SyncDaemon> {
    [SyncRole::Master, SyncRole::Backup]
        .into_iter()
        .flat_map(|role| daemons.iter().filter(move |daemon| daemon.role == role))
}
