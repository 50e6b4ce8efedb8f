//! What happens before the program's main, or before the first call that is interposed.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
/// takes it to be.
fn believe_listen_pid() {
    const NAME: &core::ffi::CStr = c"LISTEN_PID";
    // SAFETY: getenv(3) reads a string that ends with NUL.
    if unsafe { sys::getenv(NAME.as_ptr()) }.is_null() {
        return;
    }
    altered(Id::ListenPidBelieved);
    let mut digits = [0u8; 12];
    let mut left = sys::own_id();
    let mut first = digits.len() - 1;
    while left > 0 {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    // SAFETY: setenv(3) copies both strings, which end with NUL; no other thread runs yet.
    unsafe { sys::setenv(NAME.as_ptr(), digits[first..].as_ptr().cast(), 1) };
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
