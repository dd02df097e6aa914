//! The corpus of commands, to which the C program and ours have to respond alike.

use std::time::Duration;

use anyhow::Result;
use ipvs_testkit::{Context, Suite};
use ipvs_tests::parity::{Tools, topics};

use crate::test;

/// The limit for one topic: the longest has some 800 commands, which take a busy machine minutes.
const LIMIT: Duration = Duration::from_secs(900);

/// One test per topic.
macro_rules! topics {
    ($($topic:ident),* $(,)?) => {
        pub(crate) fn add_to(suite: &mut Suite) {
            $(suite.add(test!($topic).limit(LIMIT));)*
        }

        $(
            fn $topic(_: &mut Context) -> Result<()> {
                same(stringify!($topic))
            }
        )*
    };
}

topics![
    addresses, daemons, errors, lists, matrix, quirks, restore, save, services, syntax, wrappers,
];

fn same(topic: &str) -> Result<()> {
    topics::run(&Tools::find()?, &topics::topic(topic)?)?;
    Ok(())
}
