use std::net::IpAddr;
use std::time::{Duration, Instant};

use vrrp::{
    Advert, Authentication, Config, Envelope, Group, Input, Interval, MULTICAST_V4, Machine,
    Output, Preempt, Received, State, Version, Vrid,
};

/// Inputs to a virtual router and to a group of two, three bytes each, after two bytes of configuration.
///
/// Whatever comes in whichever order: a router has its addresses exactly while it is Active; it
/// announces and sends nothing else otherwise; calling it at its deadlines makes it wait for something
/// later, so it never spins; left alone for long enough it is Active, unless it left; and members of a
/// group are Active together.
pub fn vrrp_machine(input: &[u8]) {
    let Some((&[settings, priority], inputs)) = input.split_first_chunk() else { return };
    let Some(mut machine) = machine(settings, priority, 0) else { return };
    let members = [machine.clone(), machine_or_same(settings, priority, 1, &machine)];
    let mut group = Group::new(members);
    let start = Instant::now();
    let mut now = start;
    let mut seen = Seen::default();
    for step in inputs.chunks_exact(3) {
        now += Duration::from_millis(u64::from(step[0]) * u64::from(step[0]));
        let other = IpAddr::from([10, 9, 0, step[2] % 4]);
        let received = received(&machine, other, step[1]);
        let input = match step[2] >> 4 {
            0 => Some(Input::Up(other)),
            1 => Some(Input::Down),
            2 => Some(Input::Shutdown),
            3 => Some(Input::Priority(step[1])),
            4..=7 => None,
            _ => Some(Input::Received(&received)),
        };
        match input {
            Some(input) => {
                machine.handle(input, now);
                group.handle(usize::from(step[2] & 4 == 0), input, now);
            }
            None => {
                machine.handle_timeout(now);
                group.handle_timeout(now);
            }
        }
        seen.judge(&mut machine);
        while group.poll().is_some() {}
        let mut active = group.members().iter().map(|it| it.state() == State::Active);
        let first = active.next();
        assert!(active.all(|it| Some(it) == first), "{group:?}");
    }
    // Nobody else says anything from here on.
    let end = now + Duration::from_secs(255 * 8);
    for _ in 0..1000 {
        let Some(deadline) = machine.deadline().filter(|at| *at <= end) else { break };
        now = now.max(deadline);
        machine.handle_timeout(now);
        assert!(machine.deadline().is_some_and(|at| at > now), "{machine:?}");
        seen.judge(&mut machine);
        if machine.state() == State::Active {
            break;
        }
    }
    assert_ne!(machine.state(), State::Backup, "nobody is there, and it does nothing: {machine:?}");
}

fn machine(settings: u8, priority: u8, last: u8) -> Option<Machine> {
    let version = if settings & 1 == 0 { Version::V3 } else { Version::V2 };
    let vrid = Vrid::new(51)?;
    let config = Config::new(version, vrid, [IpAddr::from([10, 9, 0, 100 + last])])
        .priority(priority)
        .interval(Interval::from_secs(1 + (settings >> 5))?)
        .preempt(match settings >> 1 & 3 {
            0 => Preempt::Never,
            1 => Preempt::After(Duration::from_secs(u64::from(settings))),
            2 => Preempt::After(Duration::MAX),
            _ => Preempt::Always,
        });
    Machine::new(config).ok()
}

fn machine_or_same(settings: u8, priority: u8, last: u8, same: &Machine) -> Machine {
    machine(settings, priority, last).unwrap_or_else(|| same.clone())
}

/// An advert that is believed, except by routers of version 2 with another interval.
fn received(machine: &Machine, source: IpAddr, priority: u8) -> Received {
    let config = machine.config();
    let interval = Interval::from_secs(1 + (priority & 1)).unwrap_or_default();
    let advert = Advert {
        version: config.version(),
        vrid: config.vrid(),
        priority,
        interval,
        addresses: config.addresses().to_vec(),
        authentication: Authentication::None,
    };
    let envelope = Envelope { source, destination: MULTICAST_V4.into(), hop_limit: 255 };
    Received { advert, envelope, checksum: None }
}

/// What a program would have done so far.
#[derive(Default)]
struct Seen {
    state: State,
    has_addresses: bool,
}

impl Seen {
    fn judge(&mut self, machine: &mut Machine) {
        while let Some(output) = machine.poll() {
            match output {
                Output::AddAddresses => {
                    assert!(!self.has_addresses);
                    self.has_addresses = true;
                }
                Output::RemoveAddresses => {
                    assert!(self.has_addresses);
                    self.has_addresses = false;
                }
                Output::Announce => assert!(self.has_addresses),
                Output::State { from, to, .. } => {
                    assert_eq!(from, self.state);
                    self.state = to;
                    assert_eq!(self.has_addresses, to == State::Active);
                }
                Output::Send { priority } => {
                    // The first advert comes before the addresses.
                    assert!(priority > 0 || self.has_addresses);
                }
                _ => {}
            }
        }
        assert_eq!(self.state, machine.state());
        assert_eq!(machine.deadline().is_none(), self.state == State::Initialize, "{machine:?}");
    }
}
