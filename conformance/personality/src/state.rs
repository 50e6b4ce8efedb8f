//! Which personalities are on, what they remember, and what they did.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering::Relaxed};

use crate::real;
use crate::sys::{self, c_int, c_void};
use crate::table::{ALL, Id, SELECTION, TRACE, TRACE_MAGIC, TRACE_SIZE};

/// Whether any personality is on: the short way out of every interposed call.
static ANY: AtomicBool = AtomicBool::new(false);
/// Whether any is on that has to do with what goes through descriptors. The others leave those calls
/// alone, without a look at the descriptor: a sandbox (seccomp(2)) may forbid that.
static STREAMS: AtomicBool = AtomicBool::new(false);
/// Those that have not.
const APART_FROM_STREAMS: &[Id] = &[
    Id::NoV6only,
    Id::NoIpv6,
    Id::NoIpv4,
    Id::NoReuseaddr,
    Id::ReuseportSteal,
    Id::BsdAccept,
    Id::SmallBacklog,
    Id::V6onlyFixed,
    Id::OptionFailureEnds,
    Id::BindMoves,
    Id::Addrconfig,
    Id::SlowListen,
    Id::ListenPidBelieved,
    Id::NoUnixSockets,
    Id::ServesInTurn,
    Id::SlowChild,
    Id::ForkLosesSignals,
    Id::ToldOnce,
    Id::ClockJump,
    Id::WallClockTimeouts,
    Id::ForksRunOut,
    Id::WantIsFatal,
    Id::OneForAll,
    Id::ChildrenEndAll,
    Id::NoBackOff,
    Id::AcceptWaitsFor,
    Id::NoLocks,
    Id::Past2038,
    Id::OldSeccomp,
    Id::CloseRangeOnly,
];
static ON: [AtomicBool; ALL.len()] = [const { AtomicBool::new(false) }; ALL.len()];
static VALUES: [AtomicU32; ALL.len()] = [const { AtomicU32::new(0) }; ALL.len()];
static COUNTERS: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());

/// Whether this process, or one it was forked from, has accepted a connection.
pub(crate) static ACCEPTED: AtomicBool = AtomicBool::new(false);
/// The process that called listen, 0 when none did since exec.
pub(crate) static LISTENER: AtomicI32 = AtomicI32::new(0);
/// Forks between exec and this process.
pub(crate) static GENERATION: AtomicU32 = AtomicU32::new(0);
/// One word common to all processes forked from this one's exec.
static COMMON: AtomicPtr<AtomicI32> = AtomicPtr::new(core::ptr::null_mut());

/// Whether a personality is on.
#[inline]
pub(crate) fn on(id: Id) -> bool {
    ANY.load(Relaxed) && ON[id as usize].load(Relaxed)
}

/// The value given after `=`, or the default.
pub(crate) fn value(id: Id) -> u32 {
    VALUES[id as usize].load(Relaxed)
}

/// Records that a call was altered.
pub(crate) fn altered(id: Id) {
    count(id as usize * 2 + 1);
}

/// Whether a personality is on, and so alters this call.
pub(crate) fn alters(id: Id) -> bool {
    let alters = on(id);
    if alters {
        altered(id);
    }
    alters
}

/// A call that a personality makes fail.
pub(crate) fn fail(id: Id, error: c_int) -> c_int {
    altered(id);
    sys::set_errno(error);
    -1
}

fn count(at: usize) {
    let counters = COUNTERS.load(Relaxed);
    if !counters.is_null() {
        // SAFETY: the mapping of `map_trace` has two counters for each personality.
        unsafe { &*counters.add(at) }.fetch_add(1, Relaxed);
    }
}

/// The word shared with every process of this server, if it could be made.
pub(crate) fn common() -> Option<&'static AtomicI32> {
    let word = COMMON.load(Relaxed);
    if word.is_null() {
        None
    } else {
        // SAFETY: the mapping is made once and never unmapped.
        Some(unsafe { &*word })
    }
}

/// Reads the selection, and makes ready what it needs. Whether any is on at all.
pub(crate) fn select_all() -> bool {
    if let Some(list) = environment(SELECTION) {
        for item in list.split(|byte| *byte == b',').filter(|item| !item.is_empty()) {
            select(item);
        }
    }
    let any = selected();
    if any {
        map_trace();
        for (id, on) in ON.iter().enumerate() {
            if on.load(Relaxed) {
                count(id * 2);
            }
        }
        COMMON.store(map(sys::MAP_SHARED | sys::MAP_ANON, -1, 4096).cast(), Relaxed);
    }
    any
}

/// Whether any is on, once they are selected.
#[inline]
pub(crate) fn selected() -> bool {
    ANY.load(Relaxed)
}

/// Whether any is on that has to do with what goes through descriptors, once they are selected.
#[inline]
pub(crate) fn streams_matter() -> bool {
    STREAMS.load(Relaxed)
}

/// The path of the trace file, which all processes of a server know; none without one.
pub(crate) fn trace_path() -> Option<&'static CStr> {
    // SAFETY: the slice is what CStr::to_bytes gave, and a NUL follows it.
    environment(TRACE).map(|path| unsafe { CStr::from_ptr(path.as_ptr().cast()) })
}

fn environment(name: &str) -> Option<&'static [u8]> {
    let mut buffer = [0u8; 64];
    buffer[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the name ends with NUL, as the buffer is longer than it.
    let value = unsafe { sys::getenv(buffer.as_ptr().cast()) };
    if value.is_null() {
        None
    } else {
        // SAFETY: getenv gives null or a string of the environment, read before main.
        Some(unsafe { CStr::from_ptr(value) }.to_bytes())
    }
}

fn select(item: &[u8]) {
    let equals = item.iter().position(|byte| *byte == b'=');
    let (name, text) = match equals {
        Some(at) => (&item[..at], Some(&item[at + 1..])),
        None => (item, None),
    };
    let Some(id) = ALL.iter().position(|p| p.name.as_bytes() == name) else {
        refuse(b"no personality has this name: ", item);
    };
    let value = match (&ALL[id].parameter, text) {
        (None, None) => 0,
        (None, Some(_)) => refuse(b"this personality takes no value: ", item),
        (Some(parameter), None) => parameter.default,
        (Some(parameter), Some(text)) => match parameter.parse(text) {
            Some(value) if parameter.is_set() && ON[id].load(Relaxed) => {
                value | VALUES[id].load(Relaxed)
            }
            Some(value) => value,
            None => refuse(b"not a value of this personality: ", item),
        },
    };
    VALUES[id].store(value, Relaxed);
    ON[id].store(true, Relaxed);
    ANY.store(true, Relaxed);
    if APART_FROM_STREAMS.iter().all(|apart| *apart as usize != id) {
        STREAMS.store(true, Relaxed);
    }
}

/// A selection that cannot be meant is an error of usage, never ignored.
fn refuse(why: &[u8], item: &[u8]) -> ! {
    for part in [b"forkproof personality library: FORKPROOF_PERSONALITY: ", why, item, b"\n"] {
        real::write(2, part.as_ptr().cast(), part.len());
    }
    real::_exit(2)
}

fn map_trace() {
    let Some(path) = environment(TRACE) else {
        return;
    };
    // The path is followed by NUL: it comes from the environment.
    let fd = real::open64(path.as_ptr().cast(), sys::O_RDWR | sys::O_CLOEXEC, 0);
    if fd < 0 {
        return refuse_trace(path);
    }
    // A file that is too short would turn each counter into a SIGBUS.
    let long_enough = real::lseek64(fd, 0, 2) >= TRACE_SIZE as i64;
    let at = map(sys::MAP_SHARED, fd, TRACE_SIZE);
    real::close(fd);
    if !long_enough || at.is_null() {
        return refuse_trace(path);
    }
    // SAFETY: the counters follow the magic, 8 bytes in, inside the mapping.
    COUNTERS.store(unsafe { at.cast::<u8>().add(TRACE_MAGIC.len()) }.cast(), Relaxed);
}

/// Without the trace its reader would take an effective control for a void one.
fn refuse_trace(path: &[u8]) {
    refuse(b"FORKPROOF_PERSONALITY_TRACE is not a trace file: ", path)
}

/// A mapping of `len` bytes, readable and writable; null when there is none.
pub(crate) fn map(flags: c_int, fd: c_int, len: usize) -> *mut c_void {
    let prot = sys::PROT_READ | sys::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no other.
    let at = unsafe { sys::mmap(core::ptr::null_mut(), len, prot, flags, fd, 0) };
    if at as usize == usize::MAX { core::ptr::null_mut() } else { at }
}
