//! What a health checker has to do, as scenarios that measure. The same ones run for ours, where
//! everything measured must be within its bar, and for the programs it is compared with, where what
//! they do is reported.

pub mod config;
pub mod hostile_server;
pub mod pulse;
pub mod rows;
pub mod subject;
pub mod table;
pub mod transfer;
pub mod world;

use std::time::Duration;

use anyhow::Result;
use ipvs_testkit::Namespace;
use serde::{Deserialize, Serialize};

pub use rows::ROWS;
pub use subject::Subject;

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in tables: `B1`.
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Plays it.
    pub play: fn(&Stage) -> Result<Vec<Criterion>>,
}

/// What one scenario measured of one thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Criterion {
    /// What was measured.
    pub what: String,
    /// What it should be.
    pub bar: String,
    /// What it was.
    pub measured: String,
    /// Whether that is as it should be; `None` if the program has no such thing.
    pub met: Option<bool>,
    /// Whether it is about speed, which a busy machine lacks. It is in the table, and in no test.
    pub speed: bool,
}

/// What one program did in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The row's name.
    pub id: String,
    /// What the row is about.
    pub title: String,
    /// The program's name.
    pub subject: String,
    /// What was measured.
    pub criteria: Vec<Criterion>,
    /// Why the scenario couldn't be played to its end.
    pub error: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Outcome {
    /// What came of a scenario that took so long.
    pub fn of(
        [id, title, subject]: [&str; 3],
        played: Result<Vec<Criterion>>,
        took: Duration,
    ) -> Self {
        let (criteria, error) = match played {
            Ok(criteria) => (criteria, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            subject: subject.to_owned(),
            criteria,
            error,
            seconds: took.as_secs_f64(),
        }
    }

    /// Prints it, criterion by criterion.
    pub fn show(&self) {
        let Self { id, title, subject, criteria, error, seconds } = self;
        println!("{id} {title}: {subject} ({seconds:.0} s)");
        for criterion in criteria {
            let mark = match criterion.met {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "–",
            };
            let (what, bar, measured) = (&criterion.what, &criterion.bar, &criterion.measured);
            match bar.as_str() {
                "" => println!("  {mark} {what}: {measured}"),
                bar => println!("  {mark} {what}: {measured} (should be: {bar})"),
            }
        }
        if let Some(error) = error {
            println!("  ✗ {error}");
        }
    }
}

/// Where a scenario is played, and with which program.
#[derive(Debug)]
pub struct Stage {
    /// The program.
    pub subject: Subject,
    label: String,
}

impl Stage {
    /// A stage whose namespaces are called after `label`.
    pub fn new(subject: Subject, label: &str) -> Self {
        Self { subject, label: label.to_owned() }
    }

    /// Creates a network namespace.
    ///
    /// # Errors
    ///
    /// See [`Namespace::create`].
    pub fn netns(&self, label: &str) -> Result<Namespace> {
        Namespace::create(&format!("{}{label}", self.label))
    }

    /// The beginning of the names of its namespaces.
    pub fn label(&self) -> &str {
        &self.label
    }
}

impl Criterion {
    /// Something that is right or wrong.
    pub fn is(what: &str, bar: &str, measured: impl Into<String>, met: bool) -> Self {
        Self {
            what: what.to_owned(),
            bar: bar.to_owned(),
            measured: measured.into(),
            met: Some(met),
            speed: false,
        }
    }

    /// Something to know, without a bar.
    pub fn noted(what: &str, measured: impl Into<String>) -> Self {
        let (what, bar) = (what.to_owned(), String::new());
        Self { what, bar, measured: measured.into(), met: None, speed: false }
    }

    /// Something that the program has no means for.
    pub fn not_there(what: &str, bar: &str) -> Self {
        Self {
            what: what.to_owned(),
            bar: bar.to_owned(),
            measured: "no such thing".to_owned(),
            met: None,
            speed: false,
        }
    }

    /// The same, as a matter of speed.
    #[must_use]
    pub fn of_speed(self) -> Self {
        Self { speed: true, ..self }
    }

    /// A time that may be at most `most`; `None` if what was waited for didn't happen within
    /// `waited`.
    pub fn within(what: &str, most: Duration, took: Option<Duration>, waited: Duration) -> Self {
        let bar = format!("≤ {:.1} s", most.as_secs_f64());
        match took {
            Some(took) => {
                Self::is(what, &bar, format!("{:.2} s", took.as_secs_f64()), took <= most)
            }
            None => {
                Self::is(what, &bar, format!("not within {:.0} s", waited.as_secs_f64()), false)
            }
        }
    }
}
