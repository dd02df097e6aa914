//! The floor that the command line tool is measured against, as a whole process. It plays a script
//! of messages encoded in advance, or reads one of the kernel's files.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use ipvs_benches::floor::Floor;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let (what, file) = (words.next().context("what?")?, words.next().context("which file?")?);
    match what.to_str() {
        Some("play") => Floor::open()?.play(&std::fs::read(file)?),
        Some("read") => {
            let mut file = File::open(file)?;
            let mut buffer = vec![0; 64 * 1024];
            while file.read(&mut buffer)? > 0 {}
            Ok(())
        }
        _ => bail!("play a script, or read a file"),
    }
}
