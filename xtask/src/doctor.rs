//! `cargo xtask doctor`: reports what this machine lacks to boot kernels.

use anyhow::Result;
use lab::DoctorCommand;

use crate::cargo;

pub(crate) fn run(command: &DoctorCommand) -> Result<u8> {
    command.run(&cargo::lab()?)
}
