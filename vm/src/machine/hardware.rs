//! What QEMU calls the parts of a machine, processor by processor.

use std::path::PathBuf;

use crate::catalogue::Architecture;
use crate::error::Result;
use crate::platform;

/// Names of QEMU's, each from the documentation of its emulator.
pub(super) struct Hardware {
    pub(super) emulator: &'static str,
    /// `-machine`.
    pub(super) board: &'static str,
    /// `-cpu` where it is emulated, if the board's own is not the one.
    pub(super) processor: Option<&'static str>,
    /// The source of random numbers.
    pub(super) random: &'static str,
    /// What the kernel calls the first serial port; none: it finds out.
    pub(super) console: Option<&'static str>,
}

impl Hardware {
    pub(super) fn of(architecture: Architecture) -> Self {
        let x86 = |emulator| Self {
            emulator,
            board: "q35",
            processor: None,
            random: "virtio-rng-pci",
            console: Some("ttyS0"),
        };
        let arm = |emulator, board, processor| Self {
            emulator,
            board,
            processor: Some(processor),
            random: "virtio-rng-pci",
            console: Some("ttyAMA0"),
        };
        match architecture {
            Architecture::X86_64 => x86("qemu-system-x86_64"),
            Architecture::I686 => x86("qemu-system-i386"),
            Architecture::Aarch64 => arm("qemu-system-aarch64", "virt", "cortex-a57"),
            // A kernel without LPAE does not reach what lies above 4 GiB.
            Architecture::Armv7 => arm("qemu-system-arm", "virt,highmem=off", "cortex-a15"),
            Architecture::S390x => Self {
                emulator: "qemu-system-s390x",
                board: "s390-ccw-virtio",
                processor: None,
                random: "virtio-rng-ccw",
                console: None,
            },
            // Its firmware is OpenSBI, where QEMU looks for it: on Debian the package opensbi.
            Architecture::Riscv64 => Self {
                emulator: "qemu-system-riscv64",
                board: "virt",
                processor: None,
                random: "virtio-rng-pci",
                console: Some("ttyS0"),
            },
        }
    }
}

/// The system's emulator, or an error that names its package.
pub(crate) fn emulator_of(architecture: Architecture) -> Result<PathBuf> {
    platform::program(Hardware::of(architecture).emulator)
}
