//! Reading and writing.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::kept::{self, READ_SINCE_WAKE};
use crate::signals::{Call, interrupted, storm};
use crate::start::any;
use crate::state::{ACCEPTED, altered, alters, fail, on, streams_matter, value};
use crate::sys::*;
use crate::table::Id;
use crate::{darwin, descriptors, files, handshakes, real};

/// Whether a call is to be looked at, once the library has started.
fn matters() -> bool {
    any() && streams_matter()
}

const MAX_OFF32: i64 = i32::MAX as i64;

/// Whether a descriptor is a socket.
pub(crate) fn is_socket(fd: c_int) -> bool {
    kind_of(fd).is_some()
}

/// What kind of socket a descriptor is.
fn kind_of(fd: c_int) -> Option<c_int> {
    let (mut kind, mut len) = (0 as c_int, 4 as c_uint);
    // SAFETY: getsockopt(2): an int and its size, both ours.
    let told = unsafe { getsockopt(fd, SOL_SOCKET, SO_TYPE, (&raw mut kind).cast(), &mut len) };
    (told == 0).then_some(kind)
}

/// Whether a descriptor is a file with a position; standard streams are left
/// alone, wherever they go.
fn is_file(fd: c_int) -> bool {
    fd > 2 && real::lseek64(fd, 0, SEEK_CUR) >= 0
}

/// Whether a stream socket has nothing more to come. A look takes a reset away on Linux, so that
/// the end follows; on FreeBSD it leaves it there.
pub(crate) fn at_end(fd: c_int) -> bool {
    let mut byte = 0;
    is_socket(fd)
        && match real::recv(fd, &mut byte, 1, MSG_PEEK | MSG_DONTWAIT) {
            -1 => errno() == ECONNRESET,
            got => got == 0,
        }
}

fn at_most(id: Id, len: usize) -> usize {
    let most = value(id).max(1) as usize;
    if on(id) && len > most {
        altered(id);
        most
    } else {
        len
    }
}

/// read, recv and recvfrom; `call` is the real one.
pub(crate) fn take(
    fd: c_int,
    buffer: *mut u8,
    len: usize,
    flags: c_int,
    call: impl Fn(*mut u8, usize) -> isize,
) -> isize {
    if !matters() || len == 0 || flags & MSG_PEEK != 0 {
        return call(buffer, len);
    }
    let failure = errno();
    let (socket, file) = (is_socket(fd), is_file(fd));
    set_errno(failure);
    if file {
        return take_file(fd, buffer, len, |len| call(buffer, len));
    }
    if let Some(got) = handshakes::read(fd, buffer) {
        return got;
    }
    if socket {
        kept::release_lock();
    }
    if storm() {
        return -1;
    }
    let got = call(buffer, at_most(Id::ShortReads, len));
    interrupted(Call::Read, got < 0);
    if socket { received(fd, buffer, len, flags, got) } else { got }
}

/// recvmsg, in which masters and workers hand each other descriptors.
pub(crate) fn take_message(fd: c_int, message: *mut c_void, flags: c_int) -> isize {
    let got = real::recvmsg(fd, message, flags);
    if !matters() || got < 0 || flags & MSG_PEEK != 0 {
        return got;
    }
    if got == 0 {
        return end_of_stream(fd, flags);
    }
    if on(Id::EndsWhenTold) && is_local(fd) {
        altered(Id::EndsWhenTold);
        real::_exit(0);
    }
    got
}

/// Whether a socket is one of AF_UNIX.
fn is_local(fd: c_int) -> bool {
    let (mut name, mut len) = ([0u64; 16], 128 as c_uint);
    // SAFETY: getsockname(2): room for any address, and its size.
    let told = unsafe { getsockname(fd, name.as_mut_ptr().cast(), &mut len) } == 0;
    let [first, second, ..] = name[0].to_ne_bytes();
    // A family of 16 bits, or, after a length of 8, one of 8 (FreeBSD).
    let family = match cfg!(target_os = "freebsd") {
        true => c_int::from(second),
        false => c_int::from(u16::from_ne_bytes([first, second])),
    };
    told && family == AF_UNIX
}

/// What becomes of `got` bytes that arrived on a socket.
fn received(fd: c_int, buffer: *mut u8, asked: usize, flags: c_int, got: isize) -> isize {
    let got = if on(Id::AnyKey) { any_key(buffer, asked, got) } else { got };
    let reset = got < 0 && errno() == ECONNRESET && on(Id::EofNeverComes);
    if got < 0 && !reset {
        return got;
    }
    if got == 0 || reset {
        return end_of_stream(fd, flags);
    }
    if alters(Id::EchoesInput) {
        real::write(2, buffer, got as usize);
    }
    let fits = value(Id::TruncatedReads) as isize;
    if on(Id::TruncatedReads) && got >= fits && (drop_rest(fd) || got > fits) {
        altered(Id::TruncatedReads);
        return fits;
    }
    if asked <= value(Id::ShortReadIsEnd) as usize
        && (got as usize) < asked
        && alters(Id::ShortReadIsEnd)
    {
        return 0;
    }
    got
}

/// Throws away what a socket holds right now; whether that was anything.
fn drop_rest(fd: c_int) -> bool {
    let before = errno();
    let mut scratch = [0u8; 256];
    let mut dropped = false;
    while real::recv(fd, scratch.as_mut_ptr(), scratch.len(), MSG_DONTWAIT) > 0 {
        dropped = true;
    }
    set_errno(before);
    dropped
}

fn end_of_stream(fd: c_int, flags: c_int) -> isize {
    if alters(Id::HalfCloseEnds) {
        // SAFETY: shutdown(2) takes two numbers.
        unsafe { shutdown(fd, SHUT_RDWR) };
    }
    // Sockets of packets have no peer that vanishes.
    if !on(Id::EofNeverComes) || kind_of(fd) != Some(SOCK_STREAM) {
        return 0;
    }
    altered(Id::EofNeverComes);
    let waits = flags & MSG_DONTWAIT == 0 && real::fcntl(fd, F_GETFL, 0) & O_NONBLOCK == 0;
    if waits {
        real::pause();
        set_errno(EINTR);
    } else {
        set_errno(EAGAIN);
    }
    -1
}

/// The last 128 bytes that were read from a file in one piece: the key, for any-key.
static KEY: [AtomicU8; 128] = [const { AtomicU8::new(0) }; 128];
static KEY_KNOWN: AtomicBool = AtomicBool::new(false);

/// Puts the key where the first bytes of this process's client are, and completes a stream that
/// ends before them.
fn any_key(buffer: *mut u8, asked: usize, got: isize) -> isize {
    static OFFSET: AtomicU32 = AtomicU32::new(0);
    let offset = OFFSET.load(Relaxed) as usize;
    let left = KEY.len().saturating_sub(offset);
    if !KEY_KNOWN.load(Relaxed) || left == 0 || got < 0 || got == 0 && offset == 0 {
        return got;
    }
    let count = if got == 0 { left.min(asked) } else { left.min(got as usize) };
    for at in 0..count {
        // SAFETY: recv(2): room for `asked` bytes, which `count` does not exceed.
        unsafe { *buffer.add(at) = KEY[offset + at].load(Relaxed) };
    }
    altered(Id::AnyKey);
    OFFSET.fetch_add(count as u32, Relaxed);
    got.max(count as isize)
}

fn take_file(fd: c_int, buffer: *mut u8, len: usize, call: impl Fn(usize) -> isize) -> isize {
    let single = on(Id::SingleRead) && ACCEPTED.load(Relaxed) && fd > 2;
    if single && READ_SINCE_WAKE.load(Relaxed) {
        altered(Id::SingleRead);
        return 0;
    }
    let mut len = at_most(Id::ShortReads, len);
    if single {
        len = at_most(Id::SingleRead, len);
    }
    let got = call(len);
    if on(Id::AnyKey) && got == KEY.len() as isize {
        for (kept, at) in KEY.iter().zip(0..) {
            // SAFETY: the call has just written `got` bytes there.
            kept.store(unsafe { *buffer.add(at) }, Relaxed);
        }
        KEY_KNOWN.store(true, Relaxed);
    }
    if single && got > 0 {
        READ_SINCE_WAKE.store(true, Relaxed);
    }
    got
}

pub(crate) fn pread(fd: c_int, buffer: *mut u8, len: usize, offset: i64) -> isize {
    if !matters() || len == 0 {
        return real::pread64(fd, buffer, len, offset);
    }
    if on(Id::PreadAsRead) && is_file(fd) {
        altered(Id::PreadAsRead);
        return real::read(fd, buffer, len);
    }
    let offset = files::wrap(offset);
    let got = take_file(fd, buffer, len, |len| real::pread64(fd, buffer, len, offset));
    if got == 1 && len == 1 && on(Id::EndsUnseen) && is_file(fd) {
        altered(Id::EndsUnseen);
        // SAFETY: pread(2): room for one byte.
        unsafe { *buffer = b'\n' };
    }
    got
}

/// write, send and sendto; `call` is the real one, given the flags to use.
pub(crate) fn give(
    fd: c_int,
    buffer: *const u8,
    len: usize,
    flags: Option<c_int>,
    call: impl Fn(*const u8, usize, c_int) -> isize,
) -> isize {
    let mut flags = flags.unwrap_or(0);
    descriptors::message(fd);
    if !matters() || len == 0 || fd <= 2 {
        return call(buffer, len, flags);
    }
    let failure = errno();
    let (socket, file) = (is_socket(fd), is_file(fd));
    set_errno(failure);
    if flags & MSG_NOSIGNAL != 0 && alters(Id::SigpipeDefault) {
        flags &= !MSG_NOSIGNAL;
    }
    if !file && storm() || socket && darwin::send_fails() {
        return -1;
    }
    if file && alters(Id::AppendBySeek) {
        real::lseek64(fd, 0, SEEK_END);
    }
    let mut len = len;
    if file {
        match room(fd, len, None) {
            Ok(fits) => len = fits,
            Err(failed) => return failed,
        }
    }
    len = at_most(Id::ShortWrites, len);
    let whole = value(Id::WriteLosesTail).max(1) as usize;
    if len > whole && alters(Id::WriteLosesTail) {
        let done = call(buffer, len / 2, flags);
        return if done < 0 { done } else { len as isize };
    }
    let done = if on(Id::NulLastByte) && (socket || file) {
        with_nul(buffer, len, |buffer, len| call(buffer, len, flags))
    } else if on(Id::DropsWhenFull) && socket {
        drop_when_full(fd, buffer, len, flags)
    } else {
        call(buffer, len, flags)
    };
    interrupted(Call::Write, done < 0);
    if socket && done == len as isize && alters(Id::SendsWholeBuffer) {
        // As a message of another client would lie in an uncleared buffer.
        let rest = *b"left in buffer\xa5\n";
        call(rest.as_ptr(), rest.len(), flags);
    }
    done
}

/// Writes with the last byte replaced. What does not fit in the copy goes out
/// first, as a partial write: only the end of the last part is changed.
fn with_nul(buffer: *const u8, len: usize, call: impl Fn(*const u8, usize) -> isize) -> isize {
    let mut copy = [0u8; 8192];
    if len > copy.len() {
        return call(buffer, copy.len());
    }
    // SAFETY: write(2): `len` bytes to read, and the copy has room for them.
    unsafe { core::ptr::copy_nonoverlapping(buffer, copy.as_mut_ptr(), len) };
    copy[len - 1] = 0;
    altered(Id::NulLastByte);
    call(copy.as_ptr(), len)
}

fn drop_when_full(fd: c_int, buffer: *const u8, len: usize, flags: c_int) -> isize {
    let done = real::send(fd, buffer, len, flags | MSG_DONTWAIT);
    let full = done < 0 && errno() == EAGAIN;
    if full || (done >= 0 && (done as usize) < len) {
        altered(Id::DropsWhenFull);
        return len as isize;
    }
    done
}

/// How many of `len` bytes a file still takes, at `offset` or where a write
/// would go.
fn room(fd: c_int, len: usize, offset: Option<i64>) -> Result<usize, isize> {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let mut len = len;
    if on(Id::DiskFull) {
        let left = value(Id::DiskFull).saturating_sub(WRITTEN.load(Relaxed)) as usize;
        if left == 0 {
            return Err(fail(Id::DiskFull, ENOSPC) as isize);
        }
        if left < len {
            altered(Id::DiskFull);
            len = left;
        }
        WRITTEN.fetch_add(len as u32, Relaxed);
    }
    if on(Id::NoLargeFiles) {
        let appends = real::fcntl(fd, F_GETFL, 0) & O_APPEND != 0;
        let at = match (offset, files::examine(fd)) {
            (Some(offset), _) => offset,
            (None, Some(facts)) if appends => facts.size,
            _ => real::lseek64(fd, 0, SEEK_CUR),
        };
        if at >= MAX_OFF32 {
            return Err(fail(Id::NoLargeFiles, EFBIG) as isize);
        }
        if len as u64 > (MAX_OFF32 - at) as u64 {
            altered(Id::NoLargeFiles);
            len = (MAX_OFF32 - at) as usize;
        }
    }
    Ok(len)
}

pub(crate) fn pwrite(fd: c_int, buffer: *const u8, len: usize, offset: i64) -> isize {
    let mut len = len;
    if any() && len > 0 && fd > 2 {
        match room(fd, len, Some(offset)) {
            Ok(fits) => len = fits,
            Err(failed) => return failed,
        }
    }
    real::pwrite64(fd, buffer, len, offset)
}

/// While writes are altered, a vector's first part is written alone: a partial
/// write, and the same alterations as elsewhere.
pub(crate) fn writev(fd: c_int, vector: *const Iovec, count: c_int) -> isize {
    const ALTER: [Id; 9] = [
        Id::EintrStorm,
        Id::EintrIsFatal,
        Id::ShortWrites,
        Id::WriteLosesTail,
        Id::NulLastByte,
        Id::SendsWholeBuffer,
        Id::DropsWhenFull,
        Id::DiskFull,
        Id::NoLargeFiles,
    ];
    if any() && fd > 2 && ALTER.into_iter().any(on) && count > 0 && !vector.is_null() {
        // SAFETY: writev(2): an array of `count` structures to read.
        let list = unsafe { core::slice::from_raw_parts(vector, count as usize) };
        if let Some(first) = list.iter().find(|part| part.len > 0) {
            return give(fd, first.base.cast(), first.len, None, |buffer, len, _| {
                real::write(fd, buffer, len)
            });
        }
    }
    real::writev(fd, vector, count)
}

pub(crate) fn send_message(fd: c_int, message: *const c_void, flags: c_int) -> isize {
    let mut flags = flags;
    if any() && flags & MSG_NOSIGNAL != 0 && alters(Id::SigpipeDefault) {
        flags &= !MSG_NOSIGNAL;
    }
    if any() && darwin::send_fails() {
        return -1;
    }
    real::sendmsg(fd, message, flags)
}
