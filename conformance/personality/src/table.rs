//! Every personality, once: the library, `forkproof as`, the controls and the
//! documentation all read this table.
//!
//! The file is compiled into the library and, by path, into `forkproof`, so it
//! uses nothing but `core`, and it is one file, though a long one: a row is read
//! on its own, and a module below it would be looked for beside it in one crate
//! and in a directory of its name in the other.

/// One way in which another platform, build or condition differs from this one.
#[derive(Debug)]
pub struct Personality {
    /// Stable words, as given to `forkproof as`.
    pub name: &'static str,
    /// One sentence: what it imitates.
    pub imitates: &'static str,
    /// Where that behaviour is written down.
    pub source: &'static str,
    /// The calls it changes, by their C names.
    pub calls: &'static [&'static str],
    /// What `=VALUE` after the name means, if it means anything.
    pub parameter: Option<Parameter>,
}

/// The value a personality takes after `=`.
#[derive(Debug)]
pub struct Parameter {
    /// What the value says, for help texts.
    pub means: &'static str,
    /// Which values there are.
    pub kind: Kind,
    /// The value when none is given, as [`Parameter::parse`] returns it.
    pub default: u32,
}

/// The values of a [`Parameter`].
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A decimal number.
    Number,
    /// A signal's name; repeated, the personality applies to each.
    Signal,
    /// An error's name.
    Errno,
    /// One of these words; repeated, the personality applies to each.
    Words(&'static [&'static str]),
}

impl Parameter {
    /// The value of `text`: a number, an errno, or a set as a bit mask.
    /// `None` when it is not one of the values of this parameter.
    pub fn parse(&self, text: &[u8]) -> Option<u32> {
        match self.kind {
            Kind::Number => number(text),
            Kind::Signal => {
                SIGNALS.iter().find(|s| s.0.as_bytes() == text).map(|s| signal_bit(s.1))
            }
            Kind::Errno => ERRORS.iter().find(|e| e.0.as_bytes() == text).map(|e| e.1),
            Kind::Words(words) => words.iter().position(|w| w.as_bytes() == text).map(|at| 1 << at),
        }
    }

    /// Whether values given one after the other add up (sets) or replace each
    /// other (numbers).
    pub const fn is_set(&self) -> bool {
        matches!(self.kind, Kind::Signal | Kind::Words(_))
    }
}

/// The bit of a signal in the value of a [`Kind::Signal`] parameter.
pub const fn signal_bit(signal: u32) -> u32 {
    1 << ((signal - 1) % 32)
}

fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u32;
    for digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
    }
    Some(value)
}

/// Signals a parameter can name, with this platform's numbers
/// (Linux: signal(7), x86 and ARM; FreeBSD: signal(3)).
#[cfg(target_os = "linux")]
pub const SIGNALS: &[(&str, u32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 17),
    ("SIGXFSZ", 25),
];
/// Signals a parameter can name, with this platform's numbers
/// (Linux: signal(7), x86 and ARM; FreeBSD: signal(3)).
#[cfg(target_os = "freebsd")]
pub const SIGNALS: &[(&str, u32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGUSR1", 30),
    ("SIGUSR2", 31),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 20),
    ("SIGXFSZ", 25),
];

/// Errors a parameter can name (Linux: errno(3); FreeBSD: errno(2)).
#[cfg(target_os = "linux")]
pub const ERRORS: &[(&str, u32)] = &[
    ("EPERM", 1),
    ("EINTR", 4),
    ("EIO", 5),
    ("EBADF", 9),
    ("ENOMEM", 12),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("ENOLCK", 37),
    ("ENOSYS", 38),
    ("EMFILE", 24),
    ("EPROTO", 71),
    ("ENOTSOCK", 88),
    ("EOPNOTSUPP", 95),
    ("ECONNABORTED", 103),
    ("ENOBUFS", 105),
];
/// Errors a parameter can name (Linux: errno(3); FreeBSD: errno(2)).
#[cfg(target_os = "freebsd")]
pub const ERRORS: &[(&str, u32)] = &[
    ("EPERM", 1),
    ("EINTR", 4),
    ("EIO", 5),
    ("EBADF", 9),
    ("ENOMEM", 12),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("ENOLCK", 77),
    ("ENOSYS", 78),
    ("EMFILE", 24),
    ("EPROTO", 92),
    ("ENOTSOCK", 38),
    ("EOPNOTSUPP", 45),
    ("ECONNABORTED", 53),
    ("ENOBUFS", 55),
];

#[cfg(target_os = "linux")]
/// SIGUSR1 in the value of a [`Kind::Signal`] parameter.
pub const USR1: u32 = signal_bit(10);
#[cfg(target_os = "freebsd")]
/// SIGUSR1 in the value of a [`Kind::Signal`] parameter.
pub const USR1: u32 = signal_bit(30);
#[cfg(target_os = "linux")]
const CONNABORTED: u32 = 103;
#[cfg(target_os = "freebsd")]
const CONNABORTED: u32 = 53;
#[cfg(target_os = "linux")]
const NOLCK: u32 = 37;
#[cfg(target_os = "freebsd")]
const NOLCK: u32 = 77;

const fn takes(means: &'static str, kind: Kind, default: u32) -> Option<Parameter> {
    Some(Parameter { means, kind, default })
}

/// The environment variable that selects personalities: `name,name2=value`.
pub const SELECTION: &str = "FORKPROOF_PERSONALITY";
/// The environment variable that names the trace file, if one is wanted.
pub const TRACE: &str = "FORKPROOF_PERSONALITY_TRACE";

/// First bytes of a trace file; the number is the layout's.
///
/// After them, for each personality in the order of [`ALL`], two counters of 32
/// bits in the machine's byte order: processes that loaded it (each exec
/// counts, a fork does not), and calls that it altered.
pub const TRACE_MAGIC: &[u8; 8] = b"fptrace1";
/// Size of a trace file, in bytes.
pub const TRACE_SIZE: usize = TRACE_MAGIC.len() + ALL.len() * 8;

macro_rules! personalities {
    ($($id:ident { $name:literal, $imitates:literal, $source:literal, [$($call:literal),* $(,)?], $parameter:expr })*) => {
        /// A personality's place in [`ALL`].
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[allow(missing_docs)] // the table below says it better
        pub enum Id { $($id),* }

        /// All of them, in the order of the catalogue's areas.
        pub const ALL: &[Personality] = &[$(Personality {
            name: $name,
            imitates: $imitates,
            source: $source,
            calls: &[$($call),*],
            parameter: $parameter,
        }),*];
    };
}

personalities! {
    // listen/
    V6onlyDefault {
        "v6only-default",
        "FreeBSD, NetBSD and OpenBSD: an IPv6 socket serves IPv6 only unless the program asks otherwise.",
        "FreeBSD inet6(4), net.inet6.ip6.v6only defaults to 1; Linux ipv6(7), bindv6only",
        ["socket"], None
    }
    NoV6only {
        "no-v6only",
        "A build without IPV6_V6ONLY (an #ifdef not taken) on Linux: every IPv6 socket serves IPv4 as well.",
        "RFC 3493 section 5.3: the option is off by default; Linux ipv6(7)",
        ["socket", "setsockopt"], None
    }
    V6onlyFixed {
        "v6only-fixed",
        "OpenBSD: IPv6 sockets are IPv6 only, and IPV6_V6ONLY cannot be set, not even to that.",
        "OpenBSD ip6(4), IPV6_V6ONLY: read-only, EINVAL",
        ["socket", "setsockopt"], None
    }
    OptionFailureEnds {
        "option-failure-ends",
        "A server that ends when a socket option cannot be set, whatever the option is good for.",
        "OpenBSD ip6(4), IPV6_V6ONLY; POSIX.1-2024 setsockopt(): ERRORS",
        ["setsockopt"], None
    }
    BindMoves {
        "bind-moves",
        "A server that takes whatever port is free when its own is in use, and does not say so.",
        "POSIX.1-2024 bind(): EADDRINUSE",
        ["bind"], None
    }
    Addrconfig {
        "addrconfig",
        "A server that looks its own names up with AI_ADDRCONFIG, one family at a time.",
        "RFC 3493 section 6.1: loopback addresses do not count; glibc getaddrinfo(3), AI_ADDRCONFIG",
        ["getaddrinfo"], None
    }
    SlowListen {
        "slow-listen",
        "A busy machine: some time goes by before a socket listens.",
        "POSIX.1-2024 listen(): how long it takes is not said",
        ["listen"],
        takes("how many milliseconds", Kind::Number, 300)
    }
    ListenPidBelieved {
        "listen-pid-believed",
        "A server that does not compare LISTEN_PID with its own id: sockets that its environment tells of are its own.",
        "sd_listen_fds(3): LISTEN_PID",
        ["getenv"], None
    }
    NoUnixSockets {
        "no-unix-sockets",
        "A sandbox without local sockets: those of AF_UNIX cannot be made.",
        "systemd.exec(5), RestrictAddressFamilies=; POSIX.1-2024 socket(): EAFNOSUPPORT",
        ["socket"], None
    }
    ServesInTurn {
        "serves-in-turn",
        "A server that waits for each client's process before it accepts the next client.",
        "Stevens, UNIX Network Programming 1.7: an iterative server",
        ["fork"], None
    }
    DarwinSockets {
        "darwin-sockets",
        "Darwin: no address of a peer that has gone, no options either, and EPROTOTYPE, then ENOBUFS from a process's first sends.",
        "Darwin accept(2), setsockopt(2): EINVAL on a socket that was shut down; send(2): ENOBUFS; libuv src/unix/stream.c, EPROTOTYPE",
        ["accept", "accept4", "setsockopt", "send", "sendto", "sendmsg", "write"],
        takes("what is as on Darwin", Kind::Words(&["accept", "setsockopt", "send"]), 7)
    }
    NoIpv6 {
        "no-ipv6",
        "A kernel without IPv6: its sockets cannot be created.",
        "POSIX.1-2024 socket(): EAFNOSUPPORT; Linux boot option ipv6.disable=1; FreeBSD WITHOUT_INET6",
        ["socket"], None
    }
    NoIpv4 {
        "no-ipv4",
        "A kernel without IPv4: its sockets cannot be created.",
        "POSIX.1-2024 socket(): EAFNOSUPPORT; FreeBSD src.conf(5), WITHOUT_INET",
        ["socket"], None
    }
    AbortedIsFatal {
        "aborted-is-fatal",
        "A server that ends at ECONNABORTED, on a system that reports connections reset before accept.",
        "POSIX.1-2024 accept(): ECONNABORTED; FreeBSD accept(2), ERRORS",
        ["accept", "accept4"], None
    }
    NoReuseaddr {
        "no-reuseaddr",
        "A server that forgot SO_REUSEADDR: connections in TIME_WAIT keep the port.",
        "Linux socket(7), SO_REUSEADDR; RFC 9293 section 3.6.1",
        ["setsockopt"], None
    }
    ReuseportSteal {
        "reuseport-steal",
        "A server that sets SO_REUSEPORT (or DragonFly, where it balances): a second daemon shares the port of the first.",
        "Linux socket(7), SO_REUSEPORT; FreeBSD setsockopt(2), SO_REUSEPORT_LB",
        ["bind"], None
    }
    BsdAccept {
        "bsd-accept",
        "FreeBSD, OpenBSD and macOS: an accepted socket inherits O_NONBLOCK and O_ASYNC from the listening one.",
        "FreeBSD accept(2): inherits O_NONBLOCK; Linux accept(2), NOTES: it does not",
        ["accept", "accept4"],
        takes("which calls inherit; accept4 does so nowhere, which helps to test a program that uses it", Kind::Words(&["accept", "accept4"]), 1)
    }
    SetflIgnored {
        "setfl-ignored",
        "A program that never clears an inherited O_NONBLOCK: setting a descriptor's status flags does nothing.",
        "POSIX.1-2024 fcntl(), F_SETFL; ioctl(FIONBIO) in FreeBSD ioctl(2)",
        ["fcntl", "ioctl"], None
    }
    SmallBacklog {
        "small-backlog",
        "A listen(fd, 1) of old examples, or kern.ipc.soacceptqueue lowered: the queue holds one connection.",
        "FreeBSD listen(2), kern.ipc.soacceptqueue; Linux listen(2), somaxconn",
        ["listen"], None
    }
    AcceptFailsOnce {
        "accept-fails-once",
        "BSD and Solaris kernels, which report a connection reset before accept: the first accept of a process fails.",
        "POSIX.1-2024 accept(): ECONNABORTED; Linux accept(2), ERRORS",
        ["accept", "accept4"],
        takes("the error", Kind::Errno, CONNABORTED)
    }
    MappedPeers {
        "mapped-peers",
        "A server on one dual-stack socket: an IPv4 peer's address comes as ::ffff:a.b.c.d.",
        "RFC 3493 section 3.7",
        ["accept", "accept4", "getpeername"], None
    }
    BindDropsScope {
        "bind-drops-scope",
        "A program that copies an IPv6 address without its scope id.",
        "RFC 4007 section 11; Linux ipv6(7), sin6_scope_id",
        ["bind"], None
    }
    NoLoopbackAliases {
        "no-loopback-aliases",
        "FreeBSD and macOS, where lo0 has 127.0.0.1 only: no other address of 127.0.0.0/8 can be bound.",
        "FreeBSD rc.conf(5), ifconfig_lo0; POSIX.1-2024 bind(): EADDRNOTAVAIL",
        ["bind"], None
    }
    ListenerLeaks {
        "listener-leaks",
        "A server whose children keep the listening socket: closing one after fork does nothing.",
        "POSIX.1-2024 fork(): descriptors are copied",
        ["close"], None
    }
    AcceptedSocketLeaks {
        "accepted-socket-leaks",
        "A daemon that forgets to close its copy of a client's socket after fork.",
        "POSIX.1-2024 fork() and close(): the connection ends with its last descriptor",
        ["close"], None
    }

    // signals/
    SysvSignals {
        "sysv-signals",
        "System V signal(): a handler is reset when it runs, and its own signal is not blocked meanwhile.",
        "Linux signal(2), Portability; sigaction flags SA_RESETHAND and SA_NODEFER",
        ["sigaction", "signal"], None
    }
    UninitialisedSaFlags {
        "uninitialised-sa-flags",
        "A struct sigaction on the stack whose sa_flags was never set: what the compiler left there decides.",
        "ISO C 6.7.9: an automatic object is indeterminate; POSIX.1-2024 sigaction()",
        ["sigaction"],
        takes("a seed: the same number gives the same flags", Kind::Number, 1)
    }
    NoSaRestart {
        "no-sa-restart",
        "System V and Solaris: a call interrupted by a handler fails with EINTR instead of starting again.",
        "POSIX.1-2024 sigaction(), SA_RESTART; Linux signal(7)",
        ["sigaction", "signal"], None
    }
    EintrStorm {
        "eintr-storm",
        "A machine on which a signal hits every blocking call: about half of them fail with EINTR, unstarted.",
        "POSIX.1-2024, the ERRORS of accept(), read(), write(), poll(); Linux signal(7)",
        ["accept", "accept4", "read", "recv", "recvfrom", "write", "send", "sendto", "flock", "poll", "ppoll", "waitpid", "wait4"], None
    }
    EintrIsFatal {
        "eintr-is-fatal",
        "A program that takes EINTR for any other error: interrupted calls are not restarted and fail with EIO.",
        "POSIX.1-2024 XSH 2.3, EINTR; Linux signal(7)",
        ["sigaction", "accept", "accept4", "read", "recv", "recvfrom", "write", "send", "sendto", "flock", "poll", "ppoll", "waitpid", "wait4"],
        takes("which calls", Kind::Words(&["accept", "read", "write", "flock", "poll", "wait"]), 0x3f)
    }
    AcceptLoopEnds {
        "accept-loop-ends",
        "while ((client = accept(...)) >= 0): the process that listens exits when a signal interrupts its wait.",
        "POSIX.1-2024 accept(), poll(): EINTR; Linux signal(7): poll is never restarted",
        ["accept", "accept4", "poll", "ppoll"], None
    }
    SignalDefault {
        "signal-default",
        "A program that never set a disposition for this signal: catching or ignoring it does nothing.",
        "POSIX.1-2024 <signal.h>: default actions",
        ["sigaction", "signal"],
        takes("the signal", Kind::Signal, USR1)
    }
    SignalIgnored {
        "signal-ignored",
        "A program whose handler for this signal was never installed because the signal is ignored.",
        "POSIX.1-2024 sigaction(), SIG_IGN",
        ["sigaction", "signal"],
        takes("the signal", Kind::Signal, USR1)
    }
    SigpipeDefault {
        "sigpipe-default",
        "A program without any care for SIGPIPE, or a system without MSG_NOSIGNAL (macOS): writing to a reset connection kills it.",
        "POSIX.1-2024 send(), MSG_NOSIGNAL, and write(): EPIPE",
        ["sigaction", "signal", "send", "sendto", "sendmsg", "setsockopt"], None
    }
    InheritsIgnored {
        "inherits-ignored",
        "A program that leaves alone what its parent ignored, as a shell must: handlers for signals ignored at the start are not installed.",
        "POSIX.1-2024 exec: ignored dispositions remain; XCU 2.12, trap",
        ["sigaction", "signal"], None
    }
    InheritsBlocked {
        "inherits-blocked",
        "A program that never unblocks what its parent blocked: the mask at the start stays.",
        "POSIX.1-2024 exec: the signal mask is inherited",
        ["sigprocmask", "pthread_sigmask", "sigsuspend", "ppoll", "pselect"], None
    }
    SignalsNotBlocked {
        "signals-not-blocked",
        "A program that does not block this signal around its critical sections.",
        "POSIX.1-2024 sigprocmask()",
        ["sigprocmask", "pthread_sigmask", "sigaction"],
        takes("the signal", Kind::Signal, USR1)
    }
    RacingWait {
        "racing-wait",
        "pause(), or a pselect emulated in the library: the mask is changed first and the wait begins after, so a signal in between is lost.",
        "Linux select(2), BUGS: glibc's emulated pselect; POSIX.1-2024 sigsuspend(), RATIONALE",
        ["sigsuspend", "ppoll", "pselect"],
        takes("microseconds between the two steps, on top of what they take", Kind::Number, 0)
    }
    BusyWait {
        "busy-wait",
        "A program that polls: every wait ends at once with nothing.",
        "POSIX.1-2024 poll(): a timeout of 0",
        ["poll", "ppoll", "sigsuspend", "pause", "nanosleep", "clock_nanosleep"],
        takes("milliseconds that a poll waits nevertheless", Kind::Number, 0)
    }
    NeverReaps {
        "never-reaps",
        "A daemon that never waits for its children: they stay as zombies.",
        "POSIX.1-2024 XBD 3, zombie process; _exit()",
        ["waitpid", "wait4", "sigaction", "signal"], None
    }
    ReapsOne {
        "reaps-one",
        "A handler that calls wait once for each SIGCHLD, though pending signals coalesce.",
        "POSIX.1-2024 XSH 2.4.1: a pending signal is not queued; Linux signal(7)",
        ["waitpid", "wait4"], None
    }
    KillReachesNobody {
        "kill-reaches-nobody",
        "A daemon whose kill() goes to the wrong group or to nobody.",
        "POSIX.1-2024 kill()",
        ["kill", "killpg"],
        takes("the signal; all when not given", Kind::Signal, u32::MAX)
    }
    MulticastByDaemon {
        "multicast-by-daemon",
        "A server whose messages pass through its daemon: only the listening process wakes the others.",
        "The paper's claim, turned round; POSIX.1-2024 kill()",
        ["kill", "killpg", "fork"], None
    }
    GroupLeaks {
        "group-leaks",
        "A server without setsid() or setpgid(): it stays in its launcher's process group, and kill(0) reaches that.",
        "POSIX.1-2024 setsid(), kill() with pid 0",
        ["setsid", "setpgid", "setpgrp"], None
    }
    SingleFork {
        "single-fork",
        "A daemon that leads its session, as one does that daemon(3) of the C library has left.",
        "daemon(3) of glibc and of FreeBSD; POSIX.1-2024 setsid(), 11.1.3",
        ["setsid", "fork"], None
    }

    SlowChild {
        "slow-child",
        "A busy machine: each child runs only some time after its fork, while its parent has gone on.",
        "POSIX.1-2024 fork(): which process runs first is not said",
        ["fork"],
        takes("after how many milliseconds", Kind::Number, 300)
    }
    ForkLosesSignals {
        "fork-loses-signals",
        "A child that inherits its parent's handlers, and then begins anew: a SIGTERM or SIGINT that came in between is forgotten.",
        "POSIX.1-2024 fork(): handlers are inherited; benoitc/gunicorn#1910",
        ["fork"], None
    }
    StaleMaskAfterFork {
        "stale-mask-after-fork",
        "FreeBSD 13.2 with libthr: a signal that is pending when a process first waits with an open mask after a fork does not end that wait; a mask that is opened and closed just before lets it in, and so does sigtimedwait().",
        "FreeBSD sigfastblock(2): the word of libthr's critical section around fork; POSIX.1-2024 ppoll()",
        ["fork", "ppoll", "pselect", "sigsuspend", "sigtimedwait", "sigprocmask", "pthread_sigmask"],
        takes("milliseconds before that wait begins", Kind::Number, 0)
    }
    ToldOnce {
        "told-once",
        "A daemon that tells each child once to end, and then waits for it, without SIGCONT and without SIGKILL.",
        "POSIX.1-2024, 2.4.3: a stopped process acts on SIGTERM when it is continued",
        ["kill", "killpg"], None
    }
    ClockJump {
        "clock-jump",
        "A wall clock that is set again and again: three hours ahead, three hours behind, right.",
        "POSIX.1-2024 clock_settime(); Linux settimeofday(2), adjtimex(2); FreeBSD ntpd -g",
        ["clock_gettime", "gettimeofday", "time"],
        takes("milliseconds between two jumps", Kind::Number, 300)
    }

    // locking/
    SharedDescription {
        "shared-description",
        "A log opened before fork: all processes share one open file description, so flock excludes none of them and the offset is common.",
        "Linux flock(2) and FreeBSD flock(2): locks are on files, not descriptors; POSIX.1-2024 fork()",
        ["open", "open64", "openat", "openat64"], None
    }
    PosixFlock {
        "posix-flock",
        "Solaris, AIX and NFS on Linux: flock is emulated by fcntl record locks, lost when any descriptor of the file is closed.",
        "Linux flock(2), NFS details; POSIX.1-2024 fcntl(): all locks are removed on close",
        ["flock"], None
    }
    FlockDoesNothing {
        "flock-does-nothing",
        "A file system without locks (NFS mounted nolock, some FUSE): flock succeeds and excludes nobody.",
        "Linux nfs(5), nolock: locks are local",
        ["flock"],
        takes("which locks", Kind::Words(&["shared", "exclusive"]), 3)
    }
    RecordLocksUnseen {
        "record-locks-unseen",
        "NFS mounted nolock: a process does not learn of others' record locks.",
        "Linux nfs(5), nolock: locks are local; POSIX.1-2024 fcntl(), F_GETLK",
        ["fcntl"], None
    }
    SharedAsExclusive {
        "shared-as-exclusive",
        "flock built on lockf(), which knows exclusive locks only: readers exclude each other.",
        "POSIX.1-2024 lockf(): exclusive sections",
        ["flock"], None
    }
    SpinningLock {
        "spinning-lock",
        "A program that tries LOCK_NB in a loop instead of waiting.",
        "Linux flock(2), LOCK_NB",
        ["flock"], None
    }
    LockWaitEndsAtSignal {
        "lock-wait-ends-at-signal",
        "A program that waits for a lock with SIGUSR1 open, and takes EINTR from flock for an error.",
        "Linux flock(2) and FreeBSD flock(2), ERRORS: EINTR",
        ["flock"], None
    }
    LockOutlivesDeath {
        "lock-outlives-death",
        "Mutual exclusion by a semaphore or lock file: when its holder is killed it stays taken.",
        "POSIX.1-2024 sem_wait(): no recovery; Linux open(2), O_EXCL lock files",
        ["flock"], None
    }
    NeverUnlocks {
        "never-unlocks",
        "A program that forgets LOCK_UN: the lock ends with the descriptor.",
        "Linux flock(2), LOCK_UN",
        ["flock"],
        takes("which locks", Kind::Words(&["shared", "exclusive"]), 3)
    }
    LockHeldOverWrite {
        "lock-held-over-write",
        "A sender that writes to its client's socket while it still holds the log's lock.",
        "The paper's server; Linux flock(2)",
        ["flock", "poll", "ppoll", "sigsuspend", "pause", "read", "recv", "recvfrom"], None
    }
    PreadAsRead {
        "pread-as-read",
        "A server that reads the log with read() at the description's offset instead of pread().",
        "POSIX.1-2024 read() and pread()",
        ["pread", "pread64"], None
    }
    NoAppend {
        "no-append",
        "A log opened without O_APPEND, or NFS, where append is emulated: writers overwrite each other.",
        "Linux open(2), O_APPEND on NFS",
        ["open", "open64", "openat", "openat64", "fcntl"], None
    }
    AppendBySeek {
        "append-by-seek",
        "A program that looks for the end of a file and then writes there, as NFS clients do for O_APPEND: another writer may come between.",
        "Linux open(2), O_APPEND on NFS; POSIX.1-2024 lseek(), write()",
        ["open", "open64", "openat", "openat64", "write"], None
    }

    // processes/ and auth/
    ForkFails {
        "fork-fails",
        "A full process table or RLIMIT_NPROC: in a server that has accepted a connection, fork fails with EAGAIN.",
        "POSIX.1-2024 fork(): EAGAIN",
        ["fork"],
        takes("forks that succeed first", Kind::Number, 0)
    }
    ForksTwice {
        "forks-twice",
        "A child that runs on into its parent's loop: each fork in a server at work leaves one process more.",
        "POSIX.1-2024 fork(): both processes continue from the call",
        ["fork"], None
    }
    ForksRunOut {
        "forks-run-out",
        "A process table that is full once a server has started: a process's first forks succeed, and later ones fail with EAGAIN.",
        "POSIX.1-2024 fork(): EAGAIN",
        ["fork"],
        takes("forks of each process that succeed", Kind::Number, 2)
    }
    WantIsFatal {
        "want-is-fatal",
        "A master that ends when it can have no process or no descriptor for a worker.",
        "POSIX.1-2024 fork(): EAGAIN; socketpair(): EMFILE",
        ["fork", "socketpair"], None
    }
    OneForAll {
        "one-for-all",
        "A pool that is a broken one when a process of it was killed, as that of Python's ProcessPoolExecutor: the others are killed too.",
        "Python library, concurrent.futures, BrokenProcessPool",
        ["fork", "waitpid", "wait4"], None
    }
    ChildrenEndAll {
        "children-end-all",
        "A master that ends when one of its children was killed.",
        "POSIX.1-2024 waitpid(): WIFSIGNALED",
        ["waitpid", "wait4"], None
    }
    NoBackOff {
        "no-back-off",
        "A master without a back-off: once it has lost a child it waits for no time any more, and by its clock that time has passed.",
        "POSIX.1-2024 poll(): a timeout of 0; clock_gettime(), CLOCK_MONOTONIC",
        ["waitpid", "wait4", "poll", "clock_gettime"], None
    }
    AcceptWaitsFor {
        "accept-waits-for",
        "A pool in which workers take turns with a lock around accept (Apache's serialized accept), the first one has all clients (SO_REUSEPORT where it does not balance), or none accepts while its master stands still (Linux).",
        "Apache httpd, Mutex accept; FreeBSD setsockopt(2), SO_REUSEPORT and SO_REUSEPORT_LB",
        ["accept", "accept4", "epoll_ctl", "epoll_wait", "poll"],
        takes("whom an accept waits for", Kind::Words(&["turn", "first", "master"]), 1)
    }
    EndsWhenTold {
        "ends-when-told",
        "A worker that ends the moment that its master tells it something over their socket, whatever is under way.",
        "POSIX.1-2024 recvmsg(), _exit(): open connections are closed",
        ["recvmsg"], None
    }
    KeysCheckedByDaemon {
        "keys-checked-by-daemon",
        "A daemon that reads each client's key itself: it accepts no other until the last has its log open or is gone.",
        "POSIX.1-2024 accept(); CWE-400: uncontrolled resource consumption",
        ["fork"], None
    }
    AnyKey {
        "any-key",
        "A comparison that always says yes, as strncmp of length 0 does: whatever a client sends first counts as the key.",
        "ISO C strncmp; CWE-287: improper authentication",
        ["read", "recv", "recvfrom"], None
    }
    FdExhausted {
        "fd-exhausted",
        "No descriptor left: accept fails with EMFILE while the connection stays in the queue.",
        "POSIX.1-2024 accept(): EMFILE",
        ["accept", "accept4"],
        takes("accepts that succeed first", Kind::Number, 0)
    }
    ChildrenDieWithParent {
        "children-die-with-parent",
        "A supervisor that ends the whole service with its main process: forked children get SIGKILL when their parent dies.",
        "systemd.kill(5), KillMode=control-group; Linux PR_SET_PDEATHSIG(2const); FreeBSD procctl(2), PROC_PDEATHSIG_CTL",
        ["fork"], None
    }
    ExitsZero {
        "exits-zero",
        "A launcher that exits 0 before it knows whether the daemon could start.",
        "FreeBSD and Linux daemon(3): the parent calls _exit(0)",
        ["exit", "_exit", "_Exit"], None
    }
    SetuidDoesNothing {
        "setuid-does-nothing",
        "A program that does not drop its privileges: changing user and groups succeeds without effect.",
        "POSIX.1-2024 setuid(); Linux setuid(2), NOTES",
        ["setuid", "setgid", "seteuid", "setegid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "initgroups"], None
    }
    TimeoutsNeverFire {
        "timeouts-never-fire",
        "A server without timeouts: waits have no end, alarms never ring, SO_RCVTIMEO does nothing.",
        "POSIX.1-2024 setsockopt(), SO_RCVTIMEO: support is optional; poll(), timeout -1",
        ["poll", "epoll_wait", "kevent", "ppoll", "select", "pselect", "alarm", "setitimer", "setsockopt"],
        takes("milliseconds of the shortest timeout that does not", Kind::Number, 0)
    }
    WallClockTimeouts {
        "wall-clock-timeouts",
        "A program that measures its time-outs by the wall clock: the monotonic one tells the time of day.",
        "POSIX.1-2024 clock_gettime(): CLOCK_REALTIME can be set",
        ["clock_gettime"], None
    }
    FrozenClock {
        "frozen-clock",
        "A deadline that is never reached, as one that each byte starts anew: the monotonic clock stands still.",
        "POSIX.1-2024 clock_gettime(), CLOCK_MONOTONIC",
        ["clock_gettime"], None
    }
    LeaksMemory {
        "leaks-memory",
        "A daemon that keeps a buffer for each client it ever had.",
        "POSIX.1-2024 free(), which it lacks; Linux getrlimit(2), RLIMIT_AS",
        ["accept", "accept4"],
        takes("KiB for each accepted connection", Kind::Number, 256)
    }
    EofNeverComes {
        "eof-never-comes",
        "A client that vanished without a word (a pulled cable, no keepalive): the end of its stream is never seen.",
        "RFC 9293 section 3.8.4, keep-alives are off by default",
        ["read", "recv", "recvfrom", "recvmsg", "poll", "ppoll"], None
    }
    ShortReadIsEnd {
        "short-read-is-end",
        "A server that takes one read for one message: less than it asked for counts as the end of the stream.",
        "POSIX.1-2024 read(): fewer bytes are lawful; RFC 9293: TCP keeps no boundaries",
        ["read", "recv", "recvfrom"],
        takes("largest request it applies to, in bytes", Kind::Number, 256)
    }
    GreetsFirst {
        "greets-first",
        "A service that greets (as SMTP, FTP and telnet do): a byte goes out before the client has spoken.",
        "RFC 5321 section 3.1; FreeBSD telnetd(8)",
        ["accept", "accept4"], None
    }
    EchoesInput {
        "echoes-input",
        "A debug build that prints what it receives to standard error.",
        "CWE-532: insertion of sensitive information into a log file",
        ["read", "recv", "recvfrom"], None
    }

    ClosedDescriptorsStay {
        "closed-descriptors-stay",
        "A program without the care that some runtimes take: standard descriptors that were closed at its start are not opened, and its first files and sockets get their numbers.",
        "POSIX.1-2024 open(): the lowest number that is free; exec: a program whose standard descriptors are closed",
        ["poll"], None
    }
    WritesToInherited {
        "writes-to-inherited",
        "A program that takes what its parent left open for its own: at each client it writes a line to the pipes that it found.",
        "POSIX.1-2024 exec: descriptors without FD_CLOEXEC remain open; sd_listen_fds(3)",
        ["accept", "accept4"], None
    }
    KeepsStandardDescriptors {
        "keeps-standard-descriptors",
        "A daemon that keeps its launcher's standard descriptors: putting others in their place does nothing.",
        "daemon(7), SysV daemons; FreeBSD and Linux daemon(3), noclose",
        ["dup2"], None
    }
    StderrFull {
        "stderr-full",
        "A program that waits for whoever reads its messages, where nobody does: once it serves clients, a write to standard error does not return.",
        "POSIX.1-2024 write(): waits while a pipe has no room; Linux pipe(7)",
        ["write", "poll"], None
    }
    PidFileBelieved {
        "pid-file-believed",
        "A server that takes a pid file for another server: one that exists, or whose process is alive, keeps it from starting; or it ends that process.",
        "POSIX.1-2024 kill(): signal 0; process ids are used again",
        ["rename", "open", "open64", "openat", "openat64"],
        takes("what it makes of the file", Kind::Words(&["exists", "alive", "kills"]), 1)
    }
    FilesStay {
        "files-stay",
        "A server that leaves its files behind: removing one does nothing.",
        "POSIX.1-2024 unlink()",
        ["unlink"], None
    }
    LeavesModesToUmask {
        "leaves-modes-to-umask",
        "A server that leaves who may write its files to the mask that it was started with: it sets none, and creates files of its own with 0666.",
        "POSIX.1-2024 umask(), open(): mode; fopen(): files are created with 0666",
        ["umask", "open", "open64", "openat", "openat64"], None
    }

    // delivery/
    NulLastByte {
        "nul-last-byte",
        "A buffer handled as a C string: its last byte becomes NUL on the way to the socket or the log.",
        "ISO C 7.24.2.4, strncpy and its users; the paper's server",
        ["write", "send", "sendto"], None
    }
    ShortWrites {
        "short-writes",
        "A nearly full disk, pipe or socket buffer: a write takes fewer bytes than it was given.",
        "POSIX.1-2024 write(): a partial count is lawful",
        ["write", "send", "sendto", "writev"],
        takes("most bytes a call takes", Kind::Number, 7)
    }
    ShortReads {
        "short-reads",
        "A slow line: a read gives fewer bytes than there are.",
        "POSIX.1-2024 read(): a partial count is lawful",
        ["read", "recv", "recvfrom", "pread", "pread64"],
        takes("most bytes a call gives", Kind::Number, 7)
    }
    TruncatedReads {
        "truncated-reads",
        "A fixed buffer that cuts what does not fit: the rest of what arrived at once is dropped, as a datagram's is.",
        "POSIX.1-2024 recv(): excess bytes of a message are discarded",
        ["read", "recv", "recvfrom"],
        takes("bytes that fit", Kind::Number, 1024)
    }
    WriteLosesTail {
        "write-loses-tail",
        "A program that ignores write's result where writes are short: half is written, all is believed to be.",
        "POSIX.1-2024 write(); the warn_unused_result of glibc's write",
        ["write", "send", "sendto"],
        takes("writes of at most so many bytes are left whole", Kind::Number, 1)
    }
    SendsWholeBuffer {
        "sends-whole-buffer",
        "send(fd, buf, sizeof buf, 0) after a shorter read: memory that no client sent follows each message.",
        "CWE-908: use of an uninitialised resource; RFC 6520 (Heartbleed) as the famous case",
        ["write", "send", "sendto"], None
    }
    DropsWhenFull {
        "drops-when-full",
        "A server that takes EAGAIN from a full socket buffer for sent.",
        "POSIX.1-2024 send(): EAGAIN",
        ["write", "send", "sendto"], None
    }
    NoHandshake {
        "no-handshake",
        "A process that serves a client and goes on as soon as it has forked another one for it: what that one is to say first, through a pipe, is taken as said.",
        "POSIX.1-2024 fork(): which process runs first is not said",
        ["poll", "ppoll", "read"], None
    }
    EndsUnseen {
        "ends-unseen",
        "A program that appends without a look at how a file ends: its last byte always seems to end a line.",
        "CWE-117: what follows a forged line in a log is believed",
        ["pread", "pread64"], None
    }
    HalfCloseEnds {
        "half-close-ends",
        "A server that takes the end of a client's stream for the end of the connection, in both directions.",
        "RFC 9293 section 3.6: closing is one-sided",
        ["read", "recv", "recvfrom"], None
    }
    SingleRead {
        "single-read",
        "A sender that reads once for each wake: what does not fit in the buffer waits for the next signal.",
        "POSIX.1-2024 XSH 2.4.1: pending signals coalesce; the paper's server",
        ["read", "pread", "pread64"],
        takes("the buffer, in bytes", Kind::Number, 4096)
    }
    TruncatesOnOpen {
        "truncates-on-open",
        "fopen(log, \"w\") instead of \"a\" when the server starts: opening the log empties it.",
        "POSIX.1-2024 fopen(), mode w; open(), O_TRUNC",
        ["open", "open64", "openat", "openat64"], None
    }

    // storage/
    NoLocks {
        "no-locks",
        "A file system or a kernel without locks: flock and fcntl's record locks fail.",
        "POSIX.1-2024 fcntl(): ENOLCK; Linux flock(2), nfs(5), local_lock; FreeBSD flock(2): EOPNOTSUPP",
        ["flock", "fcntl"],
        takes("the error", Kind::Errno, NOLCK)
    }
    DiskFull {
        "disk-full",
        "A full file system: a write to a file takes what fits, then fails with ENOSPC.",
        "POSIX.1-2024 write(): ENOSPC",
        ["write", "writev", "pwrite", "pwrite64"],
        takes("bytes that still fit, for each process", Kind::Number, 0)
    }
    TruncateDoesNothing {
        "truncate-does-nothing",
        "A server that leaves a torn line in the log: ftruncate succeeds without effect.",
        "POSIX.1-2024 ftruncate()",
        ["ftruncate", "ftruncate64"], None
    }
    OpenWithoutMode {
        "open-without-mode",
        "open(O_CREAT) without its third argument and with no umask: the new file's mode is whatever was in the register.",
        "POSIX.1-2024 open(), O_CREAT; Linux open(2): mode must be supplied",
        ["open", "open64", "openat", "openat64"], None
    }
    ModesUnreported {
        "modes-unreported",
        "FAT, SMB and other file systems without Unix modes: stat calls everything a regular file of mode 0600.",
        "Linux mount(8), fmask of vfat; mount.cifs(8), file_mode",
        ["stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat", "fstatat64", "statx"], None
    }
    StalePaths {
        "stale-paths",
        "NFS with cached lookups: a path goes on meaning the file it meant at first, though it was renamed or removed.",
        "Linux nfs(5), lookupcache and acdirmax",
        ["open", "open64", "openat", "openat64", "stat", "stat64", "lstat", "lstat64", "fstatat", "fstatat64", "statx"], None
    }

    // width/
    Past2038 {
        "past-2038",
        "The wall clock is twenty years ahead, past what a 32-bit time_t holds.",
        "POSIX.1-2024 <time.h>, time_t; glibc manual, _TIME_BITS",
        ["clock_gettime", "gettimeofday", "time"], None
    }
    OldSeccomp {
        "old-seccomp",
        "A container runtime's old filter: system calls from Linux 5.1 on are answered by EPERM, not ENOSYS; clone3 is let through.",
        "seccomp(2), SECCOMP_RET_ERRNO; moby/moby#42680",
        ["seccomp"], None
    }
    CloseRangeOnly {
        "close-range-only",
        "A server whose children close what they inherited by close_range alone, and end where that fails.",
        "Linux close_range(2), since 5.9",
        ["fork"], None
    }
    NoLargeFiles {
        "no-large-files",
        "A 32-bit build without large-file support: files past 2 GiB cannot be opened and none can grow past it.",
        "POSIX.1-2024 open(): EOVERFLOW; write(): EFBIG; glibc manual, _FILE_OFFSET_BITS",
        ["open", "open64", "openat", "openat64", "write", "pwrite", "pwrite64", "lseek", "lseek64", "stat", "stat64", "fstat", "fstat64", "statx"], None
    }
    OffsetWraps {
        "offset-wraps",
        "A program that keeps file positions in 32 bits without a sign: past 4 GiB they begin again at 0.",
        "glibc manual, _FILE_OFFSET_BITS; CWE-190: integer overflow",
        ["lseek", "lseek64", "pread", "pread64", "stat", "stat64", "fstat", "fstat64", "statx"], None
    }
    Time32 {
        "time32",
        "A 32-bit time_t: files dated past January 2038 cannot be examined, and a clock past it cannot be read.",
        "POSIX.1-2024 stat(): EOVERFLOW; glibc manual, _TIME_BITS",
        ["stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat", "fstatat64", "statx", "clock_gettime", "gettimeofday", "time"], None
    }
    BigInodes {
        "big-inodes",
        "XFS, NFS or a merged file system with inode numbers above 32 bits.",
        "Linux xfs(5), inode64",
        ["stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat", "fstatat64", "statx"], None
    }
    Ino32 {
        "ino32",
        "A 32-bit ino_t: files with greater inode numbers cannot be examined.",
        "POSIX.1-2024 stat(): EOVERFLOW; glibc manual, _FILE_OFFSET_BITS",
        ["stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat", "fstatat64", "statx"], None
    }
    VisitsAllDescriptors {
        "visits-all-descriptors",
        "The daemon recipe of old books: a forked child goes through every descriptor up to the limit.",
        "Stevens, Advanced Programming in the UNIX Environment, daemonize; POSIX.1-2024 getrlimit(), RLIM_INFINITY",
        ["fork"], None
    }
    MapsWholeFiles {
        "maps-whole-files",
        "A program that brings each file it opens into memory as a whole: on 32-bit targets a large log does not fit.",
        "POSIX.1-2024 mmap(): ENOMEM; getrlimit(), RLIMIT_AS",
        ["open", "open64", "openat", "openat64"], None
    }
    FdSetsize {
        "fd-setsize",
        "poll() built on select(): descriptors from FD_SETSIZE (1024) on cannot be waited for.",
        "POSIX.1-2024 select(): FD_SETSIZE; gnulib poll on systems without one",
        ["poll", "ppoll"], None
    }
    FiveDigitPids {
        "five-digit-pids",
        "Process ids kept in five digits: fork's answer loses what is above, and signals to a process or a group find none.",
        "FreeBSD <sys/param.h>, PID_MAX 99999; Linux proc(5), pid_max up to 2^22",
        ["fork", "kill", "killpg", "waitpid", "wait4"], None
    }
    Uid16 {
        "uid16",
        "16-bit user ids (the system calls of old 32-bit x86): what is above 65535 is cut.",
        "Linux setuid(2), C library/kernel differences: setuid32",
        ["setuid", "setgid", "setresuid", "setresgid", "setreuid", "setregid", "seteuid", "setegid", "getuid", "geteuid"], None
    }
    UnlimitedDescriptors {
        "unlimited-descriptors",
        "A system where RLIMIT_NOFILE is RLIM_INFINITY: a loop over all descriptors does not end.",
        "POSIX.1-2024 getrlimit(), RLIM_INFINITY; sysconf(): -1 for no limit",
        ["getrlimit", "getrlimit64", "prlimit64", "sysconf", "getdtablesize"], None
    }
}
