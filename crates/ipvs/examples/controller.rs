//! A controller: keeps the kernel's table as a TOML file says, and follows when the file changes.
//!
//! `controller FILE [SECONDS]`: real servers that are taken out of the file keep their connections
//! for at most that many seconds (30), and get no new ones. What it does is printed as a diff. The
//! form of the file is described in the documentation of the crate, at `Table`. Services that
//! aren't in the file are deleted: the table is the controller's own.
//!
//! `cargo run -p ipvs-client --features serde --example controller -- table.toml` as root.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use ipvs::plan::{Drainer, Options, Plan, Prune, Scope};
use ipvs::{Client, ErrorKind, Table};

/// How often the file and the kernel are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let file = arguments.next().ok_or("which file?")?;
    let seconds = match arguments.next() {
        Some(text) => text.to_str().ok_or("how many seconds?")?.parse()?,
        None => 30,
    };
    let mut controller = Controller {
        client: Client::connect()?,
        drainer: Drainer::new(Duration::from_secs(seconds)),
        options: Options::new().prune(Prune::Everything, Scope::everything()),
        // What is wrong at the start is for the user to mend; what is wrong later is to be survived.
        desired: read(Path::new(&file))?,
    };
    let mut last_trouble = String::new();
    loop {
        let trouble = controller.round(Path::new(&file)).err().map(|error| format!("{error:#}"));
        match trouble {
            // The same trouble, round after round, is said once.
            Some(trouble) if trouble != last_trouble => {
                eprintln!("{trouble}");
                last_trouble = trouble;
            }
            Some(_) => {}
            None => last_trouble.clear(),
        }
        thread::sleep(INTERVAL);
    }
}

struct Controller {
    client: Client,
    drainer: Drainer,
    options: Options,
    desired: Table,
}

impl Controller {
    /// Brings the kernel a step nearer to the file. A file that can't be read, or is half written,
    /// leaves the last good one in force.
    fn round(&mut self, file: &Path) -> Result<(), Box<dyn Error>> {
        let read = read(file).map(|table| self.desired = table);
        let plan = match self.plan() {
            // Somebody else is at work; the next round sees what came of it.
            Err(error) if error.kind() == ErrorKind::Inconsistent => return read,
            plan => plan?,
        };
        if !plan.is_empty() {
            print!("{plan}");
            self.client.apply(&plan)?;
        }
        read
    }

    fn plan(&mut self) -> Result<Plan, ipvs::Error> {
        let snapshot = self.client.snapshot()?;
        Ok(self.drainer.plan(&snapshot, &self.desired, &self.options, Instant::now()))
    }
}

fn read(file: &Path) -> Result<Table, Box<dyn Error>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}
