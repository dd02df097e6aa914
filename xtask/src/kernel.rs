//! `cargo xtask kernel`: manages kernels and runs commands in them.

use anyhow::Result;
use lab::KernelCommand;

use crate::cargo;

pub(crate) fn run(command: KernelCommand) -> Result<u8> {
    command.run(&cargo::lab()?)
}
