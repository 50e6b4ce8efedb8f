//! files/ : appending, large files and far dates, and the errors that programs compare with.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{PathconfVar, fpathconf, pipe2};

use super::experiment::{Doing, file, word_or_errno};
use super::model::{Documented, Measure, Probe, Value, fixed, open};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "files/append-and-pwrite",
        title: "Where pwrite() at offset 0 writes in a file that is open with O_APPEND",
        posix: "pwrite(): at the offset, whatever O_APPEND says",
        linux: fixed("at the end", "pwrite(2), Bugs: appends regardless of the offset"),
        freebsd: fixed(
            "at the end",
            "write(2), Bugs: pwrite appends if O_APPEND is set, contrary to POSIX",
        ),
        measure: append_and_pwrite,
    },
    Probe {
        id: "files/file-system",
        title: "The file system of the directory for temporary files",
        posix: "leaves it open",
        linux: open("statfs(2), filesystems(5)"),
        freebsd: open("statfs(2), f_fstypename"),
        measure: |dir| Ok(crate::platform::file_system(dir).into()),
    },
    Probe {
        id: "files/past-2-gib",
        title: "Plain open() of a file of 3 GiB, as this program's libc has it",
        posix: "open(): EOVERFLOW where the size does not fit off_t",
        linux: Documented {
            value: if usize::BITS == 64 { Some("opens") } else { None },
            source: "open(2), EOVERFLOW, O_LARGEFILE: on 32-bit glibc unless _FILE_OFFSET_BITS is 64; musl always opens",
        },
        freebsd: fixed("opens", "off_t has 64 bits on every architecture, stat(2)"),
        measure: past_2_gib,
    },
    Probe {
        id: "files/date-past-2038",
        title: "A modification time in the year 2100, set and read again",
        posix: "utimensat(), stat(): what time_t and the file system hold",
        linux: open(
            "stat(2), EOVERFLOW; ext4(5): 34 bits with inodes of 256 bytes; 32-bit time_t holds 2038",
        ),
        freebsd: open("utimensat(2); UFS2 keeps 64 bits, time_t on i386 holds 2038"),
        measure: date_past_2038,
    },
    Probe {
        id: "files/pipe-buf",
        title: "PIPE_BUF: how many bytes to a pipe are written in one piece",
        posix: "limits.h, PIPE_BUF: at least 512",
        linux: fixed("4096", "pipe(7), PIPE_BUF"),
        freebsd: fixed("512", "sys/syslimits.h, PIPE_BUF"),
        measure: |_| {
            let (end, _other) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
            configured(fpathconf(&end, PathconfVar::PIPE_BUF))
        },
    },
    Probe {
        id: "files/name-max",
        title: "NAME_MAX of the directory for temporary files",
        posix: "limits.h, NAME_MAX: at least 14",
        linux: open("pathconf(3), statfs(2): 255 on most file systems"),
        freebsd: open("pathconf(2): 255 on most file systems"),
        measure: |dir| {
            let directory = File::open(dir).doing("open")?;
            configured(fpathconf(&directory, PathconfVar::NAME_MAX))
        },
    },
    Probe {
        id: "files/path-max",
        title: "PATH_MAX: how many bytes a path may have, its NUL counted",
        posix: "limits.h, PATH_MAX: at least 256",
        linux: fixed("4096", "realpath(3), linux/limits.h: 4096"),
        freebsd: fixed("1024", "sys/syslimits.h: 1024"),
        measure: |_| Ok(i64::from(libc::PATH_MAX).into()),
    },
    Probe {
        id: "files/no-follow",
        title: "open() of a symbolic link with O_NOFOLLOW",
        posix: "open(): ELOOP",
        linux: fixed("ELOOP", "open(2), O_NOFOLLOW"),
        freebsd: fixed(
            "EMLINK",
            "open(2), EMLINK: O_NOFOLLOW was specified and the target is a symbolic link",
        ),
        measure: |dir| {
            std::os::unix::fs::symlink("anywhere", dir.join("link")).doing("symlink")?;
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW;
            Ok(word_or_errno("opens", nix::fcntl::open(&dir.join("link"), flags, Mode::empty())))
        },
    },
    Probe {
        id: "files/unlink-of-directory",
        title: "unlink() of a directory",
        posix: "unlink(): EPERM",
        linux: fixed("EISDIR", "unlink(2), EISDIR: the value that Linux returns, against POSIX"),
        freebsd: open("unlink(2) lists EISDIR and EPERM for it"),
        measure: |dir| {
            std::fs::create_dir(dir.join("directory")).doing("mkdir")?;
            Ok(word_or_errno("succeeds", nix::unistd::unlink(&dir.join("directory"))))
        },
    },
    Probe {
        id: "files/read-of-directory",
        title: "read() of a directory",
        posix: "read(): EISDIR where the implementation does not allow it",
        linux: fixed("EISDIR", "read(2), EISDIR"),
        freebsd: open("read(2), EISDIR: since FreeBSD 13, unless security.bsd.allow_read_dir"),
        measure: |dir| {
            let directory = File::open(dir).doing("open")?;
            Ok(word_or_errno("reads", nix::unistd::read(&directory, &mut [0; 512])))
        },
    },
    Probe {
        id: "files/write-end-of-fifo",
        title: "open() of a FIFO for writing, with O_NONBLOCK and without a reader",
        posix: "open(): ENXIO",
        linux: fixed("ENXIO", "open(2), ENXIO; fifo(7)"),
        freebsd: fixed("ENXIO", "open(2), ENXIO"),
        measure: |dir| {
            nix::unistd::mkfifo(&dir.join("fifo"), Mode::S_IRWXU).doing("mkfifo")?;
            let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK;
            Ok(word_or_errno("opens", nix::fcntl::open(&dir.join("fifo"), flags, Mode::empty())))
        },
    },
    Probe {
        id: "files/read-write-fifo",
        title: "open() of a FIFO for reading and writing",
        posix: "open(): undefined with O_RDWR",
        linux: fixed("opens", "fifo(7): succeeds in blocking and non-blocking mode"),
        freebsd: open("open(2) and mkfifo(2) do not say"),
        measure: |dir| {
            nix::unistd::mkfifo(&dir.join("fifo"), Mode::S_IRWXU).doing("mkfifo")?;
            let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK;
            Ok(word_or_errno("opens", nix::fcntl::open(&dir.join("fifo"), flags, Mode::empty())))
        },
    },
    Probe {
        id: "files/bidirectional-pipe",
        title: "write() to the reading end of a pipe",
        posix: "pipe(): unspecified whether that end is open for writing",
        linux: fixed("EBADF", "pipe(7): unidirectional; portable programs do not rely on more"),
        freebsd: fixed("writes", "pipe(2): the pipe is bidirectional"),
        measure: |_| {
            let (end, _other) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
            Ok(word_or_errno("writes", nix::unistd::write(&end, b".")))
        },
    },
    Probe {
        id: "files/process-file-system",
        title: "The file that shows this process's own state below /proc",
        posix: "not in POSIX",
        linux: fixed("/proc/self/status", "proc(5), proc_pid_status(5)"),
        freebsd: open(
            "procfs(5), which is not mounted by default; procstat(1) asks sysctl instead",
        ),
        measure: |_| {
            let found = ["/proc/self/status", "/proc/curproc/status"]
                .into_iter()
                .find(|path| Path::new(path).exists());
            Ok(found.unwrap_or("none").into())
        },
    },
];

fn configured(limit: nix::Result<Option<libc::c_long>>) -> Measure {
    Ok(match limit.doing("fpathconf")? {
        #[allow(clippy::useless_conversion)] // c_long has 32 or 64 bits
        Some(limit) => Value::from(i64::from(limit)),
        None => "unlimited".into(),
    })
}

fn append_and_pwrite(dir: &Path) -> Measure {
    let path = dir.join("log");
    let mut log = File::options().append(true).create(true).open(&path).doing("open")?;
    log.write_all(b"first").doing("write")?;
    nix::sys::uio::pwrite(&log, b"SECOND", 0).doing("pwrite")?;
    match std::fs::read(&path).doing("read")?.as_slice() {
        b"firstSECOND" => Ok("at the end".into()),
        b"SECOND" => Ok("at the offset".into()),
        other => Ok(format!("as `{}`", other.escape_ascii()).into()),
    }
}

fn past_2_gib(dir: &Path) -> Measure {
    let path = dir.join("large");
    match file(dir, "large")?.set_len(3 << 30) {
        Err(error) if error.raw_os_error() == Some(libc::EFBIG) => {
            return Ok("the file system allows no such file".into());
        }
        other => other.doing("truncate")?,
    }
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // Not std's open, which asks for large files itself.
    // SAFETY: the name ends with a NUL.
    let opened = Errno::result(unsafe { libc::open(name.as_ptr(), libc::O_RDONLY) });
    if let Ok(raw) = opened {
        // SAFETY: a new descriptor that nobody else owns.
        drop(unsafe { OwnedFd::from_raw_fd(raw) });
    }
    Ok(word_or_errno("opens", opened))
}

fn date_past_2038(dir: &Path) -> Measure {
    const YEAR_2100: i64 = 4_102_444_800;
    #[allow(irrefutable_let_patterns, clippy::useless_conversion)] // time_t has 32 or 64 bits
    let Ok(tv_sec) = YEAR_2100.try_into() else {
        return Ok("time_t cannot hold it".into());
    };
    let dated = file(dir, "dated")?;
    let time = libc::timespec { tv_sec, tv_nsec: 0 };
    let times = [time, time];
    // SAFETY: reads two timespecs.
    Errno::result(unsafe { libc::futimens(dated.as_raw_fd(), times.as_ptr()) })
        .doing("futimens")?;
    let read = match dated.metadata() {
        Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => {
            return Ok("kept, and stat says EOVERFLOW".into());
        }
        other => std::os::unix::fs::MetadataExt::mtime(&other.doing("stat")?),
    };
    Ok(if read == YEAR_2100 { Value::from("kept") } else { format!("becomes {read}").into() })
}
