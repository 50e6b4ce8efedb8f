//! Personalities: which there are, and running a program under some of them.
//!
//! The interposed library is embedded in this executable (see build.rs) and put
//! into a private directory when it is needed.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use forkproof_host::Elf;
#[path = "../personality/src/table.rs"]
pub mod table;

use table::{ALL, TRACE, TRACE_MAGIC, TRACE_SIZE};
pub use table::{Kind, Parameter, Personality, SELECTION, signal_bit};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The variable that names a library to use in place of the embedded one.
pub const LIBRARY: &str = "FORKPROOF_PERSONALITY_LIB";
/// The library's file name, beside the program or in a private directory.
const FILE_NAME: &str = "libforkproof_personality.so";

/// The trace file's name in the directory of an [`Interposition`].
pub const TRACE_FILE: &str = "personality.trace";

/// Every personality, in the order of the catalogue.
pub fn all() -> &'static [Personality] {
    ALL
}

/// The personality of that name, or an error that names the nearest one.
pub fn find(name: &str) -> Result<&'static Personality, String> {
    if let Some(found) = ALL.iter().find(|personality| personality.name == name) {
        return Ok(found);
    }
    let names: Vec<&str> = ALL.iter().map(|personality| personality.name).collect();
    let hint = settings::did_you_mean(name, &names)
        .unwrap_or_else(|| "`forkproof as --list` shows them all".to_owned());
    Err(format!("no personality is called `{name}`: {hint}"))
}

/// A personality and the value it was given, if any.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// Which one.
    pub personality: &'static Personality,
    value: Option<&'a str>,
}

impl<'a> Selected<'a> {
    /// Reads `name` or `name=value`.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let personality = find(name)?;
        match (&personality.parameter, value) {
            (None, Some(value)) => {
                return Err(format!("`{name}` takes no value, but was given `{value}`"));
            }
            (Some(parameter), Some(value)) if parameter.parse(value.as_bytes()).is_none() => {
                return Err(format!("`{value}` is not a value of `{name}`: {}", values(parameter)));
            }
            _ => {}
        }
        Ok(Selected { personality, value })
    }

    /// Reads several, separated by commas.
    pub fn parse_list(text: &'a str) -> Result<Vec<Self>, String> {
        text.split(',').map(Self::parse).collect()
    }
}

impl fmt::Display for Selected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.personality.name)?;
        self.value.map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// What may stand after a personality's `=`, in words.
pub fn values(parameter: &Parameter) -> String {
    let names =
        |list: &[(&str, u32)]| list.iter().map(|entry| entry.0).collect::<Vec<_>>().join(", ");
    let which = match parameter.kind {
        Kind::Number => "a number".to_owned(),
        Kind::Signal => format!("one of {}", names(table::SIGNALS)),
        Kind::Errno => format!("one of {}", names(table::ERRORS)),
        Kind::Words(words) => format!("one of {}", words.join(", ")),
    };
    format!("{} ({which})", parameter.means)
}

/// What a personality did, in all the processes that shared a trace file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Traced {
    /// The personality's name.
    pub name: &'static str,
    /// Processes that loaded it; each exec counts, a fork does not.
    pub loaded_processes: u32,
    /// Calls that it altered.
    pub altered_calls: u32,
}

impl Traced {
    /// Whether the control changed nothing, so that its outcome proves nothing.
    pub fn is_void(&self) -> bool {
        self.altered_calls == 0
    }
}

/// Reads a trace file: one entry for every personality, in the table's order.
pub fn read_trace(path: &Path) -> Result<Vec<Traced>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() != TRACE_SIZE || !bytes.starts_with(TRACE_MAGIC) {
        return Err(format!("{} is not a trace of this forkproof's personalities", path.display()));
    }
    let counters = bytes[TRACE_MAGIC.len()..].chunks_exact(8);
    let number = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(ALL
        .iter()
        .zip(counters)
        .map(|(personality, pair)| Traced {
            name: personality.name,
            loaded_processes: number(&pair[..4]),
            altered_calls: number(&pair[4..]),
        })
        .collect())
}

/// The library and a trace file in a private directory, for the programs of one check. The
/// directory's owner removes them with it.
#[derive(Debug)]
pub struct Interposition {
    library: PathBuf,
    trace: PathBuf,
    selection: String,
    names: Vec<&'static str>,
}

impl Interposition {
    /// Puts both files into `directory`, for these personalities.
    pub fn new(directory: &Path, selected: &[Selected<'_>]) -> Result<Self, String> {
        let failed = |error: std::io::Error| {
            format!("personality library in {}: {error}", directory.display())
        };
        let library = match library()? {
            Library::File(path) => path,
            Library::Embedded(bytes) => {
                let path = directory.join(FILE_NAME);
                fs::write(&path, bytes).map_err(failed)?;
                path
            }
        };
        preloadable(&library)?;
        let mut empty = TRACE_MAGIC.to_vec();
        empty.resize(TRACE_SIZE, 0);
        let trace = directory.join(TRACE_FILE);
        fs::write(&trace, empty).map_err(failed)?;
        // A server that drops its privileges goes on counting; the directory is private.
        fs::set_permissions(&trace, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(Interposition {
            library,
            trace,
            selection: join(selected),
            names: selected.iter().map(|selected| selected.personality.name).collect(),
        })
    }

    /// The variables that put a program under these personalities.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables = variables(&self.library, &self.selection);
        variables.push((TRACE.into(), self.trace.clone().into()));
        variables
    }

    /// What each of these personalities has done so far.
    pub fn trace(&self) -> Result<Vec<Traced>, String> {
        let mut trace = read_trace(&self.trace)?;
        trace.retain(|traced| self.names.contains(&traced.name));
        Ok(trace)
    }
}

fn join(selected: &[Selected<'_>]) -> String {
    selected.iter().map(Selected::to_string).collect::<Vec<_>>().join(",")
}

/// LD_PRELOAD (ld.so(8); FreeBSD rtld(1)), kept before what was there already,
/// and the selection.
fn variables(library: &Path, selection: &str) -> Vec<(OsString, OsString)> {
    let mut preload = library.as_os_str().to_owned();
    if let Some(before) = std::env::var_os("LD_PRELOAD").filter(|before| !before.is_empty()) {
        preload.push(":");
        preload.push(before);
    }
    vec![("LD_PRELOAD".into(), preload), (SELECTION.into(), selection.into())]
}

/// ld.so(8): the list is separated by spaces or colons, and neither can be
/// quoted; rtld(1) says the same, with semicolons.
fn preloadable(library: &Path) -> Result<(), String> {
    let splits = |byte: &u8| byte.is_ascii_whitespace() || [b':', b';'].contains(byte);
    if library.as_os_str().as_bytes().iter().any(splits) {
        return Err(format!(
            "{}: LD_PRELOAD cannot name a path with a space, colon or semicolon; set TMPDIR to one without",
            library.display()
        ));
    }
    Ok(())
}

enum Library {
    File(PathBuf),
    Embedded(&'static [u8]),
}

/// The library to use: the one named by [`LIBRARY`], the embedded one, or one
/// beside this program.
fn library() -> Result<Library, String> {
    if let Some(named) = std::env::var_os(LIBRARY) {
        let path = PathBuf::from(named);
        return match fs::canonicalize(&path) {
            Ok(path) => Ok(Library::File(path)),
            Err(error) => Err(format!("{LIBRARY}={}: {error}", path.display())),
        };
    }
    let why = match EMBEDDED {
        Ok(bytes) => return Ok(Library::Embedded(bytes)),
        Err(why) => why,
    };
    let beside =
        std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(FILE_NAME)));
    match beside {
        Some(path) if path.is_file() => Ok(Library::File(path)),
        // A library beside it would not be loaded into it, or into the servers inside.
        _ if cfg!(target_feature = "crt-static") => {
            Err(format!("this forkproof has no personality library: {why}"))
        }
        _ => Err(format!(
            "this forkproof has no personality library: {why}; put {FILE_NAME} beside it or name one in {LIBRARY}"
        )),
    }
}

/// Refuses a program that the dynamic linker would not put the library before,
/// with the reason: a static one, a set-user-ID one, one for another machine. A
/// script is judged by its interpreter.
pub fn refuse_uninterposable(program: &Path) -> Result<(), String> {
    let mut program = program.to_owned();
    // As deep as Linux follows one interpreter to the next (execve(2)).
    for _ in 0..5 {
        let named = program.display().to_string();
        let unreadable = |error: std::io::Error| format!("{named}: {error}");
        let facts = fs::metadata(&program).map_err(unreadable)?;
        if !facts.is_file() {
            return Err(format!("{named} is not a program"));
        }
        let mut bytes = Vec::new();
        File::open(&program)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if let Some(line) = bytes.strip_prefix(b"#!") {
            program = interpreter(line)
                .ok_or_else(|| format!("{named}: the #! line names no interpreter"))?;
            continue;
        }
        return refuse_mode(&named, &facts).and_then(|()| refuse_elf(&named, &program, &bytes));
    }
    Err(format!("{}: scripts that interpret scripts, five deep", program.display()))
}

fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(word)))
}

fn refuse_mode(named: &str, facts: &fs::Metadata) -> Result<(), String> {
    for (bit, what) in [(0o4000, "set-user-ID"), (0o2000, "set-group-ID")] {
        if facts.mode() & bit != 0 {
            return Err(format!("{named} is {what}: the dynamic linker ignores LD_PRELOAD for it"));
        }
    }
    Ok(())
}

fn refuse_elf(named: &str, program: &Path, bytes: &[u8]) -> Result<(), String> {
    if has_capabilities(program) {
        return Err(format!(
            "{named} has file capabilities: the dynamic linker ignores LD_PRELOAD for it"
        ));
    }
    let theirs = Elf::parse(bytes)
        .ok_or_else(|| format!("{named} is neither an ELF program nor a script"))?;
    let library = match library()? {
        Library::File(path) => {
            fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        Library::Embedded(bytes) => bytes.to_vec(),
    };
    let ours = Elf::parse(&library).ok_or("the personality library is not an ELF file")?;
    if (theirs.bits, theirs.machine) != (ours.bits, ours.machine) {
        return Err(format!(
            "{named} is {theirs} and the personality library is {ours}: use a forkproof built for the \
             program's machine"
        ));
    }
    let Some(linker) = theirs.interpreter else {
        return Err(format!(
            "{named} is statically linked, so no personality can be loaded into it"
        ));
    };
    let musl = linker.windows(7).any(|part| part == b"ld-musl");
    if cfg!(target_os = "linux") && musl != cfg!(target_env = "musl") {
        let (program, library) = if musl { ("musl", "glibc") } else { ("glibc", "musl") };
        return Err(format!("{named} uses {program} and the personality library {library}"));
    }
    Ok(())
}

/// Linux ld.so(8), secure-execution mode: a program with file capabilities
/// counts as set-user-ID does.
#[cfg(target_os = "linux")]
fn has_capabilities(program: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(program.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: both strings end with NUL; a size of 0 asks for the length alone.
    unsafe {
        libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) > 0
    }
}

#[cfg(not(target_os = "linux"))]
fn has_capabilities(_program: &Path) -> bool {
    false
}

/// The body of `forkproof as`: becomes `command`, under these personalities.
/// Returns only with the reason why it could not.
pub fn run_as(
    selected: &[Selected<'_>],
    command: &[OsString],
) -> Result<std::convert::Infallible, String> {
    let [name, arguments @ ..] = command else {
        return Err("no command was given to run".to_owned());
    };
    let program = which::which(name)
        .map_err(|_| format!("{}: no such program on PATH", name.to_string_lossy()))?;
    refuse_uninterposable(&program)?;
    let library = match library()? {
        Library::File(path) => path,
        Library::Embedded(bytes) => kept(bytes)?,
    };
    preloadable(&library)?;
    let error = Command::new(&program)
        .arg0(name)
        .args(arguments)
        .envs(variables(&library, &join(selected)))
        .exec();
    Err(format!("{}: {error}", program.display()))
}

/// Puts the library where it outlives this process, which becomes the program
/// and cannot tidy up: one file for each user and build, in a directory that
/// nobody else can write to.
fn kept(bytes: &[u8]) -> Result<PathBuf, String> {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    let directory = std::env::temp_dir().join(format!("forkproof-{user}"));
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(error));
        }
        _ => {}
    }
    let facts = fs::symlink_metadata(&directory).map_err(failed)?;
    if !facts.is_dir() || facts.uid() != user || facts.mode() & 0o077 != 0 {
        return Err(format!(
            "{} is not a private directory of this user: remove it",
            directory.display()
        ));
    }
    let library = directory.join(format!("{:016x}-{FILE_NAME}", fingerprint(bytes)));
    if fs::read(&library).is_ok_and(|there| there == bytes) {
        return Ok(library);
    }
    // Another forkproof may be doing the same: the file appears whole.
    let draft = directory.join(format!(".{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    fs::rename(&draft, &library).map_err(failed)?;
    Ok(library)
}

/// FNV-1a; only to tell builds apart, the contents are compared.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
