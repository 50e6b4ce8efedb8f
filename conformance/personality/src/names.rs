//! Names of hosts.

use core::ptr::null_mut;

use crate::real;
use crate::start::any;
use crate::state::{altered, on};
use crate::sys::*;
use crate::table::Id;

/// What getaddrinfo is asked: AI_ADDRCONFIG, and IPv4 alone where the program names no family.
pub(crate) fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const Addrinfo,
    result: *mut *mut c_void,
) -> c_int {
    if node.is_null() || !any() || !on(Id::Addrconfig) {
        return real::getaddrinfo(node, service, hints, result);
    }
    altered(Id::Addrconfig);
    let mut asked = Addrinfo { flags: 0, family: 0, kind: 0, protocol: 0, rest: [null_mut(); 4] };
    if !hints.is_null() {
        // SAFETY: getaddrinfo(3): not null, so hints to read.
        let given = unsafe { &*hints };
        (asked.flags, asked.family) = (given.flags, given.family);
        (asked.kind, asked.protocol) = (given.kind, given.protocol);
    }
    asked.flags |= AI_ADDRCONFIG;
    if asked.family == 0 {
        asked.family = AF_INET;
    }
    real::getaddrinfo(node, service, &asked, result)
}
