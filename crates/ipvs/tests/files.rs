//! What the client reads from files, over a transport that has them, and one that has none.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};

use ipvs::sysctl::{self, CpuList, Defense, SyncThreshold};
use ipvs::{Client, ErrorKind, Object, Operation, Transport};

/// Knows the family, and nothing else of netlink.
#[derive(Default)]
struct Files {
    answer: Vec<u8>,
    /// `None` is a file that can't be opened.
    files: HashMap<&'static str, Option<&'static str>>,
    written: Vec<(String, String)>,
    refuse: Option<i32>,
}

impl Transport for &mut Files {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        // CTRL_CMD_NEWFAMILY with CTRL_ATTR_FAMILY_ID, and the acknowledgement.
        let mut family = vec![1, 2, 0, 0];
        family.extend([6_u16.to_ne_bytes(), 1_u16.to_ne_bytes(), 0x21_u16.to_ne_bytes()].concat());
        family.extend([0; 2]);
        self.answer.clear();
        for (kind, payload) in [(0x10_u16, family), (2, vec![0; 20])] {
            self.answer.extend((16 + payload.len() as u32).to_ne_bytes());
            self.answer.extend([kind.to_ne_bytes(), [0; 2]].concat());
            self.answer.extend(&request[8..12]);
            self.answer.extend([0; 4]);
            self.answer.extend(payload);
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        *buffer = std::mem::take(&mut self.answer);
        Ok(!buffer.is_empty())
    }

    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn open_file(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        match self.files.get(path) {
            Some(Some(text)) => Ok(Box::new(Cursor::new(*text))),
            Some(None) => Err(io::Error::from_raw_os_error(EACCES)),
            None => Err(io::Error::from_raw_os_error(ENOENT)),
        }
    }

    fn write_file(&mut self, path: &str, text: &str) -> io::Result<()> {
        if let Some(errno) = self.refuse {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.written.push((path.to_owned(), text.to_owned()));
        Ok(())
    }
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
    let mut client = Client::with_transport(&mut files).unwrap();
    assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap(), Some(true));
    let threshold = SyncThreshold { packets: 3, period: 50 };
    assert_eq!(client.sysctl(sysctl::SYNC_THRESHOLD).unwrap(), Some(threshold));
    assert_eq!(client.sysctl(sysctl::EST_CPULIST).unwrap(), Some(CpuList::default()));
    assert_eq!(client.sysctl(sysctl::CONN_MAX).unwrap(), None);

    let error = client.sysctl(sysctl::DROP_ENTRY).unwrap_err();
    assert_eq!((error.operation(), error.kind()), (Operation::Sysctl, ErrorKind::Protocol));
    assert_eq!(
        error.to_string(),
        "cannot read net.ipv4.vs.drop_entry: the kernel's answer makes no sense"
    );
    let error = client.sysctl(sysctl::DROP_PACKET).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn settings_are_written_as_lines() {
    let mut files = Files::default();
    let mut client = Client::with_transport(&mut files).unwrap();
    client.set_sysctl(sysctl::CONNTRACK, false).unwrap();
    client.set_sysctl(sysctl::DROP_ENTRY, Defense::Always).unwrap();
    // Of an empty text the kernel would take no notice.
    client.set_sysctl(sysctl::EST_CPULIST, CpuList::default()).unwrap();
    let written: Vec<_> = files.written.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
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
        let mut files = Files { refuse: Some(errno), ..Files::default() };
        let mut client = Client::with_transport(&mut files).unwrap();
        let error = client.set_sysctl(sysctl::SYNC_PORTS, 3).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(errno)));
        assert_eq!(error.object(), Some(&Object::Sysctl("sync_ports")));
        let text = error.to_string();
        assert!(text.starts_with("cannot set net.ipv4.vs.sync_ports: "), "{text}");
    }
    let mut files = Files::default();
    let mut client = Client::with_transport(&mut files).unwrap();
    let half = std::time::Duration::from_millis(500);
    let error = client.set_sysctl(sysctl::SYNC_REFRESH_PERIOD, half).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn connections_come_from_the_transport() {
    const LINE: &str = "title\nTCP C0000201 B666 C0000201 0050 C000020A 0050 SYN_RECV 59\n";
    let mut files = Files::default();
    files.files.insert("thread-self/net/ip_vs_conn", Some(LINE));
    let mut client = Client::with_transport(&mut files).unwrap();
    let all: Vec<_> = client.connections().unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].destination, "192.0.2.10:80".parse().unwrap());
}

/// A transport that implements only what it must.
struct NoFiles<'a>(&'a mut Files);

impl Transport for NoFiles<'_> {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        (&mut *self.0).send(datagram)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        (&mut *self.0).receive(buffer)
    }

    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn without_files_nothing_is_made_up() {
    let mut files = Files::default();
    let mut client = Client::with_transport(NoFiles(&mut files)).unwrap();
    assert_eq!(client.connections().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap_err().kind(), ErrorKind::Io);
    let error = client.set_sysctl(sysctl::CONNTRACK, true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
