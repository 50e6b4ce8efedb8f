//! Sockets: making, binding and accepting them, and closing descriptors.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::processes::loop_ends;
use crate::signals::{Call, interrupted, storm};
use crate::start::any;
use crate::state::{ACCEPTED, LISTENER, altered, alters, fail, map, on, value};
use crate::sys::*;
use crate::table::Id;
use crate::{darwin, descriptors, kept, pools, real, window};

fn set_option(fd: c_int, level: c_int, name: c_int, on: c_int) -> c_int {
    real::setsockopt(fd, level, name, (&raw const on).cast(), 4)
}

pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if any() && on(Id::NoIpv6) && domain == AF_INET6 {
        return fail(Id::NoIpv6, EAFNOSUPPORT);
    }
    if any() && on(Id::NoUnixSockets) && domain == AF_UNIX {
        return fail(Id::NoUnixSockets, EAFNOSUPPORT);
    }
    if any() && on(Id::NoIpv4) && domain == AF_INET {
        return fail(Id::NoIpv4, EAFNOSUPPORT);
    }
    let fd = real::socket(domain, kind, protocol);
    if fd >= 0 && domain == AF_INET6 {
        for (id, only) in [(Id::V6onlyDefault, 1), (Id::NoV6only, 0), (Id::V6onlyFixed, 1)] {
            if on(id) && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, only) == 0 {
                altered(id);
            }
        }
    }
    fd
}

pub(crate) fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: c_uint,
) -> c_int {
    if any() {
        let ignored = match (level, name) {
            (IPPROTO_IPV6, IPV6_V6ONLY) => Some(Id::NoV6only),
            (SOL_SOCKET, SO_REUSEADDR) => Some(Id::NoReuseaddr),
            (SOL_SOCKET, name) if SO_RCVTIMEO.contains(&name) => Some(Id::TimeoutsNeverFire),
            #[cfg(target_os = "freebsd")]
            (SOL_SOCKET, SO_NOSIGPIPE) => Some(Id::SigpipeDefault),
            _ => None,
        };
        if let Some(id) = ignored.filter(|id| on(*id)) {
            altered(id);
            return 0;
        }
    }
    let result = set_or_not(fd, level, name, value, len);
    if any() && result < 0 && alters(Id::OptionFailureEnds) {
        real::_exit(1);
    }
    result
}

fn set_or_not(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: c_uint) -> c_int {
    if any() && on(Id::V6onlyFixed) && (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) {
        return fail(Id::V6onlyFixed, EINVAL);
    }
    if any() && darwin::refuses_options(fd) {
        set_errno(EINVAL);
        return -1;
    }
    real::setsockopt(fd, level, name, value, len)
}

/// The family in a socket address: FreeBSD has its length before it
/// (sys/socket.h, struct sockaddr).
fn family(addr: &[u8]) -> c_int {
    if cfg!(target_os = "freebsd") {
        c_int::from(addr[1])
    } else {
        c_int::from(u16::from_ne_bytes([addr[0], addr[1]]))
    }
}

/// Sizes of struct sockaddr_in and sockaddr_in6, the same on both systems.
const IN: usize = 16;
const IN6: usize = 28;

pub(crate) fn bind(fd: c_int, addr: *const u8, len: c_uint) -> c_int {
    if !any() || addr.is_null() || (len as usize) < IN {
        return real::bind(fd, addr, len);
    }
    // SAFETY: bind(2): an address of `len` bytes to read.
    let given = unsafe { core::slice::from_raw_parts(addr, len as usize) };
    let domain = family(given);
    if on(Id::NoLoopbackAliases)
        && domain == AF_INET
        && given[4] == 127
        && given[4..8] != [127, 0, 0, 1]
    {
        return fail(Id::NoLoopbackAliases, EADDRNOTAVAIL);
    }
    if (domain == AF_INET || domain == AF_INET6) && alters(Id::ReuseportSteal) {
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if on(Id::BindDropsScope) && domain == AF_INET6 && given.len() >= IN6 && given[24..28] != [0; 4]
    {
        altered(Id::BindDropsScope);
        let mut copy = [0; IN6];
        copy[..24].copy_from_slice(&given[..24]);
        return real::bind(fd, copy.as_ptr(), IN6 as c_uint);
    }
    let result = real::bind(fd, addr, len);
    let moves = result < 0 && errno() == EADDRINUSE && (domain == AF_INET || domain == AF_INET6);
    if moves && alters(Id::BindMoves) {
        let mut copy = [0; IN6];
        let length = given.len().min(IN6);
        copy[..length].copy_from_slice(&given[..length]);
        // The port, where both systems have it: sin_port and sin6_port.
        copy[2..4].fill(0);
        return real::bind(fd, copy.as_ptr(), length as c_uint);
    }
    result
}

pub(crate) fn listen(fd: c_int, backlog: c_int) -> c_int {
    let mut backlog = backlog;
    if any() {
        LISTENER.store(own_id(), Relaxed);
        if alters(Id::SmallBacklog) {
            backlog = 1;
        }
        if alters(Id::SlowListen) {
            window::let_pass(value(Id::SlowListen));
        }
    }
    real::listen(fd, backlog)
}

pub(crate) fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int {
    let result = real::socketpair(domain, kind, protocol, pair);
    if any() && result < 0 {
        pools::want();
    }
    result
}

/// Whether accept met a connection that was reset before: FreeBSD reports it, Linux hands it out.
fn was_aborted(client: c_int) -> bool {
    if client < 0 {
        return errno() == ECONNABORTED;
    }
    let mut state = PollFd { fd: client, events: POLLIN, revents: 0 };
    real::poll(&mut state, 1, 0) > 0 && state.revents & (POLLERR | POLLHUP) != 0
}

/// accept (no flags) and accept4.
pub(crate) fn accept(fd: c_int, addr: *mut u8, len: *mut c_uint, flags: Option<c_int>) -> c_int {
    static SUCCEEDED: AtomicU32 = AtomicU32::new(0);
    static FAILED_ONCE: AtomicBool = AtomicBool::new(false);
    let call = || match flags {
        None => real::accept(fd, addr, len),
        Some(flags) => real::accept4(fd, addr, len, flags),
    };
    if !any() {
        return call();
    }
    if on(Id::AcceptFailsOnce) && !FAILED_ONCE.swap(true, Relaxed) {
        return fail(Id::AcceptFailsOnce, value(Id::AcceptFailsOnce) as c_int);
    }
    if on(Id::FdExhausted) && SUCCEEDED.load(Relaxed) >= value(Id::FdExhausted) {
        return fail(Id::FdExhausted, EMFILE);
    }
    if storm() {
        return -1;
    }
    // The room for the address, before the call writes its length there.
    // SAFETY: accept(2): null or a length to read and write.
    let room = if len.is_null() { 0 } else { unsafe { *len } } as usize;
    if !pools::may_accept() {
        return -1;
    }
    let client = call();
    pools::accepted();
    interrupted(Call::Accept, client < 0);
    loop_ends(client < 0);
    if on(Id::AbortedIsFatal) && was_aborted(client) {
        altered(Id::AbortedIsFatal);
        real::_exit(1);
    }
    if client < 0 {
        return client;
    }
    ACCEPTED.store(true, Relaxed);
    descriptors::note_client();
    SUCCEEDED.fetch_add(1, Relaxed);
    remember(client);
    let inherits = 1 << u32::from(flags.is_some());
    if on(Id::BsdAccept) && value(Id::BsdAccept) & inherits != 0 {
        let inherited = real::fcntl(fd, F_GETFL, 0) & O_NONBLOCK;
        if inherited != 0 {
            altered(Id::BsdAccept);
            let own = real::fcntl(client, F_GETFL, 0);
            real::fcntl(client, F_SETFL, (own | inherited) as usize);
        }
    }
    if on(Id::LeaksMemory) {
        leak(value(Id::LeaksMemory) as usize * 1024);
    }
    if alters(Id::GreetsFirst) {
        real::send(client, b"2".as_ptr(), 1, MSG_NOSIGNAL);
    }
    map_peer(addr, len, room);
    darwin::accepted(client, len);
    client
}

fn leak(bytes: usize) {
    altered(Id::LeaksMemory);
    let at = map(MAP_PRIVATE | MAP_ANON, -1, bytes.max(1)).cast::<u8>();
    if at.is_null() {
        return;
    }
    for page in (0..bytes).step_by(4096) {
        // SAFETY: inside the mapping just made; touched, so that it counts.
        unsafe { at.add(page).write_volatile(1) };
    }
}

pub(crate) fn getpeername(fd: c_int, addr: *mut u8, len: *mut c_uint) -> c_int {
    // SAFETY: getpeername(2): a length to read and write.
    let room = if len.is_null() { 0 } else { unsafe { *len } } as usize;
    let result = real::getpeername(fd, addr, len);
    if result == 0 && any() {
        map_peer(addr, len, room);
    }
    result
}

/// Rewrites an IPv4 address as the IPv6 one a dual-stack socket would give.
fn map_peer(addr: *mut u8, len: *mut c_uint, room: usize) {
    if !on(Id::MappedPeers) || addr.is_null() || len.is_null() || room < IN {
        return;
    }
    // SAFETY: the call has just written an address into these `room` bytes.
    let (given, len) = unsafe { (core::slice::from_raw_parts_mut(addr, room), &mut *len) };
    if family(given) != AF_INET {
        return;
    }
    altered(Id::MappedPeers);
    let mut mapped = [0u8; IN6];
    if cfg!(target_os = "freebsd") {
        mapped[..2].copy_from_slice(&[IN6 as u8, AF_INET6 as u8]);
    } else {
        mapped[..2].copy_from_slice(&(AF_INET6 as u16).to_ne_bytes());
    }
    mapped[2..4].copy_from_slice(&given[2..4]);
    mapped[18..20].copy_from_slice(&[0xff, 0xff]);
    mapped[20..24].copy_from_slice(&given[4..8]);
    let fits = room.min(IN6);
    given[..fits].copy_from_slice(&mapped[..fits]);
    *len = IN6 as c_uint;
}

/// Sockets that the process in `ACCEPTER` accepted, a bit for each descriptor.
static ACCEPTED_HERE: [AtomicU32; 128] = [const { AtomicU32::new(0) }; 128];
static ACCEPTER: AtomicI32 = AtomicI32::new(0);

fn remember(fd: c_int) {
    if !on(Id::AcceptedSocketLeaks) {
        return;
    }
    ACCEPTER.store(own_id(), Relaxed);
    if let Some(word) = ACCEPTED_HERE.get(fd as usize / 32) {
        word.fetch_or(1 << (fd % 32), Relaxed);
    }
}

fn accepted_here(fd: c_int) -> bool {
    let mine = ACCEPTER.load(Relaxed) == own_id();
    let word = usize::try_from(fd).ok().and_then(|fd| ACCEPTED_HERE.get(fd / 32));
    mine && word.is_some_and(|word| word.load(Relaxed) >> (fd % 32) & 1 == 1)
}

pub(crate) fn close(fd: c_int) -> c_int {
    if any() {
        kept::forget(fd);
        if on(Id::AcceptedSocketLeaks) && accepted_here(fd) {
            altered(Id::AcceptedSocketLeaks);
            return 0;
        }
        if on(Id::ListenerLeaks) && inherited_listener(fd) {
            altered(Id::ListenerLeaks);
            return 0;
        }
    }
    real::close(fd)
}

fn inherited_listener(fd: c_int) -> bool {
    let listener = LISTENER.load(Relaxed);
    // One that has not called listen since exec has it from whoever executed it.
    let inherited = listener == 0 || listener != own_id();
    inherited && pools::is_listening(fd)
}
