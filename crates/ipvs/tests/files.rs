#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]
//! What the client reads from files, over a transport that has them and over one that has none.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex};

use ipvs::Served;
use ipvs::proto::Refusal;
use ipvs::sysctl::{self, CpuList, Defense, SyncThreshold};
use ipvs::{Client, ErrorKind, Object, Operation, ProcFiles, Transport};

/// Files in memory; a clone shows what was written.
#[derive(Clone, Default)]
struct Files {
    /// `None` is a file that can't be opened.
    files: HashMap<&'static str, Option<&'static str>>,
    written: Arc<Mutex<Vec<(String, String)>>>,
    refuse: Option<i32>,
}

impl ProcFiles for Files {
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        match self.files.get(path) {
            Some(Some(text)) => Ok(Box::new(Cursor::new(*text))),
            Some(None) => Err(io::Error::from_raw_os_error(EACCES)),
            None => Err(io::Error::from_raw_os_error(ENOENT)),
        }
    }

    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        if let Some(errno) = self.refuse {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.written.lock().unwrap().push((path.to_owned(), text.to_owned()));
        Ok(())
    }
}

/// A client of an IPVS that has these files and refuses every request.
fn client(files: &Files) -> Client<impl Transport> {
    let served = Served::new(|_, _| Err(Refusal::new(EACCES))).with_files(files.clone());
    Client::with_transport(served).unwrap()
}

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const EROFS: i32 = 30;
const ERANGE: i32 = 34;

#[test]
fn settings_are_read_with_their_types() {
    let mut files = Files::default();
    files.files.insert("sys/net/ipv4/vs/conntrack", Some("1\n"));
    files.files.insert("sys/net/ipv4/vs/sync_threshold", Some("3\t50\n"));
    files.files.insert("sys/net/ipv4/vs/est_cpulist", Some("\n"));
    files.files.insert("sys/net/ipv4/vs/drop_entry", Some("high\n"));
    files.files.insert("sys/net/ipv4/vs/drop_packet", None);
    let mut client = client(&files);
    assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap(), Some(true));
    let threshold = SyncThreshold { packets: 3, period: 50 };
    assert_eq!(client.sysctl(sysctl::SYNC_THRESHOLD).unwrap(), Some(threshold));
    assert_eq!(client.sysctl(sysctl::EST_CPULIST).unwrap(), Some(CpuList::default()));
    assert_eq!(client.sysctl(sysctl::CONN_MAX).unwrap(), None);

    let error = client.sysctl(sysctl::DROP_ENTRY).unwrap_err();
    assert_eq!((error.operation(), error.kind()), (Operation::Sysctl, ErrorKind::Protocol));
    assert_eq!(
        error.to_string(),
        "cannot read net.ipv4.vs.drop_entry: the kernel's reply is malformed: its value is `high`"
    );
    let error = client.sysctl(sysctl::DROP_PACKET).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn settings_are_written_as_lines() {
    let files = Files::default();
    let mut client = client(&files);
    client.set_sysctl(sysctl::CONNTRACK, false).unwrap();
    client.set_sysctl(sysctl::DROP_ENTRY, Defense::Always).unwrap();
    // The kernel would ignore an empty text.
    client.set_sysctl(sysctl::EST_CPULIST, CpuList::default()).unwrap();
    let written = files.written.lock().unwrap();
    let written: Vec<_> = written.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    assert_eq!(
        written,
        [
            ("sys/net/ipv4/vs/conntrack", "0\n"),
            ("sys/net/ipv4/vs/drop_entry", "3\n"),
            ("sys/net/ipv4/vs/est_cpulist", "\n"),
        ]
    );
}

#[test]
fn refused_settings_are_errors_with_kinds() {
    for (errno, kind) in [
        (ENOENT, ErrorKind::SysctlNotFound),
        (EACCES, ErrorKind::PermissionDenied),
        (EROFS, ErrorKind::PermissionDenied),
        (EINVAL, ErrorKind::InvalidArgument),
        (ERANGE, ErrorKind::InvalidArgument),
    ] {
        let files = Files { refuse: Some(errno), ..Files::default() };
        let mut client = client(&files);
        let error = client.set_sysctl(sysctl::SYNC_PORTS, 3).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(errno)));
        assert_eq!(error.object(), Some(&Object::Sysctl("sync_ports")));
        let text = error.to_string();
        assert!(text.starts_with("cannot set net.ipv4.vs.sync_ports: "), "{text}");
    }
    let files = Files::default();
    let mut client = client(&files);
    let half = std::time::Duration::from_millis(500);
    let error = client.set_sysctl(sysctl::SYNC_REFRESH_PERIOD, half).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn connections_come_from_the_transport() {
    const LINE: &str = "title\nTCP C0000201 B666 C0000201 0050 C000020A 0050 SYN_RECV 59\n";
    let mut files = Files::default();
    files.files.insert("thread-self/net/ip_vs_conn", Some(LINE));
    let mut client = client(&files);
    let all: Vec<_> = client.connections().unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].destination, "192.0.2.10:80".parse().unwrap());
}

#[test]
fn without_files_nothing_is_made_up() {
    let mut client = Client::with_transport(Served::new(|_, _| Ok(()))).unwrap();
    assert_eq!(client.connections().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap_err().kind(), ErrorKind::Io);
    let error = client.set_sysctl(sysctl::CONNTRACK, true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
