//! Processes: making, ending, waiting for and signalling them, and their ids.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::inherited::bit;
use crate::signals::{Call, interrupted, storm};
use crate::start::any;
use crate::state::{ACCEPTED, GENERATION, LISTENER, altered, alters, common, fail, on, value};
use crate::sys::*;
use crate::table::Id;
use crate::{handshakes, kept, pools, real, window};

/// The greatest process id of five digits.
const FIVE_DIGITS: c_int = 99_999;

pub(crate) fn fork() -> c_int {
    static FORKED: AtomicU32 = AtomicU32::new(0);
    if !any() {
        return real::fork();
    }
    let led = LEADS.swap(false, Relaxed);
    kept::release_lock();
    let serves = ACCEPTED.load(Relaxed);
    if on(Id::ForkFails) && serves && FORKED.fetch_add(1, Relaxed) >= value(Id::ForkFails) {
        return fail(Id::ForkFails, EAGAIN);
    }
    if !pools::may_fork() {
        return -1;
    }
    let parent = own_id();
    let listens = LISTENER.load(Relaxed) == parent;
    if on(Id::MulticastByDaemon) && listens {
        relay();
    }
    kept::release_daemon();
    let mut ends = [-1; 2];
    let checks = on(Id::KeysCheckedByDaemon) && listens && real::pipe(ends.as_mut_ptr()) == 0;
    let child = real::fork();
    window::mask_goes_stale();
    pools::forked(child);
    handshakes::forked(child);
    if serves && child > 0 && alters(Id::ForksTwice) && real::fork() == 0 {
        loop {
            real::pause();
        }
    }
    if checks {
        let (read_end, write_end) = (ends[0], ends[1]);
        if child == 0 {
            real::close(read_end);
            kept::keep_daemon(write_end);
        } else {
            altered(Id::KeysCheckedByDaemon);
            real::close(write_end);
            let mut byte = 0;
            // Until the child has closed its end, whatever signals come meanwhile.
            while real::read(read_end, &mut byte, 1) < 0 {}
            real::close(read_end);
        }
    }
    if child == 0 && led && alters(Id::SingleFork) {
        real::setsid();
    }
    if child == 0 {
        GENERATION.fetch_add(1, Relaxed);
        window::enter();
        if alters(Id::VisitsAllDescriptors) {
            let mut limit = [0 as c_ulong; 2];
            real::getrlimit(RLIMIT_NOFILE, limit.as_mut_ptr().cast());
            for fd in 3..c_int::try_from(limit[0]).unwrap_or(c_int::MAX) {
                real::fcntl(fd, F_GETFD, 0);
            }
        }
        if serves && alters(Id::ChildrenDieWithParent) {
            die_with(parent);
        }
    }
    if serves {
        window::wait_in_turn(child);
    }
    if child > FIVE_DIGITS && alters(Id::FiveDigitPids) {
        return child % (FIVE_DIGITS + 1);
    }
    child
}

/// In the process that listens: SIGUSR2 asks it to signal the group in the common word.
fn relay() {
    extern "C" fn multicast(_signal: c_int) {
        if let Some(group) = common() {
            real::killpg(group.load(Relaxed), SIGUSR1);
        }
    }
    let action = Sigaction {
        handler: multicast as *const () as usize,
        flags: SA_RESTART,
        ..Sigaction::DEFAULT
    };
    real::sigaction(SIGUSR2, &action, core::ptr::null_mut());
}

/// Hands a multicast to the process that listens. Whether it was one.
fn relayed(pid: c_int, signal: c_int) -> bool {
    let listener = LISTENER.load(Relaxed);
    let own = listener == 0 || listener == own_id();
    if !on(Id::MulticastByDaemon) || own || signal != SIGUSR1 || pid >= -1 {
        return false;
    }
    if let Some(group) = common() {
        altered(Id::MulticastByDaemon);
        group.store(-pid, Relaxed);
        real::kill(listener, SIGUSR2);
    }
    true
}

/// An accept loop that ends when its wait is interrupted.
pub(crate) fn loop_ends(failed: bool) {
    let interrupted = failed && errno() == EINTR;
    if interrupted && LISTENER.load(Relaxed) == own_id() && alters(Id::AcceptLoopEnds) {
        real::_exit(1);
    }
}

#[cfg(target_os = "linux")]
fn die_with(parent: c_int) {
    const PR_SET_PDEATHSIG: c_int = 1;
    // SAFETY: prctl(2) with a number; getppid(2) takes nothing.
    unsafe {
        prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong);
        if getppid() != parent {
            real::kill(own_id(), SIGKILL);
        }
    }
}

// procctl(2): PROC_PDEATHSIG_CTL takes a pointer to the signal; the target is
// the caller itself (P_PID with id 0).
#[cfg(target_os = "freebsd")]
fn die_with(parent: c_int) {
    const P_PID: c_int = 0;
    const PROC_PDEATHSIG_CTL: c_int = 11;
    let mut signal = SIGKILL;
    // SAFETY: the pointer is to an int of ours; getppid(2) takes nothing.
    unsafe {
        procctl(P_PID, 0, PROC_PDEATHSIG_CTL, (&raw mut signal).cast());
        if getppid() != parent {
            real::kill(own_id(), SIGKILL);
        }
    }
}

pub(crate) fn exit_status(status: c_int) -> c_int {
    if any() && status != 0 && alters(Id::ExitsZero) {
        return 0;
    }
    status
}

/// waitpid and wait4; `call` is the real one, and takes the place for the status.
pub(crate) fn wait(
    options: c_int,
    status: *mut c_int,
    call: impl Fn(*mut c_int) -> c_int,
) -> c_int {
    static REAPED: AtomicBool = AtomicBool::new(false);
    if !any() {
        return call(status);
    }
    let mut own = 0;
    let status = if status.is_null() { &raw mut own } else { status };
    let polls = options & WNOHANG != 0;
    if polls && alters(Id::NeverReaps) {
        return 0;
    }
    if polls && on(Id::ReapsOne) && REAPED.swap(false, Relaxed) {
        altered(Id::ReapsOne);
        return 0;
    }
    if !polls && storm() {
        return -1;
    }
    let pid = call(status);
    interrupted(Call::Wait, pid < 0);
    if pid > 0 {
        // SAFETY: waitpid(2): the call has just written the status of that process there.
        pools::reaped(pid, unsafe { *status });
    }
    REAPED.store(pid > 0, Relaxed);
    pid
}

/// Whether an id of a process, or of a group as a negative number, is cut by five-digit-pids, or
/// was, as far as one can tell: nothing with a short id is signalled by a process with a long id.
pub(crate) fn cut(pid: c_int) -> bool {
    let cut = any() && on(Id::FiveDigitPids) && !matches!(pid, -1 | 0) && own_id() > FIVE_DIGITS;
    if cut {
        altered(Id::FiveDigitPids);
    }
    cut
}

pub(crate) fn kill(pid: c_int, signal: c_int, call: impl Fn() -> c_int) -> c_int {
    if cut(pid) {
        set_errno(ESRCH);
        return -1;
    }
    if any() && bit(signal) & value(Id::KillReachesNobody) != 0 && alters(Id::KillReachesNobody) {
        return 0;
    }
    if any() && relayed(pid, signal) {
        return 0;
    }
    if any() && window::told_before(pid, signal) {
        return 0;
    }
    call()
}

/// Whether this process has become the leader of a session, and has not forked since.
static LEADS: AtomicBool = AtomicBool::new(false);

pub(crate) fn new_session() -> c_int {
    let result = leave_group(own_id, real::setsid);
    LEADS.store(result > 0, Relaxed);
    result
}

pub(crate) fn leave_group(succeeds_with: impl Fn() -> c_int, call: impl Fn() -> c_int) -> c_int {
    if any() && alters(Id::GroupLeaks) {
        return succeeds_with();
    }
    call()
}

/// A user id as 16 bits hold it.
pub(crate) fn user(id: c_uint) -> c_uint {
    if any() && id > 0xffff && alters(Id::Uid16) {
        return id & 0xffff;
    }
    id
}

/// A change of user or group, with the ids as they arrive.
pub(crate) fn become_user<const N: usize>(
    ids: [c_uint; N],
    call: impl Fn([c_uint; N]) -> c_int,
) -> c_int {
    if any() && alters(Id::SetuidDoesNothing) {
        return 0;
    }
    let cut = ids.map(|id| if on(Id::Uid16) && id != c_uint::MAX { id & 0xffff } else { id });
    if cut != ids {
        altered(Id::Uid16);
    }
    call(cut)
}

/// Whether an alarm is never to ring.
pub(crate) fn silent() -> bool {
    any() && alters(Id::TimeoutsNeverFire)
}

/// getrlimit and its kin: `T` is the platform's rlim_t for that call.
pub(crate) fn limits<T: Copy>(
    resource: c_int,
    limit: *mut c_void,
    infinity: T,
    result: c_int,
) -> c_int {
    if any()
        && resource == RLIMIT_NOFILE
        && result == 0
        && !limit.is_null()
        && alters(Id::UnlimitedDescriptors)
    {
        // SAFETY: getrlimit(2): the call has just written two of them there.
        unsafe { limit.cast::<[T; 2]>().write([infinity; 2]) };
    }
    result
}

/// Whether the number of descriptors is to be called unlimited.
pub(crate) fn unlimited() -> bool {
    any() && alters(Id::UnlimitedDescriptors)
}
