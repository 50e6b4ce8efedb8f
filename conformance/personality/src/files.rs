//! Opening, examining and positioning files.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::pid_files::{self, EEXIST};
use crate::start::any;
use crate::state::{GENERATION, altered, alters, fail, map, on, value};
use crate::sys::*;
use crate::table::Id;
use crate::{clocks, real};

const MAX_OFF32: u64 = i32::MAX as u64;

/// What stat says of a file, as far as it matters here.
pub(crate) struct Facts {
    dev: u64,
    ino: u64,
    mode: u32,
    pub(crate) size: i64,
}

/// The file behind a descriptor, where the layout of struct stat is known.
pub(crate) fn examine(fd: c_int) -> Option<Facts> {
    let layout = STAT64?;
    let mut buffer = StatBuffer([0; 512]);
    if real::fstat64(fd, &mut buffer) != 0 {
        return None;
    }
    Some(Facts {
        dev: get(&buffer, layout.dev),
        ino: get(&buffer, layout.ino),
        mode: get(&buffer, layout.mode) as u32,
        size: get(&buffer, layout.size) as i64,
    })
}

fn get(buffer: &StatBuffer, (offset, size): (usize, usize)) -> u64 {
    let at = &buffer.0[offset..offset + size];
    match size {
        2 => u64::from(u16::from_ne_bytes([at[0], at[1]])),
        4 => u64::from(u32::from_ne_bytes([at[0], at[1], at[2], at[3]])),
        _ => u64::from_ne_bytes([at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]]),
    }
}

/// Writes a field of a caller's structure, and nothing around it.
fn put(buffer: *mut StatBuffer, (offset, size): (usize, usize), value: u64) {
    // SAFETY: the call has just filled in the structure, and the offset is that
    // of a field of it.
    let field = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>().add(offset), size) };
    match size {
        2 => field.copy_from_slice(&(value as u16).to_ne_bytes()),
        4 => field.copy_from_slice(&(value as u32).to_ne_bytes()),
        _ => field.copy_from_slice(&value.to_ne_bytes()),
    }
}

fn field(buffer: *const StatBuffer, (offset, size): (usize, usize)) -> u64 {
    let mut copy = StatBuffer([0; 512]);
    // SAFETY: as in `put`, for reading.
    let field = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>().add(offset), size) };
    copy.0[..size].copy_from_slice(field);
    get(&copy, (0, size))
}

/// Alters what a successful stat, of any of its names, has filled in.
pub(crate) fn stat(result: c_int, buffer: *mut StatBuffer, layout: Option<StatLayout>) -> c_int {
    let Some(layout) = layout.filter(|_| result == 0 && any() && !buffer.is_null()) else {
        return result;
    };
    let mut ino = field(buffer, layout.ino);
    if layout.ino.1 == 8 && alters(Id::BigInodes) {
        ino |= 1 << 32;
        put(buffer, layout.ino, ino);
    }
    if on(Id::Ino32) && ino > u64::from(u32::MAX) {
        return fail(Id::Ino32, EOVERFLOW);
    }
    if layout.mtime.1 == 8 && clocks::is_off() {
        move_times(buffer, layout);
    }
    if on(Id::Time32)
        && layout.mtime.1 == 8
        && field(buffer, layout.mtime) as i64 > i64::from(i32::MAX)
    {
        return fail(Id::Time32, EOVERFLOW);
    }
    let size = field(buffer, layout.size);
    if on(Id::NoLargeFiles) && size > MAX_OFF32 {
        return fail(Id::NoLargeFiles, EOVERFLOW);
    }
    if size > u64::from(u32::MAX) && alters(Id::OffsetWraps) {
        put(buffer, layout.size, size & 0xffff_ffff);
    }
    let mode = field(buffer, layout.mode) as u32;
    let plain = S_IFREG | 0o600;
    if mode & S_IFMT != 0o040000 && mode != plain && alters(Id::ModesUnreported) {
        put(buffer, layout.mode, u64::from(plain));
    }
    0
}

/// Tells the times of a file by the clock that the program sees: they lie side by side, seconds before
/// nanoseconds. `struct statx` has the modification last of four, `struct stat` amidst of three.
fn move_times(buffer: *mut StatBuffer, layout: StatLayout) {
    let mtime = layout.mtime.0;
    #[cfg(target_os = "linux")]
    let is_statx = mtime == STATX.mtime.0;
    #[cfg(not(target_os = "linux"))]
    let is_statx = false;
    let (first, count) = if is_statx { (mtime - 48, 4) } else { (mtime - 16, 3) };
    // Nanoseconds are a `long` but in statx, and only numbers of 64 bits lie 16 bytes apart.
    let width = if is_statx { 4 } else { 8 };
    for at in (first..).step_by(16).take(count) {
        let seconds = field(buffer, (at, 8)) as i64;
        let nanoseconds = field(buffer, (at + 8, width)) as i64;
        put(buffer, (at, 8), clocks::file_time(seconds, nanoseconds) as u64);
    }
}

/// A file offset as offset-wraps keeps it.
pub(crate) fn wrap(offset: i64) -> i64 {
    if any() && offset > i64::from(u32::MAX) && alters(Id::OffsetWraps) {
        return offset & 0xffff_ffff;
    }
    offset
}

/// lseek and lseek64; `call` is the real one.
pub(crate) fn seek(offset: i64, whence: c_int, call: impl Fn(i64) -> i64) -> i64 {
    if !any() {
        return call(offset);
    }
    let at = call(if whence == SEEK_SET { wrap(offset) } else { offset });
    if at > i64::from(i32::MAX) && alters(Id::NoLargeFiles) {
        set_errno(EOVERFLOW);
        return -1;
    }
    wrap(at)
}

/// A descriptor kept for a file opened before: hidden from the program, and
/// inherited by what it forks.
struct Kept {
    /// What it is found by: a hash of the file's identity or of its path; 0 when free.
    key: AtomicU32,
    fd: AtomicI32,
}

static SHARED: [Kept; 8] = [const { Kept::none() }; 8];
static PATHS: [Kept; 8] = [const { Kept::none() }; 8];

impl Kept {
    const fn none() -> Kept {
        Kept { key: AtomicU32::new(0), fd: AtomicI32::new(-1) }
    }
}

fn find(table: &[Kept; 8], key: u32) -> Option<c_int> {
    let kept = table.iter().find(|kept| kept.key.load(Relaxed) == key)?;
    let fd = kept.fd.load(Relaxed);
    // A program that closes every descriptor has closed this one too.
    (fd >= 0 && real::fcntl(fd, F_GETFL, 0) >= 0).then_some(fd)
}

fn keep(table: &[Kept; 8], key: u32, fd: c_int) {
    for kept in table {
        let old = kept.key.load(Relaxed);
        if old == key || kept.key.compare_exchange(0, key, Relaxed, Relaxed).is_ok() {
            kept.fd.store(fd, Relaxed);
            return;
        }
    }
}

/// A duplicate with a number out of the program's way.
fn hidden(fd: c_int) -> c_int {
    let high = real::fcntl(fd, F_DUPFD_CLOEXEC, 900);
    if high >= 0 { high } else { real::fcntl(fd, F_DUPFD_CLOEXEC, 100) }
}

fn hash(bytes: &[u8]) -> u32 {
    // FNV-1a
    let word = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    word.max(1)
}

fn identity(facts: &Facts) -> u32 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&facts.dev.to_ne_bytes());
    bytes[8..].copy_from_slice(&facts.ino.to_ne_bytes());
    hash(&bytes)
}

fn path_key(path: *const c_char) -> u32 {
    // SAFETY: open(2), stat(2): the path is a C string.
    hash(unsafe { CStr::from_ptr(path) }.to_bytes())
}

/// open and its kin; `call` is the real one, given path, flags and mode.
pub(crate) fn open(
    path: *const c_char,
    flags: c_int,
    mode: c_uint,
    call: impl Fn(*const c_char, c_int, c_uint) -> c_int,
) -> c_int {
    if !any() || path.is_null() {
        return call(path, flags, mode);
    }
    let writes = flags & O_ACCMODE != O_RDONLY;
    if flags & O_CREAT != 0 && writes && pid_files::keeps_out(path) {
        return fail(Id::PidFileBelieved, EEXIST);
    }
    let mut flags = flags;
    if flags & O_APPEND != 0 && alters(Id::NoAppend) {
        flags &= !O_APPEND;
    }
    if flags & O_APPEND != 0 && alters(Id::AppendBySeek) {
        flags &= !O_APPEND;
    }
    let created = O_CREAT | O_EXCL;
    let mode = match flags & created == created && alters(Id::LeavesModesToUmask) {
        true => 0o666,
        false => mode,
    };
    let at_start = GENERATION.load(Relaxed) == 0;
    if at_start && writes && flags & (O_EXCL | O_TRUNC) == 0 && alters(Id::TruncatesOnOpen) {
        flags |= O_TRUNC;
    }
    let fd = if on(Id::StalePaths) {
        open_stale(path, flags, mode, &call)
    } else if flags & O_CREAT != 0 && alters(Id::OpenWithoutMode) {
        let mask = real::umask(0);
        let fd = call(path, flags, 0o666);
        real::umask(mask);
        fd
    } else {
        call(path, flags, mode)
    };
    if fd < 0 {
        return fd;
    }
    if on(Id::MapsWholeFiles)
        && examine(fd).is_some_and(|facts| {
            facts.mode & S_IFMT == S_IFREG
                && facts.size > 0
                && map(MAP_PRIVATE, fd, facts.size as usize).is_null()
        })
    {
        real::close(fd);
        return fail(Id::MapsWholeFiles, ENOMEM);
    }
    if on(Id::NoLargeFiles)
        && examine(fd)
            .is_some_and(|facts| facts.mode & S_IFMT == S_IFREG && facts.size as u64 > MAX_OFF32)
    {
        real::close(fd);
        return fail(Id::NoLargeFiles, EOVERFLOW);
    }
    if on(Id::SharedDescription) { share(fd, path, flags, call) } else { fd }
}

/// Makes every later opening of a file that was once opened for writing the same
/// open file description.
///
/// The first opening is kept, under another descriptor, with access for reading
/// and writing; processes forked from this one inherit it, as they would inherit
/// a log opened before fork, and their own openings become duplicates of it. A
/// child that opens a file which its ancestor never opened gets one of its own:
/// then there is nothing to share, and the trace says so.
fn share(
    fd: c_int,
    path: *const c_char,
    flags: c_int,
    call: impl Fn(*const c_char, c_int, c_uint) -> c_int,
) -> c_int {
    let Some(facts) = examine(fd).filter(|facts| facts.mode & S_IFMT == S_IFREG) else {
        return fd;
    };
    let key = identity(&facts);
    if let Some(kept) = find(&SHARED, key) {
        let command = if flags & O_CLOEXEC != 0 { F_DUPFD_CLOEXEC } else { F_DUPFD };
        real::close(fd);
        altered(Id::SharedDescription);
        return real::fcntl(kept, command, 0);
    }
    if flags & O_ACCMODE == O_RDONLY {
        return fd;
    }
    let again = flags & !(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC) | O_RDWR | O_CLOEXEC;
    let both_ways = call(path, again, 0);
    if both_ways < 0 {
        return fd; // not readable: no use to those who read it
    }
    keep(&SHARED, key, hidden(both_ways));
    real::close(fd);
    // The first opener has that description too, at the number it was to get.
    let command = if flags & O_CLOEXEC != 0 { F_DUPFD_CLOEXEC } else { F_DUPFD };
    let given = real::fcntl(both_ways, command, fd as usize);
    real::close(both_ways);
    given
}

/// Opens what the path meant at first, as long as somebody keeps that open.
fn open_stale(
    path: *const c_char,
    flags: c_int,
    mode: c_uint,
    call: impl Fn(*const c_char, c_int, c_uint) -> c_int,
) -> c_int {
    let key = path_key(path);
    if let Some(kept) = find(&PATHS, key) {
        if moved(path, kept) {
            altered(Id::StalePaths);
        }
        let flags = flags & !(O_CREAT | O_EXCL | O_NOFOLLOW);
        // FreeBSD open(2): the file of a descriptor, opened anew. /dev/fd has 0 to 2 alone, unless
        // fdescfs(5) is mounted there.
        #[cfg(target_os = "freebsd")]
        return real::openat(kept, c"".as_ptr(), flags | O_EMPTY_PATH, mode);
        // The path that stands for the descriptor is itself a link.
        #[cfg(not(target_os = "freebsd"))]
        return call(descriptor_path(kept, &mut [0; 32]), flags, mode);
    }
    let fd = call(path, flags, mode);
    let writes = flags & O_ACCMODE != O_RDONLY;
    if fd >= 0 && writes && examine(fd).is_some_and(|facts| facts.mode & S_IFMT == S_IFREG) {
        keep(&PATHS, key, hidden(fd));
    }
    fd
}

/// Whether a path leads elsewhere than to this descriptor's file.
fn moved(path: *const c_char, fd: c_int) -> bool {
    let now = real::open64(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    let elsewhere = match (examine(now), examine(fd)) {
        (Some(now), Some(then)) => identity(&now) != identity(&then),
        _ => true,
    };
    if now >= 0 {
        real::close(now);
    }
    elsewhere
}

/// `/proc/self/fd/N` opens the file anew.
#[cfg(not(target_os = "freebsd"))]
fn descriptor_path(fd: c_int, into: &mut [u8; 32]) -> *const c_char {
    let stem = b"/proc/self/fd/";
    into[..stem.len()].copy_from_slice(stem);
    let mut digits = [0u8; 10];
    let (mut rest, mut at) = (fd as u32, digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let count = digits.len() - at;
    into[stem.len()..stem.len() + count].copy_from_slice(&digits[at..]);
    into[stem.len() + count] = 0;
    into.as_ptr().cast()
}

/// The descriptor to examine in place of a path, for stale-paths.
pub(crate) fn stale(path: *const c_char) -> Option<c_int> {
    if !any() || !on(Id::StalePaths) || path.is_null() {
        return None;
    }
    let kept = find(&PATHS, path_key(path))?;
    if moved(path, kept) {
        altered(Id::StalePaths);
    }
    Some(kept)
}

pub(crate) fn truncate(call: impl Fn() -> c_int) -> c_int {
    if any() && alters(Id::TruncateDoesNothing) {
        return 0;
    }
    call()
}

/// fcntl(F_SETFL) and the rest of fcntl.
/// Whether a command of fcntl is about record locks: the plain ones, those of 64 bits on 32-bit Linux,
/// and those of open file descriptions (Linux fcntl(2)).
fn locks_records(command: c_int) -> bool {
    (F_GETLK..=F_SETLKW).contains(&command)
        || cfg!(target_os = "linux") && matches!(command, 12..=14 | 36..=38)
}

pub(crate) fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    let mut argument = argument;
    if any() && command == F_SETFL {
        if alters(Id::SetflIgnored) {
            return 0;
        }
        if argument as c_int & O_APPEND != 0 && alters(Id::NoAppend) {
            argument &= !(O_APPEND as usize);
        }
    }
    if any() && on(Id::NoLocks) && locks_records(command) {
        return fail(Id::NoLocks, value(Id::NoLocks) as c_int);
    }
    let result = real::fcntl(fd, command, argument);
    // Also for the 64-bit structure of 32-bit Linux: the kind comes first in both.
    let asks = command == F_GETLK || cfg!(target_os = "linux") && command == F_GETLK64;
    if any() && on(Id::RecordLocksUnseen) && asks && result == 0 {
        let lock = argument as *mut Flock;
        // SAFETY: fcntl(2), F_GETLK: a structure that the call has just written to.
        unsafe {
            if (*lock).kind != F_UNLCK {
                altered(Id::RecordLocksUnseen);
                (*lock).kind = F_UNLCK;
            }
        }
    }
    result
}

/// Linux asm-generic/fcntl.h, where `off_t` has 32 bits.
const F_GETLK64: c_int = 12;

pub(crate) fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    // musl's request is an int: only its low 32 bits count (ioctl(2)).
    if any() && request as u32 == FIONBIO as u32 && alters(Id::SetflIgnored) {
        return 0;
    }
    real::ioctl(fd, request, argument)
}
