//! `cargo xtask demo`: builds, uses and explains, step by step on a real kernel, the cluster of the classic
//! how-to, or the direct routing that the literature on LVS starts with. It checks every claim as it goes.

mod chapters;
mod cluster;
mod ldirectord;
mod shell;
mod stage;

use std::iter::zip;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use ipvs_testkit::{Cluster, Host, Layout, Step, WebServer};
use lab::{Job, KernelOption, progress};

use crate::{cargo, docs};
use stage::Stage;

/// Several times longer than it takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);

/// What is demonstrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topic {
    /// Direct routing, and ldirectord on one director
    Routing,
    /// Two directors, two web servers and two clients; a web server dies, and a director
    Cluster,
}

impl Topic {
    /// What it is called in reports.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Routing => "direct routing",
            Self::Cluster => "the cluster",
        }
    }

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Cluster => "cluster",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// What to demonstrate
    #[arg(value_enum, default_value_t = Topic::Cluster)]
    topic: Topic,
    #[command(flatten)]
    kernel: KernelOption,
    /// Open a shell at the end, from which commands run on all hosts
    #[arg(long)]
    keep: bool,
    /// Put what is printed into a page below docs and an excerpt into README.md, on kernel 6.1
    #[arg(long, conflicts_with_all = ["kernel", "keep"])]
    into_docs: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<u8> {
        if self.into_docs {
            let transcript = docs::transcript(self.topic, docs::KERNEL)?;
            docs::write_transcript(self.topic, &transcript)?;
            return Ok(0);
        }
        let kernel = self.kernel.prepare(&cargo::lab()?)?;
        progress::now("building the programs");
        // As xtask itself is built, with most of what they consist of: for releases it takes another minute, and
        // nothing here is about speed.
        let mut arguments = vec!["build", "-p", "ipvsadm", "-p", "ldirectord"];
        if self.topic == Topic::Cluster {
            arguments.extend(["-p", "vip", "-p", "director-command"]);
        }
        let ipvsadm = cargo::build(&arguments, "ipvsadm")?;
        let folder = ipvsadm.parent().context("a program without a folder")?.to_owned();
        let mut command = vec![cargo::own()?.into(), "guest-demo".into(), self.topic.name().into()];
        command.extend(self.keep.then(|| "--keep".into()));
        let job = Job {
            command,
            programs: vec![folder],
            tools: &["ip", "modprobe", "nginx", "curl", "tcpdump"],
            terminal: self.keep,
            timeout: (!self.keep).then_some(TIMEOUT),
            ..Job::default()
        };
        job.run(&kernel)
    }
}

/// Runs the demo. It needs root, a kernel with IPVS, and `ip`, `nginx`, `curl`, `tcpdump` and our
/// programs on `PATH`. With `keep` it ends in an interactive shell.
///
/// # Errors
///
/// If anything differs from what the demo says.
pub(crate) fn inside(topic: Topic, keep: bool) -> Result<()> {
    match topic {
        Topic::Routing => routing(keep),
        Topic::Cluster => cluster::inside(keep),
    }
}

fn routing(keep: bool) -> Result<()> {
    let mut stage = Stage::default();
    chapters::introduction(&stage)?;
    let mut site = chapters::one_subnet(&mut stage)?;
    chapters::first_requests(&mut stage, &site)?;
    chapters::the_directors_view(&mut stage, &site)?;
    chapters::direct_routing_proved(&mut stage, &site)?;
    chapters::a_server_fails(&mut stage, &mut site)?;
    chapters::persistence(&mut stage, &site)?;
    chapters::fallback(&mut stage, &site)?;
    ldirectord::starts(&mut stage, &site)?;
    ldirectord::a_server_fails(&mut stage, &mut site)?;
    ldirectord::all_servers_fail(&mut stage, &mut site)?;
    ldirectord::a_broken_file(&mut stage, &mut site)?;
    chapters::server_subnet(&mut stage)?;
    println!("\nAll {} claims (✓) were checked and held.", stage.claims());
    if keep { shell::on_director(&site) } else { Ok(()) }
}

/// The chapter of a transcript that README.md shows: what sets up and uses a service, or what happens when
/// a director dies.
///
/// # Errors
///
/// If the text isn't a transcript.
pub(crate) fn excerpt(topic: Topic, transcript: &str) -> Result<&str> {
    let (chapter, next) = match topic {
        Topic::Routing => ("\n2. ", "\n3. "),
        Topic::Cluster => ("\n7. ", "\n8. "),
    };
    let start = transcript.find(chapter).context("the transcript lacks the chapter")? + 1;
    let length = transcript[start..].find(next).context("the chapter has no end")?;
    Ok(&transcript[start..start + length])
}

/// A cluster with a web server on each real server, which answers with its host's name.
#[derive(Debug)]
struct Site {
    web_servers: Vec<WebServer>,
    cluster: Cluster,
}

impl Site {
    /// Builds the cluster and shows the commands that `worth_showing` selects. Bringing up a
    /// loopback device goes without saying.
    fn build(
        stage: &Stage,
        label: &str,
        layout: Layout,
        worth_showing: impl Fn(&Step<'_>) -> bool,
    ) -> Result<Self> {
        let cluster = Cluster::build(label, layout, &mut |step| {
            if worth_showing(&step) && step.command != "ip link set lo up" {
                stage.step(step);
            }
        })?;
        let start = |server: &Host| WebServer::start_new(&server.netns, server.name);
        let web_servers = cluster.servers.iter().map(start).collect::<Result<_>>()?;
        Ok(Self { web_servers, cluster })
    }

    /// The commands that set up the virtual service, scheduled round robin, with its two real
    /// servers.
    fn commands_for_the_table(&self) -> [String; 3] {
        let real_server =
            |server: &Host| format!("ipvsadm -a -t 10.10.10.53:80 -r {}:80 -g", server.addr);
        let [web1, web2] = self.cluster.servers.each_ref().map(real_server);
        ["ipvsadm -A -t 10.10.10.53:80 -s rr".to_owned(), web1, web2]
    }

    /// Requests the page `count` times, shows the answers and returns them.
    fn request(&self, stage: &Stage, count: usize) -> Result<Vec<String>> {
        self.request_from(stage, count, "")
    }

    /// As [`request`](Self::request), from a port of the VIP such as `:8080`.
    fn request_from(&self, stage: &Stage, count: usize, port: &str) -> Result<Vec<String>> {
        let numbers = (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let command = format!("for i in {numbers}; do curl -s http://10.10.10.53{port}/; done");
        let answers = stage.run(&self.cluster.client, &command)?;
        Ok(answers.lines().map(str::to_owned).collect())
    }
}

/// Whether the answers came from both web servers in turn.
fn alternate(answers: &[String]) -> bool {
    let names = ["web1", "web2"];
    answers.len() > 1
        && answers.iter().all(|answer| names.contains(&answer.as_str()))
        && zip(answers, &answers[1..]).all(|(one, next)| one != next)
}
