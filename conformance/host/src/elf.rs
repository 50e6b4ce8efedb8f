//! What an executable file is, told from its ELF header (elf(5)).

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Object, ObjectSymbol};

/// What matters here of an ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// Width of its addresses in bits: 32 or 64.
    pub bits: u8,
    /// The processor it is for.
    pub machine: Machine,
    /// Whether the low byte of a number comes first.
    pub little_endian: bool,
    /// `EI_OSABI`: FreeBSD's programs are branded with 9, Linux's have 0 or 3.
    pub os_abi: u8,
    /// The dynamic linker that it asks for; none when it is static.
    pub interpreter: Option<Vec<u8>>,
}

/// A processor, as `e_machine` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine(u16);

impl Machine {
    /// 32-bit x86.
    pub const X86: Self = Self(elf::EM_386);
    /// 64-bit x86; with 32-bit addresses the x32 ABI.
    pub const X86_64: Self = Self(elf::EM_X86_64);
    /// 32-bit ARM.
    pub const ARM: Self = Self(elf::EM_ARM);
    /// 64-bit ARM.
    pub const AARCH64: Self = Self(elf::EM_AARCH64);
    /// IBM's S/390 and z/Architecture.
    pub const S390: Self = Self(elf::EM_S390);
    /// RISC-V, of any width.
    pub const RISCV: Self = Self(elf::EM_RISCV);
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            elf::EM_386 => f.write_str("x86"),
            elf::EM_X86_64 => f.write_str("x86-64"),
            elf::EM_ARM => f.write_str("ARM"),
            elf::EM_AARCH64 => f.write_str("AArch64"),
            elf::EM_RISCV => f.write_str("RISC-V"),
            elf::EM_S390 => f.write_str("S/390"),
            other => write!(f, "machine {other}"),
        }
    }
}

impl std::fmt::Display for Elf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-bit {}", self.bits, self.machine)
    }
}

impl Elf {
    /// `EI_OSABI` of FreeBSD's programs.
    pub const FREEBSD: u8 = elf::ELFOSABI_FREEBSD;

    /// The dynamic symbols that a whole file takes from others, `open64` for instance: none when it
    /// is static, or no ELF file.
    #[must_use]
    pub fn imports(file: &[u8]) -> Vec<&str> {
        let Ok(file) = object::File::parse(file) else { return Vec::new() };
        file.dynamic_symbols()
            .filter(|symbol| symbol.is_undefined())
            .filter_map(|symbol| symbol.name().ok())
            .collect()
    }

    /// Reads the header of a whole file; none when it is no ELF file, or a damaged one.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        match object::FileKind::parse(file).ok()? {
            object::FileKind::Elf32 => read::<FileHeader32<Endianness>>(file, 32),
            object::FileKind::Elf64 => read::<FileHeader64<Endianness>>(file, 64),
            _ => None,
        }
    }
}

fn read<Header: FileHeader<Endian = Endianness>>(file: &[u8], bits: u8) -> Option<Elf> {
    let header = Header::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, file).ok()?;
    let interpreter =
        segments.iter().find_map(|segment| segment.interpreter(endian, file).ok().flatten());
    Some(Elf {
        bits,
        machine: Machine(header.e_machine(endian)),
        little_endian: endian == Endianness::Little,
        os_abi: header.e_ident().os_abi,
        interpreter: interpreter.map(<[u8]>::to_vec),
    })
}
