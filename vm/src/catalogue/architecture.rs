//! Processors.

use serde::{Deserialize, Serialize};

/// A processor: of a machine, or the one that a program is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Architecture {
    /// 64-bit x86, which FreeBSD and Debian call amd64.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 32-bit x86, which FreeBSD and Debian call i386.
    I686,
    /// 64-bit ARM, which Debian calls arm64.
    Aarch64,
    /// 32-bit ARM with hardware floating point, which Debian calls armhf.
    Armv7,
    /// IBM's z/Architecture, 64 bits. The high byte of a number comes first.
    S390x,
    /// RISC-V, 64 bits, with the extensions of RV64GC.
    Riscv64,
}

impl Architecture {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::X86_64, Self::I686, Self::Aarch64, Self::Armv7, Self::S390x, Self::Riscv64];

    /// Width of its addresses in bits.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::I686 | Self::Armv7 => 32,
            Self::X86_64 | Self::Aarch64 | Self::S390x | Self::Riscv64 => 64,
        }
    }

    /// The processor whose programs a machine of this one runs, when they are of that width.
    pub(crate) fn of_programs(self, bits: u8) -> Option<Self> {
        let narrow = match self {
            Self::X86_64 => Self::I686,
            Self::Aarch64 => Self::Armv7,
            other => other,
        };
        [self, narrow].into_iter().find(|one| one.bits() == bits)
    }

    /// "32-bit x86".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::X86_64 => "64-bit x86",
            Self::I686 => "32-bit x86",
            Self::Aarch64 => "64-bit ARM",
            Self::Armv7 => "32-bit ARM",
            Self::S390x => "s390x",
            Self::Riscv64 => "64-bit RISC-V",
        }
    }

    /// Whether a processor like this host's runs its machines without emulation.
    pub(crate) fn is_the_hosts(self) -> bool {
        match self {
            Self::X86_64 | Self::I686 => cfg!(any(target_arch = "x86_64", target_arch = "x86")),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
            Self::Armv7 => cfg!(target_arch = "arm"),
            Self::S390x => cfg!(target_arch = "s390x"),
            Self::Riscv64 => cfg!(target_arch = "riscv64"),
        }
    }
}
