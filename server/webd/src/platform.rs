//! What differs between systems, behind one door.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::socket::{self, MsgFlags};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// How files are opened for reading: a FIFO must not block, a terminal must not become ours.
const READING: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Opens `path`, which is relative and without `..`, below `base` and never outside it.
///
/// Linux: openat2(2) with `RESOLVE_BENEATH` (a link may lead to another place inside), or
/// `RESOLVE_NO_SYMLINKS` without `links`. Where that call is missing, and on other systems,
/// each component is opened by itself with `O_NOFOLLOW`: no link is followed at all.
#[cfg(target_os = "linux")]
pub(crate) fn open_beneath(base: BorrowedFd<'_>, path: &Path, links: bool) -> nix::Result<File> {
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{OpenHow, ResolveFlag, openat2};

    static MISSING: AtomicBool = AtomicBool::new(false);
    const TRIES: usize = 16;

    if MISSING.load(Ordering::Relaxed) {
        return open_componentwise(base, path);
    }
    let links = if links { ResolveFlag::empty() } else { ResolveFlag::RESOLVE_NO_SYMLINKS };
    let how = OpenHow::new()
        .flags(READING)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | links);
    // That call knows no empty path.
    let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 0..TRIES {
        match openat2(base, named, how) {
            Ok(file) => return Ok(file.into()),
            // Something was renamed meanwhile (openat2(2), EAGAIN).
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Before Linux 5.6, or forbidden by a filter that does not know the call.
            Err(Errno::ENOSYS | Errno::EPERM) => {
                MISSING.store(true, Ordering::Relaxed);
                return open_componentwise(base, path);
            }
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EAGAIN)
}

/// Opens `path`, which is relative and without `..`, below `base` and never outside it: each
/// component by itself with `O_NOFOLLOW`, so no link is followed, whatever `links` says.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_beneath(base: BorrowedFd<'_>, path: &Path, _links: bool) -> nix::Result<File> {
    open_componentwise(base, path)
}

fn open_componentwise(base: BorrowedFd<'_>, path: &Path) -> nix::Result<File> {
    let mut components = path.components().peekable();
    if components.peek().is_none() {
        return openat(base, ".", READING, Mode::empty()).map(File::from);
    }
    let mut at = None;
    while let Some(component) = components.next() {
        let std::path::Component::Normal(name) = component else { return Err(Errno::EXDEV) };
        let last = components.peek().is_none();
        let flags = if last { READING } else { READING | OFlag::O_DIRECTORY } | OFlag::O_NOFOLLOW;
        let from = at.as_ref().map_or(base, AsFd::as_fd);
        at = Some(openat(from, name, flags, Mode::empty())?);
    }
    at.map(File::from).ok_or(Errno::ENOENT)
}

/// Sends at most `count` bytes of `file` from `offset` to a socket that does not block: how many
/// were sent, 0 at the file's end. The file's own offset stays.
pub(crate) fn send_file(
    to: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    match system_sends(to, file, offset, count) {
        // sendfile(2): a file system that does not lend itself to it.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            read_and_send(to, file, offset, count)
        }
        sent => Ok(sent?),
    }
}

fn read_and_send(to: BorrowedFd<'_>, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut buffer = vec![0; count.min(64 * 1024)];
    match file.read_at(&mut buffer, offset)? {
        0 => Ok(0),
        read => Ok(socket::send(to.as_raw_fd(), &buffer[..read], MsgFlags::MSG_NOSIGNAL)?),
    }
}

#[cfg(target_os = "linux")]
fn system_sends(to: BorrowedFd<'_>, file: &File, offset: u64, count: usize) -> nix::Result<usize> {
    let mut offset = libc::off64_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    nix::sys::sendfile::sendfile64(to, file, Some(&mut offset), count)
}

/// FreeBSD's sendfile(2) fails with EAGAIN when the socket took less than all, and EINTR when a
/// signal came in between, and says how much was sent all the same. A `count` of 0 would mean all.
#[cfg(target_os = "freebsd")]
fn system_sends(to: BorrowedFd<'_>, file: &File, offset: u64, count: usize) -> nix::Result<usize> {
    use nix::sys::sendfile::{SfFlags, sendfile};
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    match sendfile(file, to, offset, Some(count), None, None, SfFlags::empty(), 0) {
        (Err(errno), 0) => Err(errno),
        (_, sent) => Ok(sent as usize),
    }
}

/// The program that new workers run: the very one that this process runs, even if another has been
/// installed in its place since.
pub(crate) fn own_program(installed: &Path) -> PathBuf {
    let link = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && link.exists() { link.to_owned() } else { installed.to_owned() }
}

/// Names this process after its role, where the system can show it in process listings.
#[cfg(target_os = "linux")]
pub(crate) fn name_process(role: &std::ffi::CStr) {
    // SAFETY: PR_SET_NAME reads a string that ends in NUL and keeps no pointer to it.
    unsafe { libc::prctl(libc::PR_SET_NAME, role.as_ptr(), 0, 0, 0) };
}

/// Names this process after its role, where the system can show it in process listings.
#[cfg(target_os = "freebsd")]
pub(crate) fn name_process(role: &std::ffi::CStr) {
    // SAFETY: the format takes one string; the result is copied.
    unsafe { libc::setproctitle(c"-%s".as_ptr(), role.as_ptr()) };
}

/// No later exec of this process or its children gains rights by a set-user-ID bit.
#[cfg(target_os = "linux")]
pub(crate) fn no_new_privileges() -> nix::Result<()> {
    // SAFETY: plain integers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// No later exec of this process or its children gains rights by a set-user-ID bit (FreeBSD 14 and
/// later; before, there is no such thing).
#[cfg(target_os = "freebsd")]
pub(crate) fn no_new_privileges() -> nix::Result<()> {
    let mut enable: libc::c_int = libc::PROC_NO_NEW_PRIVS_ENABLE;
    // SAFETY: the command takes a pointer to an int, which lives through the call.
    let done = unsafe {
        libc::procctl(libc::P_PID, 0, libc::PROC_NO_NEW_PRIVS_CTL, (&raw mut enable).cast())
    };
    match Errno::result(done) {
        Err(Errno::EINVAL) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Has the system continue this process when its parent dies: a stopped worker would else keep the
/// listening sockets of a master that was killed.
#[cfg(target_os = "linux")]
pub(crate) fn continue_when_orphaned() {
    // SAFETY: plain integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT, 0, 0, 0) };
}

/// Has the system continue this process when its parent dies.
#[cfg(target_os = "freebsd")]
pub(crate) fn continue_when_orphaned() {
    let mut signal: libc::c_int = libc::SIGCONT;
    // SAFETY: the command takes a pointer to an int, which lives through the call.
    unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
}

/// The groups that `user` belongs to.
pub(crate) fn groups_of(user: &nix::unistd::User) -> nix::Result<Vec<nix::unistd::Gid>> {
    let name = std::ffi::CString::new(user.name.as_str()).map_err(|_| Errno::EINVAL)?;
    nix::unistd::getgrouplist(&name, user.gid)
}

/// Each connection takes a descriptor, and each file that is sent: as many as the system allows.
pub(crate) fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < hard {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
    }
}

/// How many descriptors this process has open, where the system tells.
pub(crate) fn open_descriptors() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    // The directory's own descriptor is among them.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64 - 1)
}

/// The processor time of a process so far; this one's without a number.
pub(crate) fn processor_time(pid: Option<Pid>) -> nix::Result<Duration> {
    use nix::time::ClockId;
    let clock = match pid {
        Some(pid) => nix::time::clock_getcpuclockid(pid)?,
        None => ClockId::CLOCK_PROCESS_CPUTIME_ID,
    };
    Ok(clock.now()?.into())
}

/// Whether a process would run on if it had a processor, where the system tells: proc_pid_stat(5).
pub(crate) fn is_runnable(pid: Pid) -> Option<bool> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in brackets, may hold anything.
    stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('R'))
}

/// Sends `message` to the datagram socket called `name`, without waiting.
pub(crate) fn send_datagram(name: &std::ffi::OsStr, message: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', abstract_name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(abstract_name)?;
            socket.send_to_addr(message, &address)?;
        }
        [b'/', ..] => {
            socket.send_to(message, name)?;
        }
        _ => return Err(io::Error::other("it names neither a path nor @name")),
    }
    Ok(())
}

/// The clock that `MONOTONIC_USEC` of sd_notify(3) is about, in microseconds.
pub(crate) fn monotonic_microseconds() -> u64 {
    // SAFETY: all-zero bytes are a valid timespec.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to the variable above.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to open agree on what is inside, and neither gets out.
    #[test]
    fn nothing_outside_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        std::fs::create_dir_all(base.join("sub")).unwrap();
        std::fs::write(base.join("sub/file"), "inside").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, base.join(name)).unwrap();
        link("../secret", "out");
        link("..", "up");
        link("/", "root");
        link("sub/file", "within");
        let opened = File::open(&base).unwrap();
        let linked = |path| open_beneath(opened.as_fd(), Path::new(path), true);
        let unlinked = |path| open_beneath(opened.as_fd(), Path::new(path), false);
        let plain = |path| open_componentwise(opened.as_fd(), Path::new(path));
        for path in ["sub/file", "sub", ""] {
            linked(path).unwrap();
            unlinked(path).unwrap();
            plain(path).unwrap();
        }
        for path in ["out", "up/secret", "root/etc/passwd", "../secret", "sub/../../secret"] {
            linked(path).unwrap_err();
            unlinked(path).unwrap_err();
            plain(path).unwrap_err();
        }
        assert_eq!(linked("within").is_ok(), cfg!(target_os = "linux"));
        unlinked("within").unwrap_err();
        plain("within").unwrap_err();
    }

    /// Both ways to send a file do the same, at its end and at a socket that takes no more, too.
    #[test]
    fn a_file_is_sent_from_where_it_is_wanted() {
        use std::io::Read;
        use std::os::unix::net::UnixStream;
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|number| (number / 5) as u8).collect();
        io::Write::write_all(&mut file, &content).unwrap();
        for by_itself in [false, true] {
            let way = |to: BorrowedFd<'_>, file: &File, offset, count| match by_itself {
                false => send_file(to, file, offset, count),
                true => read_and_send(to, file, offset, count),
            };
            let (to, mut from) = UnixStream::pair().unwrap();
            to.set_nonblocking(true).unwrap();
            let sent = way(to.as_fd(), &file, 1000, 500).unwrap();
            assert_eq!(sent, 500);
            assert_eq!(way(to.as_fd(), &file, content.len() as u64 - 7, 500).unwrap(), 7);
            assert_eq!(way(to.as_fd(), &file, content.len() as u64, 500).unwrap(), 0);
            let mut received = [0; 507];
            from.read_exact(&mut received).unwrap();
            assert_eq!(received[..500], content[1000..1500]);
            assert_eq!(received[500..], content[content.len() - 7..]);
            let full = loop {
                if let Err(error) = way(to.as_fd(), &file, 0, 200_000) {
                    break error;
                }
            };
            assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
            drop(from);
            let closed = way(to.as_fd(), &file, 0, 500).unwrap_err();
            assert_eq!(closed.kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
