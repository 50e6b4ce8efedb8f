//! widths/ : what numbers hold, in this program's userland, and what runs it.
//!
//! A type is as wide as this program's libc declares it; a C program may choose otherwise
//! (`_FILE_OFFSET_BITS`, `_TIME_BITS`).

use super::experiment::either;
use super::model::{Documented, Measure, Probe, fixed, open};

const WORD: &str = if usize::BITS == 64 { "64" } else { "32" };

/// Fixed where addresses have 64 bits; on 32 bits it depends on more.
const fn wide_on_64(source: &'static str) -> Documented {
    Documented { value: if usize::BITS == 64 { Some("64") } else { None }, source }
}

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "widths/pointer",
        title: "Bits of an address",
        posix: "leaves it open; 64 in the LP64 environments, 32 in ILP32",
        linux: fixed(WORD, "the processor's ABI: LP64 or ILP32"),
        freebsd: fixed(WORD, "arch(7): 8 bytes, 4 on 32-bit architectures"),
        measure: |_| bits::<*const u8>(),
    },
    Probe {
        id: "widths/long",
        title: "Bits of long",
        posix: "limits.h, LONG_BIT: at least 32",
        linux: fixed(WORD, "the processor's ABI: LP64 or ILP32"),
        freebsd: fixed(WORD, "arch(7): as wide as pointers"),
        measure: |_| bits::<libc::c_long>(),
    },
    Probe {
        id: "widths/off-t",
        title: "Bits of off_t",
        posix: "sys/types.h: signed, no narrower than long is promised",
        linux: wide_on_64(
            "off_t(3type), feature_test_macros(7): 32 on 32-bit glibc without _FILE_OFFSET_BITS; musl 64",
        ),
        freebsd: fixed("64", "sys/_types.h: __off_t is int64 on every architecture"),
        measure: |_| bits::<libc::off_t>(),
    },
    Probe {
        id: "widths/time-t",
        title: "Bits of time_t",
        posix: "sys/types.h: an integer type of at least 64 bits, new in 2024",
        linux: wide_on_64(
            "time_t(3type), feature_test_macros(7): 32 on 32-bit glibc without _TIME_BITS; musl 64 since 1.2",
        ),
        freebsd: wide_on_64("arch(7): 8 bytes on all but i386, where it has 4"),
        measure: |_| {
            // By a member of that type: libc calls the name deprecated where musl changed it.
            let time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            Ok((size_of_val(&time.tv_sec) as i64 * 8).into())
        },
    },
    Probe {
        id: "widths/ino-t",
        title: "Bits of ino_t",
        posix: "sys/types.h: unsigned integer type",
        linux: wide_on_64(
            "ino_t(3type), feature_test_macros(7): 32 on 32-bit glibc without _FILE_OFFSET_BITS",
        ),
        freebsd: open(
            "stat(2): 64 since FreeBSD 12; this program may have been built for the interface of 11",
        ),
        measure: |_| bits::<libc::ino_t>(),
    },
    Probe {
        id: "widths/pid-t",
        title: "Bits of pid_t",
        posix: "sys/types.h: signed integer type, no wider than long",
        linux: fixed("32", "pid_t(3type), glibc: int"),
        freebsd: fixed("32", "sys/_types.h: __pid_t is int32"),
        measure: |_| bits::<libc::pid_t>(),
    },
    Probe {
        id: "widths/uid-t",
        title: "Bits of uid_t",
        posix: "sys/types.h: integer type",
        linux: fixed("32", "credentials(7): 32 since Linux 2.4"),
        freebsd: fixed("32", "sys/_types.h: __uid_t is uint32"),
        measure: |_| bits::<libc::uid_t>(),
    },
    Probe {
        id: "widths/mode-t",
        title: "Bits of mode_t: 16 are promoted to int in calls like open(…, mode)",
        posix: "sys/types.h: integer type",
        linux: fixed("32", "mode_t(3type), glibc: unsigned int"),
        freebsd: fixed("16", "sys/_types.h: __mode_t is uint16"),
        measure: |_| bits::<libc::mode_t>(),
    },
    Probe {
        id: "widths/address-family",
        title: "Bits of sa_family_t",
        posix: "sys/socket.h: unsigned integer type",
        linux: fixed("16", "sockaddr(3type): unsigned short"),
        freebsd: fixed("8", "sys/_types.h: __sa_family_t is uint8"),
        measure: |_| bits::<libc::sa_family_t>(),
    },
    Probe {
        id: "widths/alignment-of-64-bits",
        title: "Bytes to which a 64-bit integer in a structure is aligned",
        posix: "leaves it open",
        linux: open("the processor's ABI: 8, on i386 4"),
        freebsd: open("the processor's ABI: 8, on i386 4"),
        measure: |_| Ok((align_of::<u64>() as i64).into()),
    },
    Probe {
        id: "widths/page",
        title: "Bytes of a page",
        posix: "sysconf(), _SC_PAGESIZE: at least 1",
        linux: open("getpagesize(2): by architecture and kernel, 4096 to 65536"),
        freebsd: open("arch(7), Page Size: by architecture"),
        measure: |_| {
            // SAFETY: takes an integer only.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            #[allow(clippy::useless_conversion)] // c_long has 32 or 64 bits
            Ok(i64::from(size).into())
        },
    },
    Probe {
        id: "widths/endianness",
        title: "The order of the bytes of a number in memory",
        posix: "leaves it open",
        linux: open("the processor's ABI; endian(3)"),
        freebsd: open("arch(7), Endianness"),
        measure: |_| {
            let first = 1_u16.to_ne_bytes()[0];
            either(first == 1, "little", "big")
        },
    },
    Probe {
        id: "widths/char",
        title: "char without a sign word in C",
        posix: "limits.h, CHAR_MIN: implementation-defined",
        linux: open("the processor's ABI: signed on x86, unsigned on ARM, POWER, RISC-V and s390x"),
        freebsd: open("arch(7), char Signedness: signed on x86, unsigned on ARM, POWER and RISC-V"),
        measure: |_| {
            #[allow(clippy::unnecessary_cast)] // c_char is i8 or u8
            let lowest = libc::c_char::MIN as i32;
            either(lowest < 0, "signed", "unsigned")
        },
    },
    Probe {
        id: "widths/userland-on-kernel",
        title: "This program's width and the kernel's",
        posix: "leaves it open",
        linux: open("uname(2), machine; personality(2) can hide a 64-bit kernel"),
        freebsd: open("uname(3), machine; COMPAT_FREEBSD32 runs 32-bit programs"),
        measure: |dir| {
            let facts = crate::platform::facts(dir);
            Ok(match facts.kernel_bits {
                0 => format!("{}-bit userland, kernel {}", facts.userland_bits, facts.machine),
                bits => format!("{}-bit userland, {bits}-bit kernel", facts.userland_bits),
            }
            .into())
        },
    },
    Probe {
        id: "widths/emulation",
        title: "What runs this program's instructions",
        posix: "leaves it open",
        linux: open("/proc/cpuinfo: QEMU's own processor names itself"),
        freebsd: open("kern.vm_guest, hw.model"),
        measure: |_| {
            let (name, emulated) = crate::platform::virtualization();
            Ok(match emulated {
                Some(true) => format!("software: {}", name.unwrap_or_default()),
                Some(false) => name.unwrap_or_else(|| "a processor".to_owned()),
                None => "not told".to_owned(),
            }
            .into())
        },
    },
];

fn bits<T>() -> Measure {
    Ok((size_of::<T>() as i64 * 8).into())
}
