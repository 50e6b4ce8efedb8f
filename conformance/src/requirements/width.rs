//! width/ : what 16, 31 or 32 bits don't hold, as 32-bit targets meet it first.
//!
//! One file however long, as each area's: the code of an id is found by its area.

pub(super) mod surroundings;

use std::fs::{File, FileTimes, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use forkproof_host::Elf;
use nix::errno::Errno;
use nix::sys::resource::{
    RLIM_INFINITY, Resource, UsageWho, getrlimit, getrusage, rlim_t, setrlimit,
};
use nix::sys::time::TimeValLike;

use super::situations::{as_user, both_are_served, cluster_is_gone, lines};
use crate::harness::{Check, Client, Cluster, Options, Server};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

const LARGE_FILES: &str = "POSIX.1-2024, open: [EOVERFLOW]; write: [EFBIG] at the offset maximum of the open file description";
const LARGE_FILES_FIX: &str = "build with _FILE_OFFSET_BITS=64 (or use the *64 calls), and keep offsets in off_t or 64 bits throughout";

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "width/binary-width",
        title: "The widths of the server under test: class, byte order, pointers, off_t and time_t, as far as its file tells",
        level: Level::May,
        clause: "System V ABI, ELF header (EI_CLASS, EI_DATA, e_machine); glibc manual, Feature Test Macros",
        trap: "a 64-bit program tested on a 64-bit system says nothing about 32-bit targets",
        fix: "run the suite on a 32-bit build of the server as well",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::None("it is informative and cannot fail"),
        exclusive: false,
        check: binary_width,
    },
    Requirement {
        id: "width/log-past-2-gib",
        title: "A log of more than 2 GiB is opened, replayed from its end, appended to and followed",
        level: Level::Must,
        clause: LARGE_FILES,
        trap: "a 32-bit program without large-file support: open, stat or write fail with EOVERFLOW or EFBIG once the log has 2^31 bytes; or its size is kept in an int and goes negative; or the log is mapped whole",
        fix: LARGE_FILES_FIX,
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog],
        controls: Controls::By(&[by("no-large-files", "large-file support")]),
        exclusive: false,
        check: log_past_2_gib,
    },
    Requirement {
        id: "width/log-past-4-gib",
        title: "A log that grows past 4 GiB is replayed, appended to and followed on either side",
        level: Level::Must,
        clause: LARGE_FILES,
        trap: "positions cut to 32 bits begin at 0 again: the server reads the start of the log instead of its end",
        fix: LARGE_FILES_FIX,
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog],
        controls: Controls::By(&[
            by("offset-wraps", "after 3"),
            by("no-large-files", "large-file support"),
        ]),
        exclusive: false,
        check: log_past_4_gib,
    },
    Requirement {
        id: "width/line-across-2-gib",
        title: "A line that lies across the 2 GiB boundary arrives whole, and the lines before and after it",
        level: Level::Must,
        clause: LARGE_FILES,
        trap: "the part below the boundary is written, the rest fails with EFBIG or SIGXFSZ; or pread is given a negative offset",
        fix: LARGE_FILES_FIX,
        references: &[],
        needs: &[],
        claims: &[Claim::Replay, Claim::ChatLog],
        controls: Controls::By(&[by("no-large-files", "large-file support")]),
        exclusive: false,
        check: line_across_2_gib,
    },
    Requirement {
        id: "width/file-dated-past-2038",
        title: "A log, a key file and a directory that are dated past 2038 are used like others",
        level: Level::Must,
        clause: "POSIX.1-2024, stat: [EOVERFLOW]; sys/types.h: time_t shall be an integer type of at least 64 bits",
        trap: "stat with a 32-bit time_t fails with EOVERFLOW on the file, although nobody asked for its time",
        fix: "build with _TIME_BITS=64 (or use the 64-bit calls)",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog],
        controls: Controls::By(&[by("time32", "time_t")]),
        exclusive: false,
        check: file_dated_past_2038,
    },
    Requirement {
        id: "width/descriptor-above-1024",
        title: "Clients whose descriptors are above 1024 are served like others",
        level: Level::Must,
        clause: "POSIX.1-2024, FD_SET: undefined for descriptors from FD_SETSIZE on",
        trap: "select: FD_SET with a descriptor of 1024 or more writes beyond the fd_set, on the stack as a rule (socat ends with \"buffer overflow detected\")",
        fix: "use poll or ppoll",
        references: &[],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[],
        controls: Controls::By(&[by("fd-setsize", "is let in")]),
        exclusive: false,
        check: descriptor_above_1024,
    },
    Requirement {
        id: "width/pid-above-99999",
        title: "Process ids above 99999 work: pid file, wake-ups, two generations of daemons, termination",
        level: Level::Must,
        clause: "POSIX.1-2024, sys/types.h: pid_t is a signed integer type; proc_sys_kernel(5): pid_max is up to 2^22",
        trap: "a pid in a short, in five digits of a buffer or of a fixed-width field: another process is signalled, or none",
        fix: "use pid_t throughout, and leave the length of its digits open",
        references: &[],
        needs: &[Need::ProcessTable, Need::HighProcessIds],
        claims: &[],
        controls: Controls::By(&[by("five-digit-pids", "is let in and hears")]),
        exclusive: false,
        check: pid_above_99999,
    },
    Requirement {
        id: "width/uid-above-65535",
        title: "The server works for a user whose id 16 bits don't hold",
        level: Level::Must,
        clause: "POSIX.1-2024, sys/types.h: uid_t; user_namespaces(7); chown(2): the original calls took 16-bit ids",
        trap: "a uid in 16 bits: 65536 looks like root, and others like -2 or someone else's; ownership checks pass or fail at random",
        fix: "use uid_t and gid_t throughout; on 32-bit Linux the *32 calls, as every libc of today does",
        references: &[],
        needs: &[Need::ProcessTable, Need::Credentials],
        claims: &[],
        controls: Controls::By(&[by("uid16", "root")]),
        exclusive: false,
        check: uid_above_65535,
    },
    Requirement {
        id: "width/address-space-of-256-mib",
        title: "In 256 MiB of address space a burst of 64 MiB passes, at the end of a log that is larger than that",
        level: Level::Must,
        clause: "POSIX.1-2024, setrlimit: RLIMIT_AS, [ENOMEM]",
        trap: "the log mapped or read whole, a burst collected before it is written, a buffer sized for the worst case: what 64 bits forgive ends the process on 32",
        fix: "read and write in pieces of a fixed size",
        references: &[],
        needs: &[],
        claims: &[Claim::Replay, Claim::ChatLog],
        controls: Controls::By(&[by("maps-whole-files", "allocate memory")]),
        exclusive: false,
        check: address_space_of_256_mib,
    },
    Requirement {
        id: "width/rlim-infinity",
        title: "With resource limits infinite or as high as they can be the server starts, serves, and does no more work than usual",
        level: Level::Must,
        clause: "POSIX.1-2024, getrlimit: RLIM_INFINITY; sysconf: OPEN_MAX may be any number, or -1 for none",
        trap: "a loop of close up to RLIMIT_NOFILE or sysconf(_SC_OPEN_MAX), at the start or in each child: a million calls, or 2^30 where a container says so; or RLIM_INFINITY in an int is -1",
        fix: "close what is one's own by name; use closefrom or close_range where all must go",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[],
        controls: Controls::By(&[by(
            "visits-all-descriptors",
            "where that is forbidden|descriptors allowed they take",
        )]),
        exclusive: false,
        check: rlim_infinity,
    },
    Requirement {
        id: "width/inode-above-32-bit",
        title: "A log whose inode number takes 64 bits is used, and followed through rotation",
        level: Level::Should,
        clause: "POSIX.1-2024, stat: [EOVERFLOW], for st_ino too; overlayfs, xino; XFS, inode64",
        trap: "a 32-bit program without large-file support: stat fails with EOVERFLOW; or inodes compared as 32-bit numbers take two files for one",
        fix: LARGE_FILES_FIX,
        references: &[],
        needs: &[Need::MountNamespace],
        claims: &[Claim::Replay, Claim::ChatLog],
        controls: Controls::By(&[by("ino32", "Value too large")]),
        exclusive: false,
        check: inode_above_32_bit,
    },
];

const GIB: u64 = 1 << 30;

fn binary_width(check: &mut Check) -> Outcome {
    let program = &check.target().program;
    let bytes = std::fs::read(program).or_error(program.display())?;
    let Some(file) = Elf::parse(&bytes) else {
        check.remark(format!("{} is no ELF file", program.display()));
        return Ok(());
    };
    let bits = u32::from(file.bits);
    let imports = Elf::imports(&bytes);
    check.remark(format!(
        "ELF{bits}, {}, {} endian, {} linked, pointers of {bits} bits, {}",
        file.machine,
        if file.little_endian { "little" } else { "big" },
        if imports.is_empty() { "statically" } else { "dynamically" },
        // The reference server is in this very program, which knows its own types.
        if std::env::current_exe().is_ok_and(|own| own == *program) {
            format!(
                "off_t of {} and time_t of {} bits by default; files by 64-bit calls",
                libc::off_t::BITS,
                8 * size_of_time()
            )
        } else {
            widths_by_imports(bits, &imports)
        }
    ));
    Ok(())
}

/// Of `time_t`, of which some libc bindings say that it will change.
fn size_of_time() -> usize {
    // SAFETY: all-zero bytes are a valid timespec.
    let time: libc::timespec = unsafe { std::mem::zeroed() };
    size_of_val(&time.tv_sec)
}

/// What the names of the functions that a program imports tell about its types. glibc has a
/// second name for each that takes the wider type: `open64`, `__stat64_time64`.
fn widths_by_imports(bits: u32, imports: &[&str]) -> String {
    if bits == 64 {
        return "off_t and time_t of 64 bits".into();
    }
    let of_glibc = imports.contains(&"__libc_start_main");
    if !of_glibc {
        return "off_t and time_t cannot be told".into();
    }
    let any = |end: &str| imports.iter().any(|name| name.ends_with(end));
    let files = if any("64") { "files by 64-bit calls" } else { "off_t of 32 bits" };
    let times = if any("time64") { "64" } else { "32" };
    format!("{files}, time_t of {times} bits")
}

/// Makes a log of `size` bytes that takes almost no room: a hole, and `tail` at its end.
fn sparse_log(path: &Path, size: u64, tail: &[u8]) -> Outcome {
    let (allowed, _) = getrlimit(Resource::RLIMIT_FSIZE).or_error("RLIMIT_FSIZE")?;
    // Beyond the limit SIGXFSZ would end this check.
    if allowed != RLIM_INFINITY && wide(allowed) <= size + GIB {
        return Err(Stop::NotRun(format!("needs files of {size} bytes (RLIMIT_FSIZE)")));
    }
    let file = File::create_new(path).or_error(path.display())?;
    let begin = size - tail.len() as u64;
    let refused =
        |error: std::io::Error| Stop::NotRun(format!("needs a file of {size} bytes: {error}"));
    file.set_len(begin).map_err(refused)?;
    file.write_all_at(b"\n", begin - 1).map_err(refused)?;
    file.write_all_at(tail, begin).map_err(refused)?;
    let used = file.metadata().or_error(path.display())?.blocks() * 512;
    if used > GIB / 16 {
        return Err(Stop::NotRun(format!("needs a file system with holes: a file takes {used}")));
    }
    Ok(())
}

/// Says in so many words what an error means that only a narrow build can get.
fn explained(outcome: Outcome) -> Outcome {
    outcome.map_err(|stop| match stop {
        Stop::Fail(mut failure) => {
            for (name, errno) in [("EOVERFLOW", Errno::EOVERFLOW), ("EFBIG", Errno::EFBIG)] {
                if failure.actual.contains(errno.desc()) {
                    failure.actual += &format!(" ({name}: no large-file support)");
                }
            }
            Stop::Fail(failure)
        }
        other => other,
    })
}

/// With a log of `size` bytes: two clients hear its last lines, then each other; what is said is
/// at its end; and who comes late hears that as the last lines.
fn serves_at_size(check: &mut Check, size: u64) -> Outcome {
    let log = check.log_path()?;
    let replay = usize::from(check.target().manifest.wire.replay);
    let history = lines("before", replay + 3, 60);
    sparse_log(&log, size, &history.concat())?;
    let server = check.server()?;
    let outcome = (|| {
        let mut clients = enter_both(&server, &history[3..].concat())?;
        let size = std::fs::metadata(server.log()).or_error(server.log().display())?.len();
        let said = lines("after", replay + 3, 60);
        for (number, line) in said.iter().enumerate() {
            clients[number % 2].send(line)?;
            for client in &mut clients {
                client.hears_bytes(line)?;
            }
        }
        let appended = server.log_from(size)?;
        ensure(appended == said.concat(), format!("after byte {size} the log goes on"), || {
            format!("there is {}", crate::harness::excerpt(&appended))
        })?;
        match replay {
            0 => server.join("late").map(drop),
            _ => server.enter("late")?.hears_bytes(&said[3..].concat()),
        }
    })();
    with_output(&server, outcome)
}

/// Two clients that are in: they have heard `replayed`, or where nothing is replayed themselves.
fn enter_both(server: &Server, replayed: &[u8]) -> Step<[Client; 2]> {
    if replayed.is_empty() {
        let mut both = [server.join("alice")?, server.join("bob")?];
        both[0].barrier()?;
        both[1].barrier()?;
        return Ok(both);
    }
    let mut both = [server.enter("alice")?, server.enter("bob")?];
    for client in &mut both {
        client.hears_bytes(replayed)?;
    }
    Ok(both)
}

/// Adds what the server said to a failure: the reason stands there.
fn with_output(server: &Server, outcome: Outcome) -> Outcome {
    outcome.map_err(|stop| match stop {
        Stop::Fail(mut failure) => {
            let output = server.output();
            let error = output.lines().rev().find(|line| line.contains("log: "));
            if let Some(error) = error {
                failure.actual += &format!("; the server says: {error}");
            }
            Stop::Fail(failure)
        }
        other => other,
    })
}

fn log_past_2_gib(check: &mut Check) -> Outcome {
    check.act();
    explained(serves_at_size(check, 2 * GIB + 5_000))
}

fn log_past_4_gib(check: &mut Check) -> Outcome {
    check.act();
    // It begins below and ends above.
    explained(serves_at_size(check, 4 * GIB - 150))
}

fn line_across_2_gib(check: &mut Check) -> Outcome {
    explained(line_across(check, 2 * GIB))
}

fn line_across(check: &mut Check, boundary: u64) -> Outcome {
    let log = check.log_path()?;
    let history = lines("before", 1, 60).concat();
    let begin = boundary - 1_000;
    sparse_log(&log, begin, &history)?;
    let server = check.server_with(Options::new().replay(1))?;
    let outcome = (|| {
        let mut alice = server.enter("alice")?;
        let mut bob = server.enter("bob")?;
        for client in [&mut alice, &mut bob] {
            client.hears_bytes(&history)?;
        }
        let said = [
            lines("before it", 1, 900).concat(),
            lines("across it", 1, 300).concat(),
            lines("after it", 1, 100).concat(),
        ];
        for line in &said {
            alice.send(line)?;
            for client in [&mut alice, &mut bob] {
                client.hears_bytes(line)?;
            }
            // A newcomer's sender reads it anew.
            server.enter("late")?.hears_bytes(line)?;
        }
        let appended = server.log_from(begin)?;
        ensure(appended == said.concat(), "the log holds the lines one after the other", || {
            format!("the log holds {}", crate::harness::excerpt(&appended))
        })
    })();
    with_output(&server, outcome)
}

fn file_dated_past_2038(check: &mut Check) -> Outcome {
    check.act();
    let dir = check.dir().to_owned();
    let (log, key) = (check.log_path()?, check.key_path()?);
    check.lay(&log, b"from the future\n")?;
    let with_key = check.has(Claim::Key);
    if with_key {
        std::fs::write(&key, vec![b'k'; check.target().manifest.key_length()])
            .or_error(key.display())?;
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).or_error(key.display())?;
    }
    let replays = check.has(Claim::Replay);
    let outcome = (|| {
        // Adding files to a directory dates it anew, so it is the log's own that is dated.
        date_past_2038(&log)?;
        if with_key {
            date_past_2038(&key)?;
        }
        let server = check.server()?;
        let outcome = (|| {
            let replayed: &[u8] = if replays { b"from the future\n" } else { b"" };
            let [mut alice, mut bob] = enter_both(&server, replayed)?;
            // An append brings the log back to the present.
            for number in 0..3 {
                date_past_2038(&log)?;
                date_past_2038(&dir)?;
                let line = format!("said to it {number}");
                alice.say(&line)?;
                alice.hears(&line)?;
                bob.hears(&line)?;
            }
            date_past_2038(&log)?;
            server.join("late").map(drop)
        })();
        with_output(&server, outcome)
    })();
    outcome.map_err(|stop| match stop {
        Stop::Fail(mut failure) if failure.actual.contains(Errno::EOVERFLOW.desc()) => {
            failure.actual += " (EOVERFLOW: a time_t of 32 bits)";
            Stop::Fail(failure)
        }
        other => other,
    })
}

fn date_past_2038(path: &Path) -> Outcome {
    // A day after the last second that 31 bits hold.
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs((1 << 31) + 24 * 60 * 60);
    let missing = |why: String| Stop::NotRun(format!("needs files dated past 2038: {why}"));
    let file = File::open(path).or_error(path.display())?;
    file.set_times(FileTimes::new().set_accessed(date).set_modified(date))
        .map_err(|error| missing(error.to_string()))?;
    let found = file.metadata().and_then(|metadata| metadata.modified());
    match found {
        Ok(found) if found == date => Ok(()),
        Ok(_) => Err(missing("this file system keeps another date".into())),
        Err(error) => Err(missing(error.to_string())),
    }
}

fn descriptor_above_1024(check: &mut Check) -> Outcome {
    /// The largest FD_SETSIZE there is by default: Linux and FreeBSD, 1024.
    const LAST: i32 = 1100;
    let server = check.server_with(Options::new().descriptors_above(LAST))?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    for &pid in [server.daemon()].iter().chain(cluster.pids()) {
        let sockets = server.ask(pid, platform::socket_descriptors)?;
        if let Some(low) = sockets.iter().find(|&&descriptor| descriptor <= LAST) {
            return Err(Stop::NotRun(format!(
                "the server closes what it inherits, so its own descriptors are low ({low})"
            )));
        }
    }
    alice.barrier()?;
    for number in 0..3 {
        let line = format!("over a high descriptor {number}");
        both_are_served(check, &mut bob, &mut alice, &line)?;
    }
    drop(alice);
    bob.barrier()
}

fn pid_above_99999(check: &mut Check) -> Outcome {
    let chats_on = check.has(Claim::Daemon) && check.has(Claim::Generations);
    let body = if chats_on { two_generations } else { high_process_ids };
    check.in_private_processes(platform::HIGH_PROCESS_ID, body)
}

/// A server in each way that it can be started, and two clients.
fn high_process_ids(check: &mut Check) -> Outcome {
    for options in check.launch_modes() {
        let server = check.server_with(options)?;
        let (mut alice, cluster) = server.join_with_cluster("alice")?;
        for &pid in [server.daemon()].iter().chain(cluster.pids()) {
            ensure(pid > 99_999, "the process ids are above 99999", || pid.to_string())?;
        }
        let mut bob = server.join("bob")?;
        both_are_served(check, &mut alice, &mut bob, "among high ids")?;
        leaves(check, &server, alice, &cluster)?;
        // With a client in: it is to find its process by its id.
        server.end()?;
    }
    Ok(())
}

/// Lets a client go, whose processes end with it.
fn leaves(check: &Check, server: &Server, client: Client, cluster: &Cluster) -> Outcome {
    drop(client);
    if !check.has(Claim::ProcessPerClient) {
        return Ok(());
    }
    cluster_is_gone(check, server, cluster, "it closed the connection")
}

/// Two daemons one after the other, whose clients chat.
fn two_generations(check: &mut Check) -> Outcome {
    let old = check.server_with(Options::new().daemon())?;
    ensure(old.process(old.daemon())?.is_some(), "the pid file names the daemon", || {
        format!("it names {}, and no process of the server has that id", old.daemon())
    })?;
    let (mut alice, cluster) = old.join_with_cluster("alice")?;
    for &pid in [old.daemon()].iter().chain(cluster.pids()) {
        ensure(pid > 99_999, "the process ids are above 99999", || pid.to_string())?;
    }
    old.kill_daemon()?;
    let new = check.server_with(Options::new().daemon())?;
    let mut bob = new.join("bob")?;
    alice.barrier()?;
    bob.barrier()?;
    for number in 0..3 {
        for speaker in 0..2 {
            let line = format!("{number} from {speaker}");
            let both = [&mut alice, &mut bob];
            both[speaker].say(&line)?;
            for client in both {
                client.hears(&line)?;
            }
        }
    }
    leaves(check, &old, alice, &cluster)?;
    // With a client in: it is to find its process by its id.
    new.end()
}

fn uid_above_65535(check: &mut Check) -> Outcome {
    /// Its lower 16 bits are root's.
    const HIGH: u32 = 1 << 16;
    let own = nix::unistd::geteuid();
    let mut options = Options::new();
    let mut user = HIGH;
    if own.is_root() {
        options = as_user(check, options, HIGH)?;
    } else if own.as_raw() > u32::from(u16::MAX) {
        user = own.as_raw();
    } else {
        platform::become_user_inside(HIGH).map_err(|why| {
            Stop::NotRun(format!("needs root, such a user, or a user namespace: {why}"))
        })?;
    }
    let server = check.server_with(options)?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    for &pid in [server.daemon()].iter().chain(cluster.pids()) {
        let (ids, _) = server.ask(pid, platform::credentials)?;
        ensure(ids == [user; 3], format!("process {pid} runs as user {user}"), || {
            format!("the ids of process {pid} are {}, {} and {}", ids[0], ids[1], ids[2])
        })?;
    }
    if check.has(Claim::ChatLog) {
        let owner = std::fs::metadata(server.log()).or_error("chat log")?.uid();
        ensure(owner == user, format!("the log belongs to user {user}"), || {
            format!("the log belongs to user {owner}")
        })?;
        ensure(
            !server.output().contains("root"),
            "the server does not take its user for root",
            || format!("the server says: {}", server.output().trim().replace('\n', " / ")),
        )?;
    }
    both_are_served(check, &mut bob, &mut alice, "from a high user")
}

fn address_space_of_256_mib(check: &mut Check) -> Outcome {
    const MIB: usize = 1 << 20;
    const PIECES: usize = 64;
    let history = lines("history", 3 + usize::from(check.target().manifest.wire.replay), 60);
    sparse_log(&check.log_path()?, 320 * MIB as u64, &history.concat())?;
    let server =
        check.server_with(Options::new().limit(platform::LIMIT_ADDRESS_SPACE, 256 * MIB as u64))?;
    let outcome = (|| {
        let mut alice = server.enter("alice")?;
        let mut bob = server.enter("bob")?;
        for client in [&mut alice, &mut bob] {
            client.hears_bytes(&history[3..].concat())?;
        }
        // Alice says it without a pause; bob begins to read when she has heard all of it.
        let piece = lines("burst", 64, 16 * 1024).concat();
        let (mut said, mut heard) = (0, 0);
        while heard < PIECES {
            while said < PIECES && said < heard + 4 {
                alice.queue(&piece);
                said += 1;
            }
            hears_piece(&mut alice, &piece)?;
            heard += 1;
        }
        for _ in 0..PIECES {
            hears_piece(&mut bob, &piece)?;
        }
        alice.say("after the burst")?;
        alice.hears("after the burst")?;
        bob.hears("after the burst")
    })();
    with_output(&server, outcome)
}

/// Hears `piece` and lets go of it, so that the check itself needs little memory.
fn hears_piece(client: &mut Client, piece: &[u8]) -> Outcome {
    client.hears_bytes(piece)?;
    if client.unread().is_empty() {
        client.forget();
    }
    Ok(())
}

fn rlim_infinity(check: &mut Check) -> Outcome {
    let mut infinite = Options::new();
    for resource in [
        platform::LIMIT_ADDRESS_SPACE,
        Resource::RLIMIT_CPU,
        Resource::RLIMIT_DATA,
        Resource::RLIMIT_FSIZE,
        Resource::RLIMIT_STACK,
    ] {
        infinite = infinite.limit(resource, highest(resource, wide(RLIM_INFINITY))?);
    }
    // Linux refuses infinity for these.
    let most = platform::most_descriptors().map_err(Stop::NotRun)?;
    let descriptors = highest(Resource::RLIMIT_NOFILE, most)?;
    infinite = infinite.limit(Resource::RLIMIT_NOFILE, descriptors);

    let few = Options::new().limit(Resource::RLIMIT_NOFILE, 1024);
    let mut usual = cost_of_a_client(check, few.clone())?;
    let mut spent = cost_of_a_client(check, infinite.clone())?;
    let loop_cost = cost_of_all_descriptors(descriptors)?;
    // What comes by chance does not come each time, and may come with few descriptors, too.
    for _ in 0..3 {
        if spent >= usual + loop_cost / 2 {
            usual = usual.max(cost_of_a_client(check, few.clone())?);
            spent = spent.min(cost_of_a_client(check, infinite.clone())?);
        }
    }
    check.note(format!(
        "a start and a client take {usual:.1?}, with {descriptors} descriptors {spent:.1?}; a look \
         at each of them {loop_cost:.1?}"
    ));
    // A cost that can be told from chance.
    let visible = loop_cost >= Duration::from_millis(30);
    ensure(
        !visible || spent < usual + loop_cost / 2,
        "a start and a client take the same work whatever the limits are",
        || {
            format!(
                "with {descriptors} descriptors allowed they take {spent:.1?} of processor time \
                 instead of {usual:.1?}; a loop over all of them takes {loop_cost:.1?}"
            )
        },
    )?;
    let filter = platform::descriptor_filter_missing();
    let (from, to) = (clamped(descriptors / 2), clamped(descriptors));
    if filter.is_some() || from < 1024 {
        if !visible {
            check.remark("whether the server looks at each descriptor cannot be told here");
        }
        return Ok(());
    }
    // What SIGSYS may end leaves no core.
    let forbidding = infinite.forbidding_descriptors(from, to).limit(Resource::RLIMIT_CORE, 0);
    match cost_of_a_client(check, forbidding) {
        Err(Stop::Fail(failure)) => fail(
            format!(
                "with {descriptors} descriptors allowed, no process of the server goes through all \
                 of them"
            ),
            format!("where that is forbidden (SIGSYS), {}", failure.actual),
        ),
        other => other.map(drop),
    }
}

/// A limit in 64 bits: systems have it in 32, and FreeBSD signed.
#[allow(clippy::unnecessary_cast)]
fn wide(limit: rlim_t) -> u64 {
    limit as u64
}

/// The highest limit that can be had, up to `wanted`.
fn highest(resource: Resource, wanted: u64) -> Step<u64> {
    let (soft, hard) = getrlimit(resource).or_error(format_args!("{resource:?}"))?;
    // Only with the right to; not every root has it.
    let raised = setrlimit(resource, soft, wanted as _).is_ok();
    Ok(if raised { wanted } else { wide(hard) })
}

/// As the argument of a system call that takes an int.
fn clamped(descriptor: u64) -> u32 {
    u32::try_from(descriptor).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

/// Processor time of a server's start and of serving one client.
fn cost_of_a_client(check: &mut Check, options: Options) -> Step<Duration> {
    let server = check.server_with(options)?;
    let _alice = server.join("alice")?;
    let used = server.processor_time()?;
    server.end()?;
    Ok(used)
}

/// Processor time of the least that a loop over `count` descriptors can do.
fn cost_of_all_descriptors(count: u64) -> Step<Duration> {
    let used = || -> Step<i64> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).or_error("getrusage")?;
        Ok((usage.user_time() + usage.system_time()).num_microseconds())
    };
    let before = used()?;
    for descriptor in 0..i32::try_from(count).unwrap_or(i32::MAX).min(1 << 20) {
        // SAFETY: F_GETFD only looks.
        unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    }
    Ok(Duration::from_micros((used()? - before).unsigned_abs()))
}

fn inode_above_32_bit(check: &mut Check) -> Outcome {
    platform::enter_private_mounts().map_err(Stop::NotRun)?;
    let dir = check.dir().join("overlay");
    let history = lines("before", 3 + usize::from(check.target().manifest.wire.replay), 60);
    platform::mount_high_inodes(&dir, "chat.log", &history.concat()).map_err(Stop::NotRun)?;
    let log = dir.join("chat.log");
    let inode = std::fs::metadata(&log).or_error(log.display())?.ino();
    if inode <= u64::from(u32::MAX) {
        return Err(Stop::NotRun(format!("needs a file with a high inode; this one has {inode}")));
    }
    check.note(format!("the log's inode is {inode}"));
    let server = check.server_with(Options::new().log(&log))?;
    let outcome = (|| {
        let mut alice = server.enter("alice")?;
        let mut bob = server.enter("bob")?;
        for client in [&mut alice, &mut bob] {
            client.hears_bytes(&history[3..].concat())?;
        }
        let rounds = if check.target().has(Claim::LogRotation) { 2 } else { 1 };
        for round in 0..rounds {
            let line = format!("said to a high inode, or after it, {round}");
            alice.say(&line)?;
            alice.hears(&line)?;
            bob.hears(&line)?;
            let content = server.log_content()?;
            ensure(
                content.ends_with(crate::harness::line_of(&line).as_slice()),
                "what is said is at the end of the log",
                || format!("the log ends otherwise in round {round}"),
            )?;
            if round + 1 < rounds {
                std::fs::rename(&log, log.with_extension("log.1")).or_error("rename")?;
                OpenOptions::new()
                    .create_new(true)
                    .append(true)
                    .open(&log)
                    .map(drop)
                    .or_error("new log")?;
            }
        }
        Ok(())
    })();
    explained(with_output(&server, outcome))
}
