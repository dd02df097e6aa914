//! The kernel's 13 schedulers with real traffic: the real servers that reply are those that a
//! second description of the scheduler predicts (`ipvs_tests::schedulers`), and that no other
//! scheduler's description predicts.

use std::net::SocketAddrV4;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, Family, Forward, Scheduler, SchedulerFlags, Service, ServiceKey, sysctl,
};
use ipvs_testkit::{Context, Farm, Held, Suite};
use ipvs_tests::schedulers::{Model, Server};
use ipvs_tests::{Reader, connect};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(rr_takes_turns));
    suite.add(test!(wrr_takes_turns_by_weight));
    suite.add(test!(lc_goes_by_connections));
    suite.add(test!(wlc_goes_by_connections_and_weight));
    suite.add(test!(sed_counts_the_new_connection_too));
    suite.add(test!(nq_lets_nobody_be_idle));
    suite.add(test!(fo_has_one_server_at_a_time));
    suite.add(test!(ovf_fills_one_server_after_the_other));
    suite.add(test!(sh_goes_by_the_client));
    suite.add(test!(dh_goes_by_the_virtual_address));
    suite.add(test!(lblc_keeps_a_virtual_address_on_a_server));
    suite.add(test!(lblcr_keeps_a_virtual_address_on_servers));
    suite.add(test!(lblcr_lets_go_of_the_busiest_server));
    suite.add(test!(mh_goes_by_the_client));
    suite.add(test!(sh_has_switches));
    suite.add(test!(mh_has_switches));
    suite.add(test!(mh_leaves_most_clients_where_they_are));
    suite.add(test!(a_server_of_weight_0_keeps_what_it_has));
}

/// The firewall mark of all packets if a service has many addresses.
const MARK: NonZeroU32 = NonZeroU32::new(7).unwrap();

/// One event of a script.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The client with the first number connects to the virtual address with the second.
    Open(u16, u16),
    /// The n-th opened connection, counted from 0, is closed.
    Close(usize),
    /// The real server with that number gets that weight.
    Weight(usize, u32),
}
use Event::{Close, Open, Weight};

/// A farm with a virtual service.
struct Site {
    farm: Farm,
    client: Client,
    key: ServiceKey,
    /// The known state of the real servers when a script begins.
    servers: Vec<Server>,
    /// The connections that the script opened, in order: from where, to where, and who answered.
    arrivals: Vec<(SocketAddrV4, SocketAddrV4, Option<usize>)>,
    held: Vec<Option<Held>>,
    last_port: u16,
}

impl Site {
    /// A service for one virtual address.
    fn of_one_address(context: &mut Context, weights: &[u32]) -> Result<Self> {
        Self::build(context, weights, ServiceKey::tcp(Farm::vip(0).into()))
    }

    /// A service for all virtual addresses.
    fn of_all_addresses(context: &mut Context, weights: &[u32]) -> Result<Self> {
        let site = Self::build(context, weights, ServiceKey::fwmark(Family::V4, MARK))?;
        site.farm.mark_packets(MARK.get())?;
        Ok(site)
    }

    /// The service has no scheduler at first: a scheduler that is set once the real servers exist
    /// starts fresh with them, not in the state that their additions leave.
    fn build(context: &mut Context, weights: &[u32], key: ServiceKey) -> Result<Self> {
        let farm = Farm::build(context, u8::try_from(weights.len())?)?;
        let mut client = connect(&farm.director)?;
        client.add_service(&Service::new(key).scheduler(None))?;
        let mut servers: Vec<_> = (0..)
            .zip(weights)
            .map(|(number, weight)| Server::new(Farm::server(number), *weight))
            .collect();
        // The kernel inserts new ones in front.
        for server in servers.iter().rev() {
            client.add_destination(&key, &destination(server.addr, server.weight))?;
        }
        let listed = Reader::new(&farm.director)?.proc_table()?;
        for (line, server) in listed[1..].iter().zip(&mut servers) {
            let addr = format!("-> {:08X}:0050 Masq", server.addr.ip().to_bits());
            ensure!(line.starts_with(&addr), "{addr} isn't where it should be: {listed:#?}");
        }
        let (arrivals, held) = (Vec::new(), Vec::new());
        Ok(Self { farm, client, key, servers, arrivals, held, last_port: 10_000 })
    }

    fn schedule(&mut self, scheduler: Scheduler, flags: SchedulerFlags) -> Result<()> {
        let service = Service::new(self.key).scheduler(scheduler).scheduler_flags(flags);
        Ok(self.client.set_service(&service)?)
    }

    fn set_weight(&mut self, server: usize, weight: u32) -> Result<()> {
        let destination = destination(self.servers[server].addr, weight);
        Ok(self.client.set_destination(&self.key, &destination)?)
    }

    fn play(&mut self, script: &[Event]) -> Result<()> {
        for event in script {
            match *event {
                Open(from, to) => self.open(Farm::client(from), Farm::vip(to))?,
                Close(index) => self.held[index].take().context("closed already")?.close()?,
                Weight(server, weight) => self.set_weight(server, weight)?,
            }
        }
        Ok(())
    }

    fn open(&mut self, mut client: SocketAddrV4, target: SocketAddrV4) -> Result<()> {
        // An unused port, which is known even if the connection is refused.
        self.last_port += 1;
        client.set_port(self.last_port);
        let held = Held::open(&self.farm.client, client, target)?;
        let server = held.as_ref().map(|held| held.server.parse()).transpose()?;
        self.arrivals.push((client, target, server));
        self.held.push(held);
        Ok(())
    }

    /// Who answered, as digits; `-` for nobody.
    fn answers(&self) -> String {
        as_digits(self.arrivals.iter().map(|(_, _, server)| *server))
    }

    /// Who would have answered according to the description of a scheduler, and the state it left.
    fn predict(&self, script: &[Event], rule: Rule) -> Result<(String, Model)> {
        let mut model = Model::new(rule.0, rule.1, self.servers.clone());
        let mut chosen = Vec::new();
        let mut arrivals = self.arrivals.iter();
        for event in script {
            match *event {
                Open(..) => {
                    let (client, target, _) = arrivals.next().context("not played")?;
                    chosen.push(model.arrive(*client, *target.ip()));
                }
                // There is no connection to close if this scheduler would have refused it.
                Close(index) => chosen[index].into_iter().for_each(|server| model.leave(server)),
                Weight(server, weight) => model.set_weight(server, weight),
            }
        }
        Ok((as_digits(chosen.into_iter()), model))
    }

    /// Plays a script with the first rule. Checks that this rule explains who answered, that no
    /// rival does, and that the C ipvsadm lists the same connections. Then closes them.
    fn only(&mut self, rule: Rule, rivals: &[Rule], script: &[Event]) -> Result<String> {
        self.schedule(rule.0, rule.1)?;
        self.play(script)?;
        let answers = self.answers();
        let (predicted, mut model) = self.predict(script, rule)?;
        ensure!(answers == predicted, "{answers} answered, {rule:?} means {predicted}");
        for rival in rivals.iter().filter(|rival| **rival != rule) {
            let (other, _) = self.predict(script, *rival)?;
            ensure!(answers != other, "{answers} answered, {rival:?} would do the same");
        }
        self.compare_lists(&model)?;

        for held in self.held.drain(..).flatten() {
            model.leave(held.server.parse()?);
            held.close()?;
        }
        self.arrivals.clear();
        self.servers = model.servers().to_vec();
        Ok(answers)
    }

    /// [`Site::only`] for a scheduler without flags, with all other schedulers as rivals.
    fn only_this(&mut self, scheduler: Scheduler, script: &[Event]) -> Result<String> {
        let rules: Vec<_> = Scheduler::KNOWN.iter().map(|other| plain(*other)).collect();
        self.only(plain(scheduler), &rules, script)
    }

    /// Compares what the C ipvsadm lists with who answered, and with the model's counters.
    fn compare_lists(&self, model: &Model) -> Result<()> {
        let reader = Reader::new(&self.farm.director)?;
        let rows = reader.lines(&["-L", "-n", "-c"])?;
        let established = |row: &String| {
            let words = row.split(' ').collect::<Vec<_>>();
            (words.get(2) == Some(&"ESTABLISHED")).then(|| words[3..].join(" "))
        };
        let mut listed: Vec<_> = rows.iter().filter_map(established).collect();
        let mut answered = Vec::new();
        for held in self.held.iter().flatten() {
            let server = self.servers[held.server.parse::<usize>()?].addr;
            answered.push(format!("{} {} {server}", held.client, held.target));
        }
        listed.sort();
        answered.sort();
        assert_eq!(listed, answered);

        let mut rows = reader.lines(&["-L", "-n"])?.split_off(4);
        let row =
            |s: &Server| format!("-> {} Masq {} {} {}", s.addr, s.weight, s.active, s.inactive);
        let mut counted: Vec<_> = model.servers().iter().map(row).collect();
        rows.sort();
        counted.sort();
        assert_eq!(rows, counted);
        Ok(())
    }
}

/// A scheduler and its flags.
type Rule = (Scheduler, SchedulerFlags);

fn plain(scheduler: Scheduler) -> Rule {
    (scheduler, SchedulerFlags::empty())
}

fn as_digits(servers: impl Iterator<Item = Option<usize>>) -> String {
    servers.map(|server| server.map_or("-".to_owned(), |server| server.to_string())).collect()
}

fn destination(addr: SocketAddrV4, weight: u32) -> Destination {
    Destination::new(addr.into()).forward(Forward::Masquerade).weight(weight)
}

fn rr_takes_turns(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 5, 2])?;
    let open = Open(0, 0);
    let script = [[open, open, open, open], [Close(1), Close(2), open, open], [open; 4]];
    let answers = site.only_this(Scheduler::RR, script.as_flattened())?;
    assert_eq!(answers, "0120120120");
    Ok(())
}

fn wrr_takes_turns_by_weight(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[8, 2, 4])?;
    let answers = site.only_this(Scheduler::WRR, &[Open(0, 0); 14])?;
    // In steps of two, the common divisor: one round each for weights of at least 8, 6, 4 and 2.
    assert_eq!(answers, "00020120002012");
    Ok(())
}

fn lc_goes_by_connections(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 3, 2])?;
    let open = Open(0, 0);
    let script = [
        [open; 6],
        [Close(1), Close(4), Close(2), open, open, open],
        [open, open, open, open, open, open],
    ];
    let answers = site.only_this(Scheduler::LC, script.as_flattened())?;
    // Closed connections count a little: 1 and 2 have one open connection each, and 2 has fewer
    // closed ones.
    assert_eq!(answers, "012012121021021");
    Ok(())
}

fn wlc_goes_by_connections_and_weight(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 4, 2])?;
    let open = Open(0, 0);
    let script = [open, open, open, open, open, Close(1), Close(2), open, open, open, open, open];
    site.only_this(Scheduler::WLC, &script)?;
    Ok(())
}

fn sed_counts_the_new_connection_too(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 4, 2])?;
    let open = Open(0, 0);
    let script = [open, open, open, open, open, Close(1), Close(2), open, open, open, open, open];
    site.only_this(Scheduler::SED, &script)?;
    Ok(())
}

fn nq_lets_nobody_be_idle(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 9, 2])?;
    let open = Open(0, 0);
    let script = [[open; 7], [open, open, open, open, Close(0), open, open]];
    let answers = site.only_this(Scheduler::NQ, script.as_flattened())?;
    // Each gets one first, then the fastest until the others would be no slower; but as soon as the
    // slowest is idle, it gets the next.
    assert_eq!(answers, "0121111111102");
    Ok(())
}

fn fo_has_one_server_at_a_time(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[2, 3, 1])?;
    let open = Open(0, 0);
    let script = [
        [open, open, open, open, open, Weight(1, 0)],
        [open, open, open, open, Weight(0, 0), open],
        [open, Weight(1, 3), open, open, open, open],
    ];
    let answers = site.only_this(Scheduler::FO, script.as_flattened())?;
    assert_eq!(answers, "111110000221111");
    Ok(())
}

fn ovf_fills_one_server_after_the_other(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 3, 2])?;
    let open = Open(0, 0);
    let script = [[open; 5], [open; 5], [Close(0), open, Close(5), open, open]];
    let answers = site.only_this(Scheduler::OVF, script.as_flattened())?;
    // A real server is full with one connection more than its weight; when all are full, nobody
    // answers.
    assert_eq!(answers, "111122200-12-");
    Ok(())
}

fn sh_goes_by_the_client(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 3, 2])?;
    let clients = (0..12).chain(0..12).map(|client| Open(client * 257, 0));
    let answers = site.only_this(Scheduler::SH, &clients.collect::<Vec<_>>())?;
    assert_eq!(answers[..12], answers[12..], "the port doesn't matter");
    Ok(())
}

fn dh_goes_by_the_virtual_address(context: &mut Context) -> Result<()> {
    let mut site = Site::of_all_addresses(context, &[1, 3, 2])?;
    let targets = (0..12).chain(0..12).enumerate();
    let script: Vec<_> =
        targets.map(|(client, target)| Open(client as u16, target * 257)).collect();
    let answers = site.only_this(Scheduler::DH, &script)?;
    assert_eq!(answers[..12], answers[12..], "the client doesn't matter");
    Ok(())
}

fn lblc_keeps_a_virtual_address_on_a_server(context: &mut Context) -> Result<()> {
    let mut site = Site::of_all_addresses(context, &[2, 2, 2])?;
    let (a, b) = (Open(0, 1), Open(0, 2));
    let script = [[a, a, a, b], [b, a, a, Close(0)], [Close(1), a, a, a], [a, b, b, a]];
    site.only_this(Scheduler::LBLC, script.as_flattened())?;
    Ok(())
}

fn lblcr_keeps_a_virtual_address_on_servers(context: &mut Context) -> Result<()> {
    let mut site = Site::of_all_addresses(context, &[2, 2, 2])?;
    let (a, b) = (Open(0, 1), Open(0, 2));
    let script = [[a, a, a, b], [b, a, a, Close(0)], [Close(1), a, a, a], [a, b, b, a]];
    site.only_this(Scheduler::LBLCR, script.as_flattened())?;
    Ok(())
}

/// After a while without a change, the busiest real server of a virtual address has to go, and
/// isn't chosen again even when it is idle.
fn lblcr_lets_go_of_the_busiest_server(context: &mut Context) -> Result<()> {
    const WHILE: Duration = Duration::from_secs(1);
    let mut site = Site::of_all_addresses(context, &[2, 2, 2])?;
    site.schedule(Scheduler::LBLCR, SchedulerFlags::empty())?;
    site.client.set_sysctl(sysctl::LBLCR_EXPIRATION, WHILE)?;
    site.play(&[Open(0, 1); 4])?;
    assert_eq!(site.answers(), "0001", "the address has both of them");
    std::thread::sleep(WHILE + WHILE / 2);
    // The next connection is scheduled before a real server is removed.
    site.play(&[Open(0, 1), Close(0), Close(1), Close(2), Open(0, 1)])?;
    assert_eq!(site.answers(), "000111");
    Ok(())
}

fn mh_goes_by_the_client(context: &mut Context) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 3, 2])?;
    let clients = (0..12).chain(0..12).map(|client| Open(client * 257, 0));
    let answers = site.only_this(Scheduler::MH, &clients.collect::<Vec<_>>())?;
    assert_eq!(answers[..12], answers[12..], "the port doesn't matter");
    Ok(())
}

fn sh_has_switches(context: &mut Context) -> Result<()> {
    has_switches(context, Scheduler::SH, SchedulerFlags::SH_PORT, SchedulerFlags::SH_FALLBACK)
}

fn mh_has_switches(context: &mut Context) -> Result<()> {
    has_switches(context, Scheduler::MH, SchedulerFlags::MH_PORT, SchedulerFlags::MH_FALLBACK)
}

fn has_switches(
    context: &mut Context,
    scheduler: Scheduler,
    port: SchedulerFlags,
    fallback: SchedulerFlags,
) -> Result<()> {
    let mut site = Site::of_one_address(context, &[1, 1, 1])?;
    // Each client connects twice, before and while a real server rests.
    let clients = || (0..12).chain(0..12).map(|client| Open(client, 0));
    let script: Vec<_> =
        clients().chain([Weight(1, 0)]).chain(clients()).chain([Weight(1, 1)]).collect();
    let switches = [SchedulerFlags::empty(), port, fallback, port | fallback];
    let rules = switches.map(|flags| (scheduler, flags));
    for rule in rules {
        let answers = site.only(rule, &rules, &script)?;
        let (before, resting) = answers.split_at(24);
        ensure!((before[..12] == before[12..]) != rule.1.contains(port), "{rule:?}: {answers}");
        ensure!(resting.contains('-') != rule.1.contains(fallback), "{rule:?}: {answers}");
        ensure!(before.contains('1') && !resting.contains('1'), "{rule:?}: {answers}");
        if !rule.1.contains(port) {
            // Clients of other real servers aren't affected.
            let moved = |(a, b): (char, char)| a != b && a != '1';
            ensure!(!before.chars().zip(resting.chars()).any(moved), "{rule:?}: {answers}");
        }
    }
    Ok(())
}

/// One of eight real servers goes: `mh` was designed so that the others keep their clients.
///
/// Its clients, an eighth, have to move. Of the other clients, `sh`, which picks servers by
/// counting, moves most: on average 6 of 7. With `mh`, a real server keeps its places in the table,
/// except for a few: those that change because the one that went had occupied a place that another
/// real server prefers. Section 5.3 of the paper on Maglev measures a few percent, so 1 in 20 is
/// the bound here.
fn mh_leaves_most_clients_where_they_are(context: &mut Context) -> Result<()> {
    const GONE: usize = 3;
    let mut site = Site::of_one_address(context, &[1; 8])?;
    site.schedule(Scheduler::MH, SchedulerFlags::empty())?;
    let clients = || (0..256).map(Farm::client);
    let names = |farm: &Farm| -> Result<Vec<SocketAddrV4>> {
        farm.client.run(|| {
            let name = |client| -> Result<_> {
                let held = Held::open_here(client, Farm::vip(0))?.context("refused")?;
                let server = Farm::server(held.server.parse()?);
                held.close()?;
                Ok(server)
            };
            clients().map(name).collect()
        })?
    };
    let predicted = |scheduler, servers: &[Server]| -> Result<Vec<SocketAddrV4>> {
        let mut model = Model::new(scheduler, SchedulerFlags::empty(), servers.to_vec());
        clients()
            .map(|client| {
                Ok(servers[model.arrive(client, *Farm::vip(0).ip()).context("refused")?].addr)
            })
            .collect()
    };
    let gone = site.servers[GONE];
    let moved = |before: &[SocketAddrV4], after: &[SocketAddrV4]| {
        let others = before.iter().zip(after).filter(|(a, _)| **a != gone.addr);
        (others.clone().filter(|(a, b)| a != b).count(), others.count())
    };

    let before = names(&site.farm)?;
    assert_eq!(before, predicted(Scheduler::MH, &site.servers)?);
    let sh_before = predicted(Scheduler::SH, &site.servers)?;

    site.client.delete_destination(&site.key, destination(gone.addr, 1).key())?;
    site.servers.remove(GONE);
    let after = names(&site.farm)?;
    assert_eq!(after, predicted(Scheduler::MH, &site.servers)?);
    ensure!(!after.contains(&gone.addr), "a server that isn't there answers");

    let (mh, others) = moved(&before, &after);
    ensure!(mh * 20 <= others, "{mh} of {others} clients have another server now");
    let (sh, others) = moved(&sh_before, &predicted(Scheduler::SH, &site.servers)?);
    ensure!(sh * 2 > others, "sh would have moved {sh} of {others} only");
    Ok(())
}

/// For every scheduler: a real server of weight 0 gets no new connections, and its old one keeps
/// working.
fn a_server_of_weight_0_keeps_what_it_has(context: &mut Context) -> Result<()> {
    const RESTING: usize = 1;
    let mut site = Site::of_all_addresses(context, &[50, 50, 50])?;
    site.schedule(Scheduler::RR, SchedulerFlags::empty())?;
    let one_each = [Open(0, 0); 3];
    site.play(&one_each)?;
    assert_eq!(site.answers(), "012");
    let (_, mut model) = site.predict(&one_each, plain(Scheduler::RR))?;
    model.set_weight(RESTING, 0);
    site.set_weight(RESTING, 0)?;

    // A client at each of the first 12 addresses connects to one of the first 12 virtual addresses.
    let script: Vec<_> = (0..12).map(|number| Open(number, 11 - number)).collect();
    for scheduler in Scheduler::KNOWN {
        site.schedule(*scheduler, SchedulerFlags::empty())?;
        site.servers = model.servers().to_vec();
        site.arrivals.clear();
        site.play(&script)?;
        let (answers, predicted) = (site.answers(), site.predict(&script, plain(*scheduler))?);
        model = predicted.1;
        ensure!(answers == predicted.0, "{scheduler}: {answers} answered, not {}", predicted.0);
        let (nobody, resting) = ("-".repeat(12), RESTING.to_string());
        ensure!(answers != nobody && !answers.contains(&resting), "{scheduler}: {answers}");
        site.held[RESTING].as_mut().context("refused")?.ask()?;
    }
    site.compare_lists(&model)
}
