//! One machine: a QEMU process, from power-on to its end.
//!
//! The base image is never written to: a machine with a disk writes to an overlay that is its own.
//! There is no network device. QEMU is in a process group of its own, which is killed as a whole,
//! and the kernel kills it when this program dies, whatever of.

mod command;
mod console;
mod hardware;
mod keyboard;
mod outcome;
mod run;
mod sandbox;
mod serial;
mod terminal;

pub(crate) use command::{Accelerator, Disks, Machine};
pub(crate) use hardware::emulator_of;
pub(crate) use run::Event;
pub(crate) use sandbox::try_sandbox;
