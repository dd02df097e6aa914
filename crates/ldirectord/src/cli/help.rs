//! What `--help` prints.

/// The first lines of the help, which also follow a mistake on the command line.
pub(crate) const USAGE: &str = "\
Usage: ldirectord [OPTIONS] [--] [CONFIG] VERB
       ldirectord [OPTIONS] [--] [CONFIG] drain|enable|disable SERVER
Try `ldirectord --help` for more.";

pub(crate) const TEXT: &str = "\
Keeps the IPVS table in line with what health checks find out about real servers.

Usage: ldirectord [OPTIONS] [--] [CONFIG] VERB
       ldirectord [OPTIONS] [--] [CONFIG] drain|enable|disable SERVER

CONFIG is looked for in /etc/ha.d, then in /etc/ha.d/conf, then as a path. Without it, the file is
ldirectord.cf. An instance has the name of its file; several may run side by side.

Verbs:
  start         Start the daemon; does nothing if it is running
  stop          Stop the daemon; virtual services with cleanstop=no stay in the table
  restart       Start the daemon again; the table and all connections stay
  try-restart   The same, only if it is running
  reload        Read the file again; a file with a mistake changes nothing
  force-reload  The same
  status        Show what is running, and the state of each real server
  check         Check the file, with all warnings
  plan          Show what the file would change in the table

For a real server, ADDRESS or ADDRESS:PORT, in all virtual services of the file:
  drain         Send it no new connections
  disable       Take it out, as if it were down
  enable        Do what its checks say again

Options:
  -d, --debug        start: stay in the foreground, log to standard error, write no pid file
      --foreground   start: stay in the foreground, for service managers
      --user NAME    start: run the checks as this user; `ldirectord` by default, if it exists
      --unit NAME    stop: of this systemd unit; if it is being restarted, the table stays
      --for TIME     drain, disable: for this long, as 90s, 10m or 2h
      --json         status: as JSON
      --metrics      status: as Prometheus metrics
  -h, -?, --help     Print this
  -v, --version      Print the version

Exit status: 0 success, 1 failure, 2 the file has a mistake, 3 `status`: not running, 4 done in part (the
file is in force except for what the kernel refused; a decision is in force, but a restart forgets it),
75 `start`, `restart`: names in the file can't be looked up now, 255 the command line is wrong.
";
