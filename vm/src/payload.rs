//! Which `forkproof` goes into a guest: an executable of its system and its width.
//!
//! Told from the ELF header alone: class, machine, OS ABI, and whether it names an interpreter. A
//! static one runs everywhere; a dynamic one needs the guest's C library to be no older than the
//! one it was linked with, which the guest finds out (`run.sh`).

use std::path::{Path, PathBuf};

use forkproof_host::{Elf, Machine};
use settings::reason;

use crate::catalogue::{FirstBoot, Image};
use crate::error::{Error, Result};

/// The variable that names a directory of payloads.
const DIRECTORY_VARIABLE: &str = "FORKPROOF_PAYLOADS";

/// A guest's system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// Any distribution.
    Linux,
    /// FreeBSD.
    FreeBsd,
}

/// What a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its system.
    pub(crate) system: System,
    /// Width of its programs, bits: 32 or 64; of x86.
    pub(crate) bits: u8,
}

impl Wanted {
    /// By an image.
    pub(crate) fn by(image: &Image) -> Self {
        // FreeBSD's cloud images have nuageinit; its other ones are logged in to, and are told by
        // their names.
        let freebsd = image.first_boot == FirstBoot::Nuageinit || image.id.starts_with("freebsd");
        Self {
            system: if freebsd { System::FreeBsd } else { System::Linux },
            bits: image.userland_bits,
        }
    }

    /// "a 32-bit x86 Linux guest".
    pub(crate) fn words(self) -> String {
        let system = match self.system {
            System::Linux => "Linux",
            System::FreeBsd => "FreeBSD",
        };
        format!("a {}-bit x86 {system} guest", self.bits)
    }

    /// Rust's names of the targets that fit, the static one first.
    fn targets(self) -> &'static [&'static str] {
        match (self.system, self.bits) {
            (System::Linux, 32) => &["i686-unknown-linux-musl", "i686-unknown-linux-gnu"],
            (System::Linux, _) => &["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"],
            (System::FreeBsd, 32) => &["i686-unknown-freebsd"],
            (System::FreeBsd, _) => &["x86_64-unknown-freebsd"],
        }
    }
}

/// What an ELF header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    system: System,
    bits: u8,
    /// Its dynamic loader; none when it is static.
    interpreter: Option<String>,
}

/// How to make a program for such a guest.
pub(crate) fn how_to_make(wanted: Wanted) -> String {
    let build = "build --release --package forkproof --no-default-features --target";
    let targets = wanted.targets();
    match wanted.system {
        System::Linux => {
            let plain = targets[targets.len() - 1];
            format!("rustup target add {plain} && cargo {build} {plain}")
        }
        System::FreeBsd => format!("CROSS_CONFIG=cross.toml cross {build} {}", targets[0]),
    }
}

/// The executable for a guest: one of `named`, or of the places that the documentation lists.
pub(crate) fn find(wanted: Wanted, named: &[PathBuf]) -> Result<PathBuf> {
    let own = std::env::current_exe().ok();
    let directory = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from);
    find_among(wanted, named, directory.as_deref(), own.as_deref())
}

fn find_among(
    wanted: Wanted,
    named: &[PathBuf],
    directory: Option<&Path>,
    own: Option<&Path>,
) -> Result<PathBuf> {
    // What the user names is a mistake if it is no program at all; one for another guest of the
    // same command is none.
    let mut refused = Vec::new();
    let mut fitting = Vec::new();
    for path in named {
        let program = inspect(path)
            .map_err(|why| Error::Usage(format!("payload {}: {why}", path.display())))?;
        match unfit(&program, wanted) {
            None => fitting.push((program, path.clone())),
            Some(why) => refused.push(format!("{} ({why})", path.display())),
        }
    }
    let mut looked = Vec::new();
    if fitting.is_empty() {
        for (place, paths) in places(wanted, directory, own) {
            looked.push(place);
            for path in paths.into_iter().filter(|path| path.is_file()) {
                match inspect(&path) {
                    Ok(program) => match unfit(&program, wanted) {
                        None => fitting.push((program, path)),
                        Some(why) => refused.push(format!("{} ({why})", path.display())),
                    },
                    // A directory may hold anything.
                    Err(_) => continue,
                }
            }
            if !fitting.is_empty() {
                break;
            }
        }
    }
    // The first of the static ones, or the first.
    let best =
        fitting.iter().find(|(program, _)| program.interpreter.is_none()).or(fitting.first());
    if let Some((_, path)) = best {
        return Ok(path.clone());
    }
    let mut message = format!("no forkproof program for {}", wanted.words());
    if !looked.is_empty() {
        message.push_str(&format!(": looked for {}", looked.join("; ")));
    }
    if !refused.is_empty() {
        message.push_str(&format!("; not fit: {}", refused.join(", ")));
    }
    message.push_str(". Name one with --payload FILE, or make one: ");
    let build = "build --release --package forkproof --no-default-features --target";
    let targets = wanted.targets();
    let (best, plain) = (targets[0], targets[targets.len() - 1]);
    message.push_str(&match wanted.system {
        System::Linux => format!(
            "`cargo {build} {plain}` (it takes `rustup target add {plain}` and a linker for it: \
             gcc-multilib on Debian), or with cross for {best}"
        ),
        System::FreeBsd => format!("`CROSS_CONFIG=cross.toml cross {build} {best}`"),
    });
    Err(Error::Usage(message))
}

/// The places in their order, each with its description and its files.
fn places(
    wanted: Wanted,
    directory: Option<&Path>,
    own: Option<&Path>,
) -> Vec<(String, Vec<PathBuf>)> {
    let mut places = Vec::new();
    if let Some(directory) = directory {
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.sort();
        places.push((format!("${DIRECTORY_VARIABLE} ({})", directory.display()), files));
    }
    let Some(own) = own else { return places };
    if let Some(beside) = own.parent() {
        let files =
            wanted.targets().iter().map(|t| beside.join(format!("forkproof-{t}"))).collect();
        let names: Vec<_> = wanted.targets().iter().map(|t| format!("forkproof-{t}")).collect();
        places.push((format!("{} in {}", names.join(", "), beside.display()), files));
    }
    // cargo's: TARGETDIR/PROFILE/forkproof, or TARGETDIR/TRIPLE/PROFILE/forkproof.
    let mut files = Vec::new();
    for root in [own.ancestors().nth(2), own.ancestors().nth(3)].into_iter().flatten() {
        for profile in ["release", "debug"] {
            for target in wanted.targets() {
                files.push(root.join(target).join(profile).join("forkproof"));
            }
        }
    }
    if let Some(root) = own.ancestors().nth(2) {
        let target = wanted.targets().join(" or ");
        places.push((format!("{}/({target})/release/forkproof", root.display()), files));
    }
    places.push(("this program itself".to_owned(), vec![own.to_owned()]));
    places
}

/// Why a program does not run in such a guest, if it doesn't.
fn unfit(program: &Program, wanted: Wanted) -> Option<String> {
    if program.system != wanted.system {
        return Some("for another system".into());
    }
    if program.bits != wanted.bits {
        return Some(format!("{}-bit", program.bits));
    }
    match &program.interpreter {
        // Images have glibc, or FreeBSD's own.
        Some(path) if path.contains("musl") => {
            Some(format!("dynamic, with the loader {path}, which is in no image"))
        }
        _ => None,
    }
}

/// Reads an ELF header.
fn inspect(path: &Path) -> std::result::Result<Program, String> {
    let data = std::fs::read(path).map_err(|error| reason(&error))?;
    let elf = Elf::parse(&data).ok_or("it is no ELF program")?;
    match (elf.machine, elf.bits) {
        (Machine::X86, _) | (Machine::X86_64, 64) => {}
        (Machine::X86_64, _) => return Err("it is of the x32 ABI, which no image has".into()),
        _ => return Err("it is not for x86".into()),
    }
    let system = match elf.os_abi {
        Elf::FREEBSD => System::FreeBsd,
        0 | 3 => System::Linux,
        other => return Err(format!("its OS ABI is {other}: neither Linux nor FreeBSD")),
    };
    let interpreter = elf.interpreter.map(|path| String::from_utf8_lossy(&path).into_owned());
    Ok(Program { system, bits: elf.bits, interpreter })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX_32: Wanted = Wanted { system: System::Linux, bits: 32 };
    const LINUX_64: Wanted = Wanted { system: System::Linux, bits: 64 };
    const FREEBSD_64: Wanted = Wanted { system: System::FreeBsd, bits: 64 };

    /// A file that is a header and, for a dynamic one, its interpreter.
    fn elf(bits: u8, abi: u8, interpreter: Option<&str>) -> Vec<u8> {
        let mut data = vec![0; 256];
        data[..4].copy_from_slice(b"\x7fELF");
        data[4] = if bits == 32 { 1 } else { 2 };
        data[5..8].copy_from_slice(&[1, 1, abi]);
        data[16..20].copy_from_slice(&[2, 0, if bits == 32 { 3 } else { 62 }, 0]);
        let name = interpreter.map(|name| format!("{name}\0")).unwrap_or_default();
        data[200..200 + name.len()].copy_from_slice(name.as_bytes());
        let count = u8::from(interpreter.is_some());
        if bits == 32 {
            data[28] = 64; // e_phoff
            data[42..45].copy_from_slice(&[32, 0, count]);
            data[64] = 3; // PT_INTERP
            data[68] = 200;
            data[80] = name.len() as u8;
        } else {
            data[32] = 64;
            data[54..57].copy_from_slice(&[56, 0, count]);
            data[64] = 3;
            data[72] = 200;
            data[96] = name.len() as u8;
        }
        data
    }

    const GLIBC_32: Option<&str> = Some("/lib/ld-linux.so.2");
    const GLIBC_64: Option<&str> = Some("/lib64/ld-linux-x86-64.so.2");

    #[rstest::rstest]
    #[case(LINUX_32, elf(32, 0, None), None)]
    #[case(LINUX_32, elf(32, 3, GLIBC_32), None)]
    #[case(LINUX_32, elf(64, 0, None), Some("(64-bit)"))]
    #[case(LINUX_64, elf(32, 0, None), Some("(32-bit)"))]
    #[case(LINUX_64, elf(64, 9, None), Some("another system"))]
    #[case(FREEBSD_64, elf(64, 9, Some("/libexec/ld-elf.so.1")), None)]
    #[case(LINUX_64, elf(64, 0, Some("/lib/ld-musl-x86_64.so.1")), Some("ld-musl"))]
    #[case(LINUX_64, b"#!/bin/sh\n".to_vec(), Some("no ELF program"))]
    fn named_ones_must_fit(
        #[case] wanted: Wanted,
        #[case] content: Vec<u8>,
        #[case] refusal: Option<&str>,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("payload");
        std::fs::write(&path, content).expect("written");
        let found = find_among(wanted, std::slice::from_ref(&path), None, None);
        match (found, refusal) {
            (Ok(found), None) => assert_eq!(found, path),
            (Err(error), Some(words)) => {
                assert!(error.to_string().contains(words), "{error}");
                assert!(matches!(error, Error::Usage(_)), "{error:?}");
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_places_are_tried_in_their_order_and_static_ones_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("target");
        let own = target.join("debug/forkproof");
        let put = |path: &Path, content: Vec<u8>| {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, content).expect("written");
        };
        put(&own, elf(64, 0, GLIBC_64));
        let find = |directory: Option<&Path>| find_among(LINUX_64, &[], directory, Some(&own));
        assert_eq!(find(None).expect("itself"), own);
        let built = target.join("x86_64-unknown-linux-gnu/release/forkproof");
        put(&built, elf(64, 0, GLIBC_64));
        assert_eq!(find(None).expect("built"), built);
        let musl = target.join("x86_64-unknown-linux-musl/debug/forkproof");
        put(&musl, elf(64, 0, None));
        assert_eq!(find(None).expect("static"), musl);
        let beside = target.join("debug/forkproof-x86_64-unknown-linux-gnu");
        put(&beside, elf(64, 0, GLIBC_64));
        assert_eq!(find(None).expect("beside"), beside);
        let payloads = dir.path().join("payloads");
        put(&payloads.join("a"), elf(32, 0, None));
        put(&payloads.join("b"), elf(64, 0, GLIBC_64));
        assert_eq!(find(Some(&payloads)).expect("in the directory"), payloads.join("b"));

        let error = find_among(LINUX_32, &[], None, Some(&own)).expect_err("none");
        let text = error.to_string();
        for words in
            ["a 32-bit x86 Linux guest", "i686-unknown-linux-musl", "(64-bit)", "--payload"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        let error = find_among(FREEBSD_64, &[], None, Some(&own)).expect_err("none");
        assert!(error.to_string().contains("CROSS_CONFIG=cross.toml cross build"), "{error}");
    }
}
