//! Which `forkproof` goes into a guest: an executable of its system and its width.
//!
//! Told from the ELF header alone: class, machine, OS ABI, and whether it names an interpreter. A
//! static one runs everywhere; a dynamic one needs the guest's C library to be no older than the
//! one it was linked with, which the guest finds out (`run.sh`).

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forkproof_host::{Elf, Machine};
use settings::reason;

use crate::catalogue::{Architecture, Image, System};
use crate::error::{Error, Result};

/// The variable that names a directory of payloads.
const DIRECTORY_VARIABLE: &str = "FORKPROOF_PAYLOADS";

/// What a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its system.
    pub(crate) system: System,
    /// The processor that its programs are made for.
    pub(crate) architecture: Architecture,
}

impl Wanted {
    /// By an image.
    pub(crate) fn by(image: &Image) -> Self {
        Self {
            system: image.system(),
            architecture: image
                .architecture
                .of_programs(image.userland_bits)
                .unwrap_or(image.architecture),
        }
    }

    /// "a 32-bit x86 Linux guest".
    pub(crate) fn words(self) -> String {
        let system = self.system.words();
        let processor = self.architecture.words();
        let article = if self.architecture == Architecture::S390x { "an" } else { "a" };
        format!("{article} {processor} {system} guest")
    }

    /// Rust's names of the targets that fit, the static one first.
    fn targets(self) -> &'static [&'static str] {
        match (self.system, self.architecture) {
            (System::Linux, Architecture::I686) => {
                &["i686-unknown-linux-musl", "i686-unknown-linux-gnu"]
            }
            (System::Linux, Architecture::X86_64) => {
                &["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"]
            }
            (System::Linux, Architecture::Aarch64) => {
                &["aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"]
            }
            (System::Linux, Architecture::Armv7) => {
                &["armv7-unknown-linux-musleabihf", "armv7-unknown-linux-gnueabihf"]
            }
            (System::Linux, Architecture::S390x) => &["s390x-unknown-linux-gnu"],
            (System::Linux, Architecture::Riscv64) => {
                &["riscv64gc-unknown-linux-musl", "riscv64gc-unknown-linux-gnu"]
            }
            (System::FreeBsd, Architecture::I686) => &["i686-unknown-freebsd"],
            (System::FreeBsd, Architecture::Aarch64) => &["aarch64-unknown-freebsd"],
            (System::FreeBsd, Architecture::Armv7) => &["armv7-unknown-freebsd"],
            (System::FreeBsd, Architecture::Riscv64) => &["riscv64gc-unknown-freebsd"],
            (System::FreeBsd, _) => &["x86_64-unknown-freebsd"],
        }
    }

    /// What links the program on a host of another processor: the package on Debian, and the program
    /// where rustc does not find it by itself.
    fn linker(self) -> Option<(&'static str, Option<&'static str>)> {
        if self.system != System::Linux
            || self.architecture.bits() == usize::BITS as u8 && self.architecture.is_the_hosts()
        {
            return None;
        }
        match self.architecture {
            Architecture::X86_64 => Some(("gcc-x86-64-linux-gnu", Some("x86_64-linux-gnu-gcc"))),
            Architecture::I686 if self.architecture.is_the_hosts() => Some(("gcc-multilib", None)),
            Architecture::I686 => Some(("gcc-i686-linux-gnu", Some("i686-linux-gnu-gcc"))),
            Architecture::Aarch64 => Some(("gcc-aarch64-linux-gnu", Some("aarch64-linux-gnu-gcc"))),
            Architecture::Armv7 => {
                Some(("gcc-arm-linux-gnueabihf", Some("arm-linux-gnueabihf-gcc")))
            }
            Architecture::S390x => Some(("gcc-s390x-linux-gnu", Some("s390x-linux-gnu-gcc"))),
            Architecture::Riscv64 => Some(("gcc-riscv64-linux-gnu", Some("riscv64-linux-gnu-gcc"))),
        }
    }
}

/// What an ELF header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    system: System,
    architecture: Architecture,
    /// Its dynamic loader; none when it is static.
    interpreter: Option<String>,
}

/// How to make a program for such a guest, in a clone: what `doctor` and errors say, and the book and
/// cross.toml explain.
pub(crate) fn how_to_make(wanted: Wanted) -> String {
    let build = "build --release --locked --package forkproof --no-default-features --target";
    let targets = wanted.targets();
    match wanted.system {
        System::Linux => {
            let plain = targets[targets.len() - 1];
            let linker = wanted.linker().and_then(|(_, program)| program).map(|program| {
                let variable = plain.replace('-', "_").to_uppercase();
                format!("CARGO_TARGET_{variable}_LINKER={program} ")
            });
            let linker = linker.unwrap_or_default();
            format!("rustup target add {plain} && {linker}cargo {build} {plain}")
        }
        System::FreeBsd => format!(
            "CROSS_CONFIG=cross.toml cross +1.85 {build} {} --target-dir target/cross",
            targets[0]
        ),
    }
}

/// Where to look.
#[derive(Debug, Default)]
struct Surroundings {
    /// What the user keeps payloads in.
    directory: Option<PathBuf>,
    /// This program.
    own: Option<PathBuf>,
    /// cargo's target directories of the clone that the user is in.
    built: Vec<PathBuf>,
}

/// The executable for a guest: one of `named`, or of the places that the documentation lists.
pub(crate) fn find(wanted: Wanted, named: &[PathBuf]) -> Result<PathBuf> {
    find_among(
        wanted,
        named,
        &Surroundings {
            directory: std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from),
            own: std::env::current_exe().ok(),
            built: std::env::current_dir().map(|dir| target_dirs(&dir)).unwrap_or_default(),
        },
    )
}

/// Sees that each program that was named is for one of these guests: another would be left aside, and
/// a program that was found in its place.
pub(crate) fn require_use(named: &[PathBuf], guests: &[Wanted]) -> Result<()> {
    for path in named {
        let program = inspect_named(path)?;
        // None as soon as it is fit for one.
        let unfit: Option<BTreeSet<String>> = guests
            .iter()
            .map(|guest| {
                let why = unfit(&program, *guest)?;
                Some(format!("not fit for {} ({why})", guest.words()))
            })
            .collect();
        let Some(unfit) = unfit else { continue };
        let reasons: Vec<String> = unfit.into_iter().collect();
        let mut message = format!("payload {}: {}", path.display(), reasons.join(", "));
        if program.system == System::FreeBsd && guests.iter().all(|g| g.system == System::Linux) {
            message.push_str(
                ". The description of a FreeBSD guest, or FILE.toml beside --image FILE.qcow2, says \
                 `system = \"freebsd\"`",
            );
        }
        return Err(Error::Usage(message));
    }
    Ok(())
}

/// cargo's target directories for who is in `dir`: what is set, and where cross.toml has cross build.
fn target_dirs(dir: &Path) -> Vec<PathBuf> {
    let Some(clone) = clone_around(dir) else { return Vec::new() };
    let set = std::env::var_os("CARGO_TARGET_DIR").map(|set| clone.join(set));
    set.into_iter().chain([clone.join("target")]).collect()
}

/// The clone of this project that `dir` is in. Another user's is nobody's to take programs from.
fn clone_around(dir: &Path) -> Option<&Path> {
    let clone = dir
        .ancestors()
        .find(|dir| dir.join("cross.toml").is_file() && dir.join("vm/images").is_dir())?;
    let owner = clone.metadata().ok()?.uid();
    [0, nix::unistd::geteuid().as_raw()].contains(&owner).then_some(clone)
}

fn find_among(wanted: Wanted, named: &[PathBuf], around: &Surroundings) -> Result<PathBuf> {
    // What the user names is a mistake if it is no program at all; one for another guest of the
    // same command is none.
    let mut refused = Vec::new();
    let mut fitting = Vec::new();
    for path in named {
        let program = inspect_named(path)?;
        match unfit(&program, wanted) {
            None => fitting.push((program, path.clone())),
            Some(why) => refused.push(format!("{} ({why})", path.display())),
        }
    }
    let mut looked = Vec::new();
    if fitting.is_empty() {
        for (place, paths) in places(wanted, around) {
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
    message.push_str(&format!(
        ". Name one with --payload FILE, or make one in a clone: `{}`",
        how_to_make(wanted)
    ));
    if let Some((package, _)) = wanted.linker() {
        message.push_str(&format!(" (it takes a linker, too: {package} on Debian)"));
    }
    Err(Error::Usage(message))
}

/// The places in their order, each with its description and its files.
fn places(wanted: Wanted, around: &Surroundings) -> Vec<(String, Vec<PathBuf>)> {
    let mut places = Vec::new();
    if let Some(directory) = &around.directory {
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.sort();
        places.push((format!("${DIRECTORY_VARIABLE} ({})", directory.display()), files));
    }
    let own = around.own.as_deref();
    if let Some(beside) = own.and_then(Path::parent) {
        let names: Vec<_> = wanted.targets().iter().map(|t| format!("forkproof-{t}")).collect();
        let files = names.iter().map(|name| beside.join(name)).collect();
        places.push((format!("{} in {}", names.join(", "), beside.display()), files));
    }
    // cargo's: this program is TARGETDIR/PROFILE/forkproof, or TARGETDIR/TRIPLE/PROFILE/forkproof.
    let around_own: Vec<&Path> =
        own.map(|own| own.ancestors().skip(2).take(2).collect()).unwrap_or_default();
    let built = around.built.iter().map(PathBuf::as_path);
    let built = built.filter(|built| !around_own.contains(built)).collect();
    for roots in [around_own, built] {
        let Some(first) = roots.first() else { continue };
        let targets = wanted.targets().join(" or ");
        let place = format!("{}/({targets})/release/forkproof", first.display());
        places.push((place, roots.iter().flat_map(|root| built_in(root, wanted)).collect()));
    }
    if let Some(own) = own {
        places.push(("this program itself".to_owned(), vec![own.to_owned()]));
    }
    places
}

/// What cargo and cross leave in a target directory; cross has one of its own there.
fn built_in(target_dir: &Path, wanted: Wanted) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for root in [target_dir.to_owned(), target_dir.join("cross")] {
        for profile in ["release", "debug"] {
            for target in wanted.targets() {
                files.push(root.join(target).join(profile).join("forkproof"));
            }
        }
    }
    files
}

/// Why a program does not run in such a guest, if it doesn't.
fn unfit(program: &Program, wanted: Wanted) -> Option<String> {
    if program.system != wanted.system {
        return Some(format!("for {}", program.system.words()));
    }
    if program.architecture != wanted.architecture {
        return Some(program.architecture.words().into());
    }
    match &program.interpreter {
        // Images have glibc, or FreeBSD's own.
        Some(path) if path.contains("musl") => {
            Some(format!("dynamic, with the loader {path}, which is in no image"))
        }
        _ => None,
    }
}

/// Reads the ELF header of a program that the user has named.
fn inspect_named(path: &Path) -> Result<Program> {
    inspect(path).map_err(|why| Error::Usage(format!("payload {}: {why}", path.display())))
}

/// Reads an ELF header.
fn inspect(path: &Path) -> std::result::Result<Program, String> {
    let data = std::fs::read(path).map_err(|error| reason(&error))?;
    let elf = Elf::parse(&data).ok_or("it is no ELF program")?;
    let architecture = match (elf.machine, elf.bits, elf.little_endian) {
        (Machine::X86, ..) => Architecture::I686,
        (Machine::X86_64, 64, _) => Architecture::X86_64,
        (Machine::X86_64, ..) => return Err("it is of the x32 ABI, which no image has".into()),
        (Machine::ARM, _, true) => Architecture::Armv7,
        (Machine::AARCH64, 64, true) => Architecture::Aarch64,
        (Machine::S390, 64, false) => Architecture::S390x,
        (Machine::RISCV, 64, true) => Architecture::Riscv64,
        _ => return Err(format!("no image is of its processor: {elf}")),
    };
    let system = match elf.os_abi {
        Elf::FREEBSD => System::FreeBsd,
        0 | 3 => System::Linux,
        other => return Err(format!("its OS ABI is {other}: neither Linux nor FreeBSD")),
    };
    let interpreter = elf.interpreter.map(|path| String::from_utf8_lossy(&path).into_owned());
    Ok(Program { system, architecture, interpreter })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wanted(system: System, architecture: Architecture) -> Wanted {
        Wanted { system, architecture }
    }
    const LINUX_32: Wanted = wanted(System::Linux, Architecture::I686);
    const LINUX_64: Wanted = wanted(System::Linux, Architecture::X86_64);
    const LINUX_ARM: Wanted = wanted(System::Linux, Architecture::Aarch64);
    const FREEBSD_64: Wanted = wanted(System::FreeBsd, Architecture::X86_64);

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
    #[case(LINUX_32, elf(64, 0, None), Some("(64-bit x86)"))]
    #[case(LINUX_64, elf(32, 0, None), Some("(32-bit x86)"))]
    #[case(LINUX_64, elf(64, 9, None), Some("(for FreeBSD)"))]
    #[case(FREEBSD_64, elf(64, 9, Some("/libexec/ld-elf.so.1")), None)]
    #[case(LINUX_64, elf(64, 0, Some("/lib/ld-musl-x86_64.so.1")), Some("ld-musl"))]
    #[case(LINUX_ARM, elf(64, 0, None), Some("(64-bit x86)"))]
    #[case(LINUX_64, b"#!/bin/sh\n".to_vec(), Some("no ELF program"))]
    fn named_ones_must_fit(
        #[case] wanted: Wanted,
        #[case] content: Vec<u8>,
        #[case] refusal: Option<&str>,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("payload");
        std::fs::write(&path, content).expect("written");
        let found = find_among(wanted, std::slice::from_ref(&path), &Surroundings::default());
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
        let find = |directory: Option<&Path>| {
            let directory = directory.map(Path::to_owned);
            let own = Some(own.clone());
            find_among(LINUX_64, &[], &Surroundings { directory, own, built: Vec::new() })
        };
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

        let around = Surroundings { own: Some(own.clone()), ..Surroundings::default() };
        let error = find_among(LINUX_32, &[], &around).expect_err("none");
        let text = error.to_string();
        for words in
            ["a 32-bit x86 Linux guest", "i686-unknown-linux-musl", "(64-bit x86)", "--payload"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        let error = find_among(FREEBSD_64, &[], &around).expect_err("none");
        assert!(error.to_string().contains("CROSS_CONFIG=cross.toml cross +1.85 build"), "{error}");
    }

    /// An installed program finds what was built in the clone that its user is in, by cross too.
    #[test]
    fn an_installed_program_looks_into_the_clone() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |path: &str, content: Vec<u8>| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(&path, content).expect("written");
            path
        };
        let own = put("home/.cargo/bin/forkproof", elf(64, 0, GLIBC_64));
        put("clone/cross.toml", Vec::new());
        put("clone/vm/images/x.toml", Vec::new());
        put("elsewhere/cross.toml", Vec::new());
        let clone = dir.path().join("clone");
        assert_eq!(clone_around(&clone.join("vm/images")), Some(clone.as_path()));
        assert_eq!(clone_around(&dir.path().join("elsewhere")), None);
        let around = Surroundings {
            directory: None,
            own: Some(own.clone()),
            built: vec![clone.join("target")],
        };
        assert_eq!(find_among(LINUX_64, &[], &around).expect("itself"), own);
        let error = find_among(FREEBSD_64, &[], &around).expect_err("none").to_string();
        assert!(error.contains("clone/target/(x86_64-unknown-freebsd)/release"), "{error}");
        let built = "clone/target/i686-unknown-linux-gnu/release/forkproof";
        let built = put(built, elf(32, 0, GLIBC_32));
        assert_eq!(find_among(LINUX_32, &[], &around).expect("built"), built);
        let crossed = "clone/target/cross/x86_64-unknown-freebsd/release/forkproof";
        let crossed = put(crossed, elf(64, 9, None));
        assert_eq!(find_among(FREEBSD_64, &[], &around).expect("by cross"), crossed);
    }

    /// One command, wherever it is told.
    #[test]
    fn the_book_and_cross_toml_tell_the_same_commands() {
        let book = include_str!("../../conformance/docs/src/machines.md");
        let mut told = vec![FREEBSD_64];
        // On another host it takes another linker.
        if cfg!(target_arch = "x86_64") {
            told.extend([LINUX_32, LINUX_ARM]);
        }
        for wanted in told {
            let command = how_to_make(wanted);
            assert!(book.contains(&format!("`{command}`")), "{command}");
        }
        let comment = include_str!("../../cross.toml").replace(['#', '\\'], " ");
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        let command = how_to_make(FREEBSD_64);
        let cross = command.split_once(' ').expect("a variable first").1;
        assert!(comment.contains(cross), "{cross}");
    }
}
