//! Which processes a server has had, and what part they play: so that one that has gone is still told of.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use crate::platform::{Process, State};
use crate::subject::Model;

/// A process as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is for: `daemon`, `receiver`, `sender`, `worker`, or just `process`.
    pub(super) role: &'static str,
    /// Its parent when it was seen first.
    pub(super) parent: i32,
    /// When it was seen last, since the check began.
    pub(super) last: Duration,
}

/// Every process of the servers that was seen, by its id.
#[derive(Debug, Default)]
pub struct Register {
    seen: BTreeMap<i32, Seen>,
}

impl Register {
    /// Remembers `processes`, of servers with these `daemons`.
    pub(super) fn look(
        &mut self,
        processes: &[Process],
        daemons: &[i32],
        model: Model,
        now: Duration,
    ) {
        for process in processes.iter().filter(|process| process.state != State::Zombie) {
            let role = role_of(process, processes, daemons, model);
            let seen = self.seen.entry(process.pid).or_insert(Seen {
                role,
                parent: process.parent,
                last: now,
            });
            seen.last = now;
            // What plays a part may lose its parent, by which it was known.
            if seen.role == "process" {
                (seen.role, seen.parent) = (role, process.parent);
            }
        }
    }

    /// What is known of `pid`.
    pub(super) fn get(&self, pid: i32) -> Option<&Seen> {
        self.seen.get(&pid)
    }

    /// How many there were.
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &Seen)> {
        self.seen.iter().map(|(pid, seen)| (*pid, seen))
    }

    /// `receiver 4711`, for a sentence.
    pub(super) fn name(&self, pid: i32) -> String {
        format!("{} {pid}", self.get(pid).map_or("process", |seen| seen.role))
    }
}

fn role_of(process: &Process, all: &[Process], daemons: &[i32], model: Model) -> &'static str {
    let parent_of = |pid: i32| all.iter().find(|other| other.pid == pid).map(|other| other.parent);
    let is_daemon = |pid: i32| daemons.contains(&pid);
    if is_daemon(process.pid) {
        return "daemon";
    }
    match model {
        Model::Clusters if is_daemon(process.parent) => "receiver",
        Model::Clusters if parent_of(process.parent).is_some_and(is_daemon) => "sender",
        Model::Workers if is_daemon(process.parent) => "worker",
        Model::PerClient if is_daemon(process.parent) => "child",
        _ => "process",
    }
}

/// Whether a server's `line` tells that a process was ended by something.
pub fn tells_of_an_end(line: &str) -> bool {
    const SIGNALLED: [&str; 5] =
        ["killed by", "terminated by signal", "exited on signal", "was sent SIG", "died of SIG"];
    const EXITED: [&str; 4] =
        ["exited with status ", "ended with status ", "exit status ", "exit code "];
    let failed = |words: &str| {
        line.split_once(words)
            .is_some_and(|(_, status)| status.starts_with(|c: char| ('1'..='9').contains(&c)))
    };
    SIGNALLED.iter().any(|words| line.contains(words)) || EXITED.iter().any(|words| failed(words))
}

/// Whether a server's `line` tells that it could not do something: in the system's words, or as an
/// exception of its language (`ValueError: …`, `java.net.BindException: …`, `Error: …`).
pub fn tells_of_a_failure(line: &str) -> bool {
    const ERRNOS: [Errno; 12] = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::EAGAIN,
        Errno::ENOSPC,
        Errno::EFBIG,
        Errno::EACCES,
        Errno::EPERM,
        Errno::ENOLCK,
        Errno::ENOSYS,
        Errno::EINVAL,
        Errno::EINTR,
    ];
    let lower = line.to_lowercase();
    let names_exception =
        |word: &str| line.split_once(word).is_some_and(|(before, _)| !before.ends_with(' '));
    ERRNOS.iter().any(|errno| lower.contains(&errno.desc().to_lowercase()))
        || ["Error: ", "Exception: "].into_iter().any(names_exception)
}

/// The numbers that stand in `line`; an address is none.
pub fn numbers(line: &str) -> impl Iterator<Item = i32> {
    line.split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|number| number.trim_end_matches('.').parse().ok())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        let name = "chatd".to_owned();
        let state = State::Sleeping;
        Process { pid, parent, group: pid, session: 1, has_terminal: false, state, name }
    }

    #[test]
    fn an_orphan_keeps_its_part() {
        let mut register = Register::default();
        let all = [process(10, 1), process(11, 10), process(12, 11)];
        register.look(&all, &[10], Model::Clusters, Duration::ZERO);
        assert_eq!(register.name(11), "receiver 11");
        register.look(&[process(12, 1)], &[10], Model::Clusters, Duration::from_secs(1));
        assert_eq!(register.name(12), "sender 12");
        assert_eq!(register.get(12).unwrap().parent, 11);
        assert_eq!(register.name(13), "process 13");
    }

    #[rstest]
    #[case("accept: Too many open files", true)]
    #[case("ValueError: filedescriptor out of range in select()", true)]
    #[case("01:02 ERROR KeyError: 'port'", true)]
    #[case("Caused by: java.net.BindException: Address already in use", true)]
    #[case("Error: listen EADDRINUSE: address already in use 127.0.0.1:3", true)]
    #[case("no Error: all is well", false)]
    #[case("listening on 127.0.0.1:3", false)]
    fn servers_tell_of_failures(#[case] line: &str, #[case] told: bool) {
        assert_eq!(tells_of_a_failure(line), told);
    }

    #[rstest]
    #[case("chatd[12]: receiver 13 was killed by SIGSEGV", true)]
    #[case("worker 13 exited with status 3", true)]
    #[case("chatd[12]: receiver 13 ended with status 3", true)]
    #[case("worker 13 exited with status 0", false)]
    #[case("listening on 127.0.0.1:3", false)]
    fn servers_tell_of_ends(#[case] line: &str, #[case] told: bool) {
        assert_eq!(tells_of_an_end(line), told);
        assert!(!numbers(line).any(|number| number == 1 || number == 127));
    }
}
