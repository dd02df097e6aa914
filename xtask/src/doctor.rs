//! `cargo xtask doctor`: what this machine lacks for booting kernels.

use anyhow::Result;
use lab::DoctorCommand;

use crate::cargo;

pub(crate) fn run(command: &DoctorCommand) -> Result<u8> {
    command.run(&cargo::lab()?)
}
