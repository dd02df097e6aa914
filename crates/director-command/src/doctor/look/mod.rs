//! Reads the machine. Nothing here changes it, waits without a deadline, or reads without a bound.

mod commands;
mod enabled;
mod kernel;
mod ldirectord_cf;
mod listen;
mod network;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vip::control::{Client, ClientError};

use super::facts::{Facts, LdirectordCf, Mistake, Unseen, VipToml};
use crate::look::files::{self, Files};
use crate::look::{Unread, processes};

/// Where `ldirectord` looks for files.
const LDIRECTORD_CF: &str = "/etc/ha.d/ldirectord.cf";
const LDIRECTORD_CONF: &str = "/etc/ha.d/conf";

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `vip.toml`.
    pub(crate) config: PathBuf,
    /// The files of `ldirectord`; empty if they are where it looks for them.
    pub(crate) ldirectord: Vec<PathBuf>,
    /// The control socket of `vipd`.
    pub(crate) socket: PathBuf,
    /// For how long to listen for adverts: for long enough to hear each router if none.
    pub(crate) listen: Option<Duration>,
}

/// Reads all of it.
pub(crate) fn look(wanted: &Wanted) -> Facts {
    let mut facts = Facts::default();
    let mut files = Files::new(Path::new("/"));
    facts.vip = vip_toml(&wanted.config, &mut facts.unseen);
    facts.status = status(&wanted.socket, &mut facts.unseen);
    facts.has_systemd = Path::new("/run/systemd/system").is_dir();
    facts.enabled = enabled::enabled(&mut files);
    facts.networkd = files.networkd();
    facts.keyfiles = files.keyfiles();
    facts.interfaces = files.interfaces();
    facts.ifcfg = files.ifcfg();
    facts.haresources = files.one("/etc/ha.d/haresources");
    facts.keepalived_conf = files.one("/etc/keepalived/keepalived.conf");
    let mut unread = files.unread();
    facts.processes = processes::all(&mut unread);
    facts.unseen.extend(unread.into_iter().map(|Unread { what, error }| unseen(what, &error)));
    facts.ldirectord = ldirectord(&wanted.ldirectord, &mut facts.unseen);
    facts.nics = network::nics(&mut facts.unseen);
    facts.default_routes = network::default_routes(&mut facts.unseen);
    let interfaces: Vec<String> = facts.vips().iter().map(|it| it.interface.clone()).collect();
    facts.sysctls = kernel::sysctls(&interfaces, &mut facts.unseen);
    facts.kernel = kernel::kernel(&mut facts.unseen);
    facts.table = kernel::table(facts.kernel.has_ipvs, &mut facts.unseen);
    facts.firewall = commands::firewall(&facts.kernel, &mut facts.unseen);
    let (heard, deaf) = listen::listen(&facts, wanted.listen);
    facts.heard = heard;
    facts.unseen.extend(deaf);
    facts
}

/// Something that could not be read, and what may help.
fn unseen(what: impl Into<String>, error: &io::Error) -> Unseen {
    let fix = (error.kind() == io::ErrorKind::PermissionDenied).then(|| AS_ROOT.to_owned());
    Unseen { what: what.into(), because: error.to_string(), fix }
}

const AS_ROOT: &str = "run director doctor as root";

fn vip_toml(path: &Path, to: &mut Vec<Unseen>) -> VipToml {
    let shown = path.display().to_string();
    let text = match files::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return VipToml::Missing { path: shown };
        }
        Err(error) => {
            to.push(unseen(shown, &error));
            return VipToml::Unread;
        }
    };
    match vip::config::parse(&text) {
        Ok(config) => VipToml::Read(config),
        Err(mistakes) => {
            let mistake = |it: vip::config::Diagnostic| {
                let (line, column) = it.place(&text);
                let place = format!("{shown}:{line}:{column}");
                Mistake { place, message: it.message, help: it.help }
            };
            VipToml::Wrong {
                mistakes: mistakes.into_iter().map(mistake).collect(),
                path: shown.clone(),
            }
        }
    }
}

fn status(socket: &Path, to: &mut Vec<Unseen>) -> Option<vip::status::Status> {
    let status = Client::connect(socket).and_then(|mut client| client.status());
    match status {
        Ok(status) => Some(status),
        Err(ClientError::NotRunning(_)) => None,
        Err(error) => {
            to.push(Unseen {
                what: "the status of vipd".to_owned(),
                because: error.to_string(),
                fix: Some(AS_ROOT.to_owned()),
            });
            None
        }
    }
}

fn ldirectord(files: &[PathBuf], to: &mut Vec<Unseen>) -> Vec<LdirectordCf> {
    let mut found = files.to_vec();
    if files.is_empty() {
        let usual = PathBuf::from(LDIRECTORD_CF);
        found.extend(usual.exists().then_some(usual));
        match files::names(Path::new(LDIRECTORD_CONF)) {
            Ok(names) => {
                let names = names.into_iter().filter(|it| it.ends_with(".cf"));
                found.extend(names.map(|it| Path::new(LDIRECTORD_CONF).join(it)));
            }
            Err(error) => to.push(unseen(LDIRECTORD_CONF, &error)),
        }
    }
    found.iter().filter_map(|path| ldirectord_cf::read(path, to)).collect()
}
