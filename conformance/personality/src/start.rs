//! What happens before the program's main, or before the first call that is interposed.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

#[cfg(target_os = "linux")]
use crate::filter;
use crate::state::{altered, on};
use crate::sys;
use crate::table::Id;
use crate::{inherited, real, state};

static STARTED: AtomicBool = AtomicBool::new(false);

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

/// Whether any personality is on: the short way out of every interposed call.
#[inline]
pub(crate) fn any() -> bool {
    if !STARTED.load(Relaxed) {
        // Another library's constructor can call libc before ours has run.
        start();
    }
    state::selected()
}

extern "C" fn start() {
    if STARTED.swap(true, Relaxed) {
        return;
    }
    real::resolve_all();
    #[cfg(target_os = "linux")]
    real::linux::resolve_all();
    #[cfg(target_os = "freebsd")]
    real::freebsd::resolve_all();
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
    real::time64::resolve_all();
    if !state::select_all() {
        return;
    }
    inherited::remember();
    #[cfg(target_os = "linux")]
    filter::put_up();
    if on(Id::ExitsZero) {
        watch_exit();
    }
    if on(Id::ListenPidBelieved) {
        believe_listen_pid();
    }
}

/// Makes LISTEN_PID, where there is one, this process's own id, as a program that does not look at it
/// takes it to be. The entry is replaced in its place: setenv(3) allocates memory, and when it did so
/// here, before main, webd used up all memory on FreeBSD 13.2.
fn believe_listen_pid() {
    const NAME: &[u8] = b"LISTEN_PID=";
    static ENTRY: [AtomicU8; 32] = [const { AtomicU8::new(0) }; 32];
    // SAFETY: environ(7): null, or pointers to strings up to a null; no other thread runs yet.
    let mut place = unsafe { sys::environ };
    let begins = |entry: *const u8| {
        // SAFETY: a string that ends with NUL, which differs from every byte of the name.
        NAME.iter().enumerate().all(|(at, byte)| unsafe { *entry.add(at) } == *byte)
    };
    // SAFETY: as above.
    while !place.is_null() && unsafe { !(*place).is_null() } {
        // SAFETY: as above; ENTRY is never written again.
        unsafe {
            if begins((*place).cast()) {
                altered(Id::ListenPidBelieved);
                write_entry(NAME, &ENTRY);
                *place = ENTRY.as_ptr().cast_mut().cast();
            }
            place = place.add(1);
        }
    }
}

/// The name and this process's id, in digits.
fn write_entry(name: &[u8], entry: &[AtomicU8; 32]) {
    let mut digits = [0u8; 12];
    let (mut left, mut first) = (sys::own_id(), digits.len());
    while left > 0 {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    for (into, byte) in entry.iter().zip(name.iter().chain(&digits[first..])) {
        into.store(*byte, Relaxed);
    }
}

/// Arranges that a return from main exits with 0 as well.
fn watch_exit() {
    extern "C" fn at_exit() {
        // Registered first, so it runs last; only stdio is left to flush.
        altered(Id::ExitsZero);
        // SAFETY: fflush(3) of all streams.
        unsafe { sys::fflush(core::ptr::null_mut()) };
        real::_exit(0)
    }
    // SAFETY: the function is in this library, which is never unloaded.
    unsafe { sys::atexit(at_exit) };
}
