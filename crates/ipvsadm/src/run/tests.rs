//! The whole program over a model of the kernel.

use std::io::{self, BufReader, Read};

use ipvs::{Client, Error, Operation, Transport};
use ipvs_model as model;

use crate::run::exit::Exit;
use crate::run::host::Host;
use crate::run::lines::Input;
use crate::run::output::Output;
use crate::run::program;
use crate::text::names::Resolver;
use crate::text::names::tests::TestNames;

struct ModelHost {
    kernel: model::Kernel,
    is_privileged: bool,
    /// Whether the module is loaded, and if not, whether it can be loaded.
    is_loaded: bool,
    has_module: bool,
}

impl ModelHost {
    fn new(kernel: &model::Kernel) -> Self {
        Self { kernel: kernel.clone(), is_privileged: true, is_loaded: true, has_module: true }
    }

    fn without_module() -> Self {
        let host = Self::new(&model::Kernel::new());
        Self { is_loaded: false, has_module: false, ..host }
    }
}

/// Generic netlink of a kernel without IPVS: there is no family of that name.
#[derive(Default)]
struct NoFamily(Vec<u8>);

impl Transport for NoFamily {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        // NLMSG_ERROR of linux/netlink.h, with the sequence number of the request.
        let (header, sequence) = (&datagram[..16], &datagram[8..12]);
        let (length, kind) = (36_u32.to_ne_bytes(), 2_u16.to_ne_bytes());
        let errno = (-libc::ENOENT).to_ne_bytes();
        self.0 = [&length, &kind[..], &[0; 2], sequence, &[0; 4], &errno, header].concat();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.clear();
        buffer.append(&mut self.0);
        Ok(!buffer.is_empty())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}

impl Host for ModelHost {
    type Transport = model::Kernel;

    fn connect(&mut self) -> Result<Client<model::Kernel>, Error> {
        if !self.is_loaded {
            return Err(Client::with_transport(NoFamily::default()).err().unwrap());
        }
        Client::with_transport(self.kernel.clone())
    }

    fn load_module(&mut self) -> bool {
        self.is_loaded = self.has_module;
        self.is_loaded
    }

    fn may_open_raw_sockets(&self) -> bool {
        self.is_privileged
    }

    fn names(&self) -> &dyn Resolver {
        &TestNames
    }

    fn is_posix(&self) -> bool {
        false
    }
}

/// How a run ended, and what it wrote.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    exit: Exit,
    stdout: String,
    stderr: String,
}

fn ran(exit: Exit, stdout: &str, stderr: &str) -> Ran {
    Ran { exit, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

fn run_on(host: ModelHost, line: &str, stdin: impl Input) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let words = line.split_whitespace().map(Into::into).collect();
    let exit = program::run(words, host, stdin, Output::new(&mut stdout, &mut stderr, |_| false));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { exit, stdout: text(stdout), stderr: text(stderr) }
}

fn run(kernel: &model::Kernel, line: &str, stdin: &str) -> Ran {
    run_on(ModelHost::new(kernel), line, stdin.as_bytes())
}

fn rules(kernel: &model::Kernel) -> String {
    run(kernel, "ipvsadm -S -n", "").stdout
}

#[test]
fn a_change_shows_in_lists() {
    let kernel = model::Kernel::new();
    assert_eq!(run(&kernel, "ipvsadm -A -t 10.0.0.1:80 -s rr", ""), ran(Exit::Success, "", ""));
    let added = run(&kernel, "ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.1 -m -w 5", "");
    assert_eq!(added, ran(Exit::Success, "", ""));
    let listed = run(&kernel, "ipvsadm -L -t vip1:http", "");
    let text = "Prot LocalAddress:Port Scheduler Flags\n  \
                  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
                TCP  vip1.example.test:http rr\n  \
                  -> 10.1.0.1:http                Masq    5      0          0         \n";
    assert_eq!(listed, ran(Exit::Success, text, ""));
    let none = run(&kernel, "ipvsadm -L -t 10.0.0.1:81", "");
    assert_eq!(none, ran(Exit::Incomplete, "", "No such service\n"));
}

#[test]
fn a_refused_change_is_told_from_a_missing_reply() {
    let kernel = model::Kernel::new();
    let refused = run(&kernel, "ipvsadm -D -t 10.0.0.1:80", "");
    assert_eq!(refused, ran(Exit::Refused, "", "No such service\n"));
    kernel.fail(model::Fault::on(Operation::Flush).lost_answer()).unwrap();
    assert_eq!(run(&kernel, "ipvsadm -C", "").exit, Exit::NoReply);
}

/// The C program checks for IPVS before it reads its arguments, but help needs none here.
#[test]
fn a_missing_module_is_reported_before_a_wrong_command_line() {
    let message = |reason: &str| {
        format!(
            "Can't initialize ipvs: {reason}\n\
             Are you sure that IP Virtual Server is built in the kernel or as module?\n"
        )
    };
    let run = |host, line| run_on(host, line, &b""[..]);
    assert_eq!(
        run(ModelHost::without_module(), "ipvsadm --bogus"),
        ran(Exit::NoIpvs, "", &message("Protocol not available"))
    );
    let user = ModelHost { is_privileged: false, ..ModelHost::without_module() };
    assert_eq!(
        run(user, "ipvsadm"),
        ran(Exit::NoIpvs, "", &message("Permission denied (you must be root)"))
    );
    assert_eq!(run(ModelHost::without_module(), "ipvsadm --help").exit, Exit::Success);

    let loadable = ModelHost { has_module: true, ..ModelHost::without_module() };
    assert_eq!(run(loadable, "ipvsadm -C"), ran(Exit::Success, "", ""));
}

#[test]
fn a_restore_ends_as_its_last_line_ends() {
    let kernel = model::Kernel::new();
    let exists = "Service already exists\n";
    let lines = "-A -f 1\n-A -f 1\n-A -f 2\n";
    assert_eq!(run(&kernel, "ipvsadm -R", lines), ran(Exit::Success, "", exists));
    assert_eq!(run(&kernel, "ipvsadm -R", "-A -f 3\n-A -f 3\n"), ran(Exit::Refused, "", exists));
    // It continues after what popt rejects, and stops at all other mistakes.
    assert_eq!(
        run(&kernel, "ipvsadm -R", "-A -f 4 --bogus\n-A -f 5\n-A -f 6 -w 1\n-A -f 7\n"),
        ran(
            Exit::Usage,
            "",
            "--bogus: unknown option\nIllegal 'weight' option with the 'add-service' command\n"
        )
    );
    let marks = [1, 2, 3, 5].map(|mark| format!("-A -f {mark} -s wlc\n"));
    assert_eq!(rules(&kernel), marks.concat());
}

#[test]
fn a_list_within_a_restore_shows_what_the_lines_before_it_did() {
    let kernel = model::Kernel::new();
    let lines = "-A -f 1\n-S -n\n-E -f 1 -s rr\n-E -f 1 --keep -p 60\n-S -n\n-C\n";
    let shown = "-A -f 1 -s wlc\n-A -f 1 -s rr -p 60\n";
    assert_eq!(run(&kernel, "ipvsadm -R", lines), ran(Exit::Success, shown, ""));
    assert_eq!(rules(&kernel), "");
}

#[test]
fn a_restore_that_cannot_be_read_has_executed_the_lines_before() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the tape is torn"))
        }
    }
    let input = || BufReader::new(Read::chain(&b"-A -f 1\n"[..], Failing));
    let kernel = model::Kernel::new();
    let failed = run_on(ModelHost::new(&kernel), "/sbin/ipvsadm -R", input());
    assert_eq!(failed, ran(Exit::InputOutput, "", "/sbin/ipvsadm: the tape is torn\n"));
    assert_eq!(rules(&kernel), "-A -f 1 -s wlc\n");
    // But the script has read everything before it clears the table.
    let failed = run_on(ModelHost::new(&kernel), "ipvsadm-restore", input());
    assert_eq!(
        failed.stderr,
        "ipvsadm-restore: cannot read the rules from standard input: the tape is torn\n"
    );
    assert_eq!(rules(&kernel), "-A -f 1 -s wlc\n");
}

#[test]
fn the_scripts_save_and_replace_the_table() {
    let kernel = model::Kernel::new();
    run(&kernel, "ipvsadm -A -t 10.0.0.1:80 -s rr", "");
    let named = "-A -t vip1.example.test:http -s rr\n";
    assert_eq!(run(&kernel, "/sbin/ipvsadm-save", ""), ran(Exit::Success, named, ""));
    run(&kernel, "ipvsadm -A -f 7", "");
    let restored = run(&kernel, "ipvsadm-restore", &format!("# rules\n{named}"));
    assert_eq!(restored, ran(Exit::Success, "", ""));
    assert_eq!(rules(&kernel), "-A -t 10.0.0.1:80 -s rr\n");
}

#[test]
fn a_strict_restore_changes_nothing_if_a_line_is_wrong() {
    let kernel = model::Kernel::new();
    assert_eq!(
        run(&kernel, "ipvsadm -R --strict", "-A -f 1\n# two\n-A -f 2 -w 1\n-L\n"),
        ran(
            Exit::InvalidRules,
            "",
            "ipvsadm: line 3: Illegal 'weight' option with the 'add-service' command\n\
             ipvsadm: line 4: only commands that change something can be restored strictly\n\
             ipvsadm: 2 of 3 lines are wrong; nothing was changed\n"
        )
    );
    assert_eq!(rules(&kernel), "");
}

#[test]
fn saving_everything_restores_everything() {
    let kernel = model::Kernel::new();
    let lines = "--set 100 20 30\n-A -f 1 -s sh -b sh-port\n-a -f 1 -r 10.1.0.1:80 -w 0 -x 9 -y 3\n\
                 --start-daemon backup --mcast-interface eth0 --syncid 7\n";
    assert_eq!(run(&kernel, "ipvsadm -R --strict", lines), ran(Exit::Success, "", ""));
    let saved = run(&kernel, "ipvsadm -S --all", "");
    assert_eq!((saved.exit, saved.stderr.as_str()), (Exit::Success, ""));
    let other = model::Kernel::new();
    assert_eq!(run(&other, "ipvsadm -R --strict", &saved.stdout), ran(Exit::Success, "", ""));
    assert_eq!(run(&other, "ipvsadm -S --all", "").stdout, saved.stdout);
    assert_eq!(saved.stdout.lines().count(), lines.lines().count());
}
