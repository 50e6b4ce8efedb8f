//! What every system tells, in one form: processes, signals, locks, namespaces.

/// Whether the kernel knows IPv6 at all: `ipv6.disable=1` on Linux, or a kernel built without it,
/// and a socket cannot even be made (POSIX.1-2024, socket: `EAFNOSUPPORT`).
pub fn kernel_has_ipv6() -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let made = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), None);
    made.err() != Some(nix::errno::Errno::EAFNOSUPPORT)
}

/// A process id that five digits don't hold.
pub const HIGH_PROCESS_ID: i32 = 150_000;

/// What a check can have for itself, apart from the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Interfaces, addresses and their settings.
    Network,
    /// Mounted file systems.
    Mounts,
    /// Process ids.
    Processes,
    /// The same, with ids above [`HIGH_PROCESS_ID`].
    HighProcessIds,
}

impl Namespace {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Network, Self::Mounts, Self::Processes, Self::HighProcessIds];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Mounts => "mounts",
            Self::Processes => "processes",
            Self::HighProcessIds => "high-process-ids",
        }
    }

    /// It in words, as something that is needed.
    pub fn words(self) -> &'static str {
        match self {
            Self::Network => "a private network",
            Self::Mounts => "a private mount namespace",
            Self::Processes => "a private process namespace",
            Self::HighProcessIds => "process ids above 99999",
        }
    }
}

/// A directory that this process and its children find at another path.
#[derive(Debug, Clone)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "without mounts of one's own"))]
pub struct Cover {
    /// Where they find it; an absolute path, which need not exist.
    pub path: std::path::PathBuf,
    /// What they find.
    pub from: std::path::PathBuf,
    /// Whether they cannot write there.
    pub read_only: bool,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Running, ready to run or in an uninterruptible wait.
    Active,
    /// In an interruptible wait.
    Sleeping,
    /// Stopped by a signal.
    Stopped,
    /// Ended and not reaped.
    Zombie,
}

impl State {
    /// The word in evidence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Sleeping => "sleeping",
            Self::Stopped => "stopped",
            Self::Zombie => "zombie",
        }
    }
}

/// One process, as the system tells it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Parent's process id.
    pub parent: i32,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    /// Whether it has a controlling terminal.
    pub has_terminal: bool,
    /// What it is doing.
    pub state: State,
    /// Its name, as process listings show it.
    pub name: String,
}

impl std::fmt::Display for Process {
    /// `NAME PID (STATE)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.name, self.pid, self.state.word())
    }
}

/// What a process does with its signals. Bit `n - 1` of a set stands for signal `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalState {
    /// Ignored.
    pub ignored: u64,
    /// Caught by a handler.
    pub caught: u64,
    /// Blocked.
    pub blocked: u64,
    /// Pending.
    pub pending: u64,
}

/// A lock on a file that some process holds or waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `FLOCK` or `POSIX`.
    pub kind: String,
    /// Whether it is exclusive; none where the system does not tell.
    pub exclusive: Option<bool>,
    /// Whether the process is still waiting for it.
    pub waiting: bool,
    /// The process; 0 or below where the system does not tell.
    pub pid: i32,
    /// The file's inode.
    pub inode: u64,
}

impl Lock {
    /// "FLOCK exclusive"; the kind alone where the system tells no more.
    pub fn words(&self) -> String {
        let how = match self.exclusive {
            Some(true) => " exclusive",
            Some(false) => " shared",
            None => "",
        };
        format!("{}{how}", self.kind)
    }
}

/// What kind of object outlives the processes that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "they are looked for on Linux only")
)]
pub enum SharedKind {
    /// A segment of System V's shared memory.
    Memory,
    /// A set of its semaphores.
    Semaphores,
    /// One of its message queues.
    Queue,
    /// POSIX's shared memory, or a named semaphore.
    Posix,
}

/// An object that processes share by a name or a number, and that stays when they end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What it is.
    pub kind: SharedKind,
    /// Its number or name.
    pub id: String,
    /// The user whose it is.
    pub owner: u32,
    /// The processes that are known to have made or used it.
    pub users: Vec<i32>,
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            SharedKind::Memory => "shared memory segment",
            SharedKind::Semaphores => "semaphore set",
            SharedKind::Queue => "message queue",
            SharedKind::Posix => "POSIX shared memory",
        };
        write!(f, "{kind} {}", self.id)
    }
}

/// The signals of a set, by name.
pub fn signal_names(set: u64) -> String {
    use nix::sys::signal::Signal;
    let mut names = Vec::new();
    for number in 1..=64 {
        if set & (1 << (number - 1)) != 0 {
            match Signal::try_from(number) {
                Ok(signal) => names.push(signal.as_str().trim_start_matches("SIG").to_owned()),
                Err(_) => names.push(number.to_string()),
            }
        }
    }
    if names.is_empty() { "-".into() } else { names.join(",") }
}

/// The set that holds just these signals.
pub fn signal_set(signals: &[nix::sys::signal::Signal]) -> u64 {
    signals.iter().fold(0, |set, &signal| set | 1 << (signal as i32 - 1))
}

/// The processes among `table` that descend from `ancestor`, parents before children.
pub fn descendants(table: &[Process], ancestor: i32) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut ancestors = vec![ancestor];
    while let Some(parent) = ancestors.pop() {
        for process in table.iter().filter(|process| process.parent == parent) {
            if process.pid != parent && found.iter().all(|known| known.pid != process.pid) {
                ancestors.push(process.pid);
                found.push(process.clone());
            }
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}

/// What processes have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time.
    pub processor: std::time::Duration,
    /// How often they waited for something; none where that is not told.
    pub voluntary: Option<u64>,
    /// How often others were given the processor before that; none where that is not told.
    pub involuntary: Option<u64>,
}

impl Used {
    /// Nothing yet, where everything is told.
    pub fn none() -> Self {
        Self { voluntary: Some(0), involuntary: Some(0), ..Self::default() }
    }
}

impl std::ops::Add for Used {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b);
        Self {
            processor: self.processor + other.processor,
            voluntary: sum(self.voluntary, other.voluntary),
            involuntary: sum(self.involuntary, other.involuntary),
        }
    }
}

/// How busy the machine has been, in the ticks of one clock, all its processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// Those in which something was done.
    pub busy: u64,
    /// All of them.
    pub all: u64,
}

/// How many processors the machine runs on, whether or not this process may use them all.
pub fn processors_online() -> f64 {
    // nix has no name for it on every system.
    // SAFETY: takes an integer and returns one.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    (count as f64).max(1.0)
}
