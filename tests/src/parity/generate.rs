//! Random sequences of commands, the same for the same seed.
//!
//! Most commands are correct and act on what the earlier ones left; the others have a mistake or
//! two.

use super::case::{Command, Input, Sequence, Step, Wanted};
use super::mistakes;
use super::random::Random;
use super::table::{Key, Table, any_server, server_option};
use super::values;
use super::words::{Opt, options_in, typed};

/// The percentage of commands with a mistake.
const MISTAKES: usize = 60;
/// The percentage of a restore's lines with a mistake, which would usually end it.
const MISTAKES_IN_RESTORE: usize = 5;

/// The sequence with this number.
pub fn sequence(seed: u64, number: u64) -> Sequence {
    let mut generator =
        Generator { random: Random::new(seed, number), table: Table::default(), in_restore: false };
    let mut sequence = Sequence { name: format!("generated {seed}/{number}"), steps: Vec::new() };
    let has_dead_device = generator.random.chance(2);
    if has_dead_device {
        sequence.steps.push(setup("ip link add dead0 type dummy"));
        sequence.steps.push(run(generator.words_on_dead_device()));
    }
    if generator.random.chance(75) {
        let lines = 5 + generator.random.below(8);
        sequence.steps.push(Step::Run(generator.restore("ipvsadm", lines)));
    }
    for _ in 0..1 + generator.random.below(3) {
        sequence.steps.push(Step::Run(generator.command()));
    }
    if has_dead_device {
        sequence.steps.push(setup("ip link del dead0"));
    }
    sequence
}

fn setup(words: &str) -> Step {
    Step::Setup(words.split(' ').map(str::to_owned).collect())
}

fn run(words: Vec<String>) -> Step {
    let words = [vec!["ipvsadm".to_owned()], words].concat();
    Step::Run(Command { words, ..Command::default() })
}

/// Whether two programs, each in its own namespace, can be expected to give the same output. They
/// can't if they list in the kernel's own order or print their own help.
fn is_comparable(words: &[String], has_mistake: bool) -> bool {
    let options = options_in(words.iter().map(String::as_str));
    let has = |names: &[&str]| options.iter().any(|option| names.contains(&option.as_str()));
    let lists_unsorted = has_mistake && has(&["--nosort"]) && has(&["-L", "-l", "--list"]);
    let is_own = |name: &String| ["-h", "--help", "-v", "--version"].contains(&name.as_str());
    !lists_unsorted && !options.first().is_some_and(is_own)
}

/// What a command line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    AddService,
    EditService,
    DeleteService,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Save,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Clear,
}

/// The actions that are tried with a mistake: mainly those with many options.
const ACTIONS_WITH_MISTAKES: [(usize, Action); 13] = [
    (18, Action::AddService),
    (6, Action::EditService),
    (3, Action::DeleteService),
    (22, Action::AddServer),
    (6, Action::EditServer),
    (4, Action::DeleteServer),
    (14, Action::List),
    (3, Action::Save),
    (3, Action::Zero),
    (6, Action::Set),
    (12, Action::StartDaemon),
    (6, Action::StopDaemon),
    (2, Action::Clear),
];

const ACTIONS: [(usize, Action); 13] = [
    (20, Action::AddService),
    (9, Action::EditService),
    (5, Action::DeleteService),
    (24, Action::AddServer),
    (9, Action::EditServer),
    (5, Action::DeleteServer),
    (16, Action::List),
    (5, Action::Save),
    (4, Action::Zero),
    (4, Action::Set),
    (7, Action::StartDaemon),
    (4, Action::StopDaemon),
    (1, Action::Clear),
];

struct Generator {
    random: Random,
    table: Table,
    /// Whether the line is part of a restore. Words can't contain blanks there, and daemons aren't
    /// stopped (the kernel doesn't acknowledge that if one has only just been started).
    in_restore: bool,
}

impl Generator {
    /// Generates a command with its input.
    fn command(&mut self) -> Command {
        match self.random.below(200) {
            0..=5 => self.restore("ipvsadm", 2),
            6 => self.restore("ipvsadm-restore", 3),
            7..=8 => self.saved(),
            9 => Command {
                words: vec!["ipvsadm-restore".into()],
                input: Input::LastOutput,
                ..Command::default()
            },
            10 => Command {
                words: vec!["ipvsadm".into(), "-L".into()],
                as_nobody: true,
                ..Command::default()
            },
            11..=13 => self.help(),
            14 => Command { words: vec!["ipvsadm".into()], ..Command::default() },
            _ => {
                let mut words = vec!["ipvsadm".to_owned()];
                words.extend(self.line(MISTAKES));
                Command { words, ..Command::default() }
            }
        }
    }

    fn help(&mut self) -> Command {
        let option = *self.random.pick(&["-h", "--help", "-v", "--version"]);
        Command {
            words: vec!["ipvsadm".into(), option.into()],
            wanted: Some(Wanted {
                parts: vec!["stdout".into()],
                reason: "each program has its own words for that".into(),
            }),
            ..Command::default()
        }
    }

    fn saved(&mut self) -> Command {
        let mut words = vec!["ipvsadm-save".to_owned()];
        words.extend(self.random.chance(50).then(|| "-n".to_owned()));
        words.extend(self.random.chance(30).then(|| "-x".to_owned()));
        Command { words, ..Command::default() }
    }

    /// Generates a restore of several lines.
    fn restore(&mut self, program: &str, lines: usize) -> Command {
        let mut words = vec![program.to_owned()];
        if program == "ipvsadm" {
            words.push((*self.random.pick(&["-R", "-R", "--restore"])).to_owned());
        } else {
            self.table = Table::default();
        }
        self.in_restore = true;
        let mut text = String::new();
        for line in 0..lines {
            let words = self.line(MISTAKES_IN_RESTORE);
            let blank = *self.random.pick(&[" ", " ", " ", "  ", "\t"]);
            let before = *self.random.pick(&["", "", "", "ipvsadm ", " "]);
            text.push_str(before);
            text.push_str(&words.join(blank));
            let is_last = line + 1 == lines;
            text.push_str(match self.random.below(20) {
                0 => "\r\n",
                1 => " \n",
                2 => "\n\n",
                3 if is_last => "",
                _ => "\n",
            });
        }
        self.in_restore = false;
        Command { words, input: Input::Text(text.into_bytes()), ..Command::default() }
    }

    /// Generates the words of a command line.
    fn line(&mut self, mistakes: usize) -> Vec<String> {
        loop {
            let has_mistake = self.random.chance(mistakes);
            let before = self.table.clone();
            let actions = if has_mistake { &ACTIONS_WITH_MISTAKES } else { &ACTIONS };
            let mut action = self.random.weighted(actions);
            if !has_mistake && self.table.services.is_empty() && self.random.chance(60) {
                action = Action::AddService;
            }
            if self.in_restore && action == Action::StopDaemon {
                continue;
            }
            let mut options = self.options(action);
            let words = if has_mistake {
                let words = mistakes::made(&mut options, &mut self.random);
                self.table = before.clone();
                words
            } else {
                if self.random.chance(12) {
                    mistakes::shuffle(&mut options, &mut self.random);
                }
                typed(&options, &mut self.random)
            };
            if !is_comparable(&words, has_mistake) {
                self.table = before;
                continue;
            }
            let is_one_word = |word: &String| !word.is_empty() && !word.contains([' ', '\t']);
            if !self.in_restore || words.iter().all(is_one_word) {
                return words;
            }
            self.table = before;
        }
    }

    /// Generates a correct command, and records its effect in the table.
    fn options(&mut self, action: Action) -> Vec<Opt> {
        match action {
            Action::AddService => {
                let known = self.random.chance(7);
                let key = if known {
                    self.table.key(&mut self.random)
                } else {
                    Key::any(&mut self.random)
                };
                self.table.add(key);
                self.service("add-service", key)
            }
            Action::EditService => {
                let key = self.table.key(&mut self.random);
                self.service("edit-service", key)
            }
            Action::DeleteService => {
                let key = self.table.key(&mut self.random);
                self.table.delete(key);
                [vec![Opt::flag("delete-service")], key.options(&mut self.random)].concat()
            }
            Action::AddServer | Action::EditServer | Action::DeleteServer => self.server(action),
            Action::List => self.list(),
            Action::Save => {
                let mut options = vec![Opt::flag("save")];
                options.extend(self.random.chance(60).then(|| Opt::flag("numeric")));
                options
            }
            Action::Zero => {
                let mut options = vec![Opt::flag("zero")];
                if self.random.chance(60) {
                    options.extend(self.table.key(&mut self.random).options(&mut self.random));
                }
                options
            }
            Action::Set => self.set(),
            Action::StartDaemon => self.start_daemon(),
            Action::StopDaemon => {
                let role = *self.random.pick(&["master", "backup"]);
                let role = match self.table.daemons.first() {
                    Some(running) if self.random.chance(80) => running,
                    _ => role,
                };
                self.table.daemons.retain(|running| *running != role);
                let mut options = vec![Opt::with("stop-daemon", role)];
                self.some(20, "syncid", &mut options);
                options
            }
            Action::Clear => {
                self.table.services.clear();
                vec![Opt::flag("clear")]
            }
        }
    }

    /// Adds an option with a valid value, with a probability of `percent`.
    fn some(&mut self, percent: usize, name: &'static str, options: &mut Vec<Opt>) {
        if self.random.chance(percent) {
            options.push(Opt::with(name, values::good(name, false, &mut self.random)));
        }
    }

    fn service(&mut self, command: &'static str, key: Key) -> Vec<Opt> {
        let mut options = vec![Opt::flag(command)];
        options.extend(key.options(&mut self.random));
        self.some(70, "scheduler", &mut options);
        let scheduler = options.last().and_then(|last| last.value.clone()).unwrap_or_default();
        if self.random.chance(15) {
            let own = match scheduler.as_str() {
                "sh" => *self.random.pick(&["sh-port", "sh-fallback", "sh-fallback,sh-port"]),
                "mh" => *self.random.pick(&["mh-port", "mh-fallback", "mh-port,mh-fallback"]),
                _ => "flag-1",
            };
            let any = values::good("sched-flags", false, &mut self.random);
            let flags = if self.random.chance(60) { own.to_owned() } else { any };
            options.push(Opt::with("sched-flags", flags));
        }
        if key.has_no_port() || self.random.chance(35) {
            let value =
                self.random.chance(60).then(|| values::good("persistent", false, &mut self.random));
            options.push(Opt { name: "persistent", value });
            if self.random.chance(40) {
                let mask = values::good("netmask", key.is_v6(), &mut self.random);
                options.push(Opt::with("netmask", mask));
            }
            if key.is_udp() || self.random.chance(5) {
                self.some(40, "pe", &mut options);
            }
        }
        if key.is_udp() && self.random.chance(25) {
            options.push(Opt::flag("ops"));
        }
        if self.random.chance(4) {
            options.push(Opt::flag("sort"));
        }
        options
    }

    fn server(&mut self, action: Action) -> Vec<Opt> {
        let key = self.table.key(&mut self.random);
        let known = self.table.service(key).map(|service| service.servers.clone());
        let known = known.unwrap_or_default();
        let is_known = match action {
            Action::AddServer => self.random.chance(6),
            _ => self.random.chance(92),
        };
        let server = if is_known && !known.is_empty() {
            *self.random.pick(&known)
        } else {
            any_server(key, &mut self.random)
        };
        let command = match action {
            Action::AddServer => "add-server",
            Action::EditServer => "edit-server",
            _ => "delete-server",
        };
        let mut options = vec![Opt::flag(command)];
        options.extend(key.options(&mut self.random));
        options.push(server_option(key, server, &mut self.random));
        let mut method = "gatewaying";
        if action != Action::DeleteServer {
            let is_other_family = values::REAL[server.0].is_v6 != key.is_v6();
            method = match self.random.below(10) {
                _ if is_other_family && self.random.chance(90) => "ipip",
                0..=3 => "masquerading",
                4..=6 => "ipip",
                _ => "gatewaying",
            };
            if method != "gatewaying" || self.random.chance(60) {
                options.push(Opt::flag(method));
            }
            self.some(60, "weight", &mut options);
            self.thresholds(&mut options);
            if method == "ipip" && self.random.chance(60) {
                self.tunnel(&mut options);
            }
        }
        // The program gives real servers the service's port unless they are masqueraded.
        let port = match key {
            Key::Addr { port, .. } if method != "masquerading" => port,
            _ => server.1,
        };
        if let Some(service) = self.table.service(key) {
            let server = (server.0, port);
            match action {
                Action::AddServer if !service.servers.contains(&server) => {
                    service.servers.push(server);
                }
                Action::DeleteServer => service.servers.retain(|one| *one != server),
                _ => {}
            }
        }
        options
    }

    fn thresholds(&mut self, options: &mut Vec<Opt>) {
        match self.random.below(20) {
            0 => options.push(Opt::with("l-threshold", "5")),
            1 => self.some(100, "l-threshold", options),
            2..=4 => {
                options.push(Opt::with("u-threshold", "2147483647"));
                self.some(100, "l-threshold", options);
            }
            5..=6 => self.some(100, "u-threshold", options),
            _ => {}
        }
    }

    fn tunnel(&mut self, options: &mut Vec<Opt>) {
        let random = &mut self.random;
        let kind = *random.pick(&["ipip", "gue", "gue", "gre"]);
        options.push(Opt::with("tun-type", kind));
        if kind == "gue" {
            options.push(Opt::with("tun-port", values::good("tun-port", false, random)));
        }
        let sums: &[&str] = match kind {
            "gue" => &["", "tun-nocsum", "tun-csum", "tun-remcsum"],
            "gre" => &["", "tun-nocsum", "tun-csum"],
            _ => &[""],
        };
        let sum = *random.pick(sums);
        options.extend((!sum.is_empty()).then(|| Opt::flag(sum)));
    }

    fn list(&mut self) -> Vec<Opt> {
        let mut options = vec![Opt::flag("list")];
        let mut is_single = true;
        match self.random.below(20) {
            0 => options.push(Opt::flag("connection")),
            1 => options.push(Opt::flag("timeout")),
            2 => options.push(Opt::flag("daemon")),
            3..=7 => options.extend(self.table.key(&mut self.random).options(&mut self.random)),
            _ => is_single = false,
        }
        let is_table = options.len() == 1 || is_single && options[1].value.is_some();
        if self.random.chance(65) {
            options.push(Opt::flag("numeric"));
        }
        if is_table {
            for format in ["stats", "rate", "thresholds", "persistent-conn", "tun-info"] {
                if self.random.chance(16) {
                    options.push(Opt::flag(format));
                }
            }
        } else if options[1].name == "connection" {
            options.extend(self.random.chance(40).then(|| Opt::flag("persistent-conn")));
        }
        options.extend(self.random.chance(15).then(|| Opt::flag("exact")));
        // The kernel's own order of services differs between namespaces.
        options.extend((is_single && self.random.chance(35)).then(|| Opt::flag("nosort")));
        options.extend(self.random.chance(6).then(|| Opt::flag("sort")));
        self.some(2, "syncid", &mut options);
        options
    }

    fn set(&mut self) -> Vec<Opt> {
        // The values aren't options; those that popt takes for one have the same effect.
        let times = ["0", "1", "120", "900", "2678400", "0300", "+7"];
        let times: Vec<&str> = (0..3).map(|_| *self.random.pick(&times)).collect();
        times.iter().fold(vec![Opt::flag("set")], |mut options, time| {
            options.push(Opt::leftover(*time));
            options
        })
    }

    fn start_daemon(&mut self) -> Vec<Opt> {
        let role = *self.random.pick(&["master", "backup"]);
        self.table.daemons.push(role);
        let mut options = vec![Opt::with("start-daemon", role)];
        for name in
            ["mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen"]
        {
            self.some(35, name, &mut options);
        }
        options
    }

    /// Starts a daemon on a device that is down, which the kernel refuses.
    fn words_on_dead_device(&mut self) -> Vec<String> {
        let role = *self.random.pick(&["master", "backup"]);
        let options = [Opt::with("start-daemon", role), Opt::with("mcast-interface", "dead0")];
        typed(&options, &mut self.random)
    }
}
