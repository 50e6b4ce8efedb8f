//! What programs make of a pid file that they find, and of the one that they leave.

use core::ffi::CStr;

use crate::real;
use crate::start::any;
use crate::state::{altered, alters, on, value};
use crate::sys::*;
use crate::table::Id;

/// The same on both systems (errno.h, signal.h).
const EPERM: c_int = 1;
pub(crate) const EEXIST: c_int = 17;
const SIGTERM: c_int = 15;
/// The values of pid-file-believed.
const EXISTS: u32 = 1;
const ALIVE: u32 = 2;

/// Whether a server that is about to make this file takes it for another one's that runs.
pub(crate) fn keeps_out(path: *const c_char) -> bool {
    if !any() || !on(Id::PidFileBelieved) || path.is_null() {
        return false;
    }
    // SAFETY: rename(2), open(2): the path is a C string.
    if !unsafe { CStr::from_ptr(path) }.to_bytes().ends_with(b"pid") {
        return false;
    }
    let Some(pid) = named(path) else { return false };
    altered(Id::PidFileBelieved);
    match value(Id::PidFileBelieved) {
        EXISTS => true,
        ALIVE => real::kill(pid, 0) == 0 || errno() == EPERM,
        _ => {
            real::kill(pid, SIGTERM);
            false
        }
    }
}

/// The process that a file names.
fn named(path: *const c_char) -> Option<c_int> {
    let fd = real::open64(path, O_RDONLY | O_CLOEXEC, 0);
    if fd < 0 {
        return None;
    }
    let mut text = [0u8; 16];
    let length = real::read(fd, text.as_mut_ptr(), text.len());
    real::close(fd);
    let digits = text.iter().take(length.max(0) as usize).take_while(|byte| byte.is_ascii_digit());
    let pid = digits
        .fold(0, |pid: c_int, digit| pid.wrapping_mul(10).wrapping_add(c_int::from(digit - b'0')));
    (pid > 1).then_some(pid)
}

pub(crate) fn rename(from: *const c_char, to: *const c_char) -> c_int {
    if keeps_out(to) {
        set_errno(EEXIST);
        return -1;
    }
    real::rename(from, to)
}

pub(crate) fn unlink(path: *const c_char) -> c_int {
    if any() && alters(Id::FilesStay) {
        return 0;
    }
    real::unlink(path)
}

pub(crate) fn umask(mask: c_uint) -> c_uint {
    let before = real::umask(mask);
    if any() && mask != before && alters(Id::LeavesModesToUmask) {
        real::umask(before);
    }
    before
}
