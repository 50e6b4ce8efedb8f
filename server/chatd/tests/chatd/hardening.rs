//! What is left for somebody who takes over a process of the server.

use std::os::unix::fs::chown;

use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use tempfile::TempDir;

use super::common::{KEY, private};
#[cfg(target_os = "linux")]
use super::world::child_of;
use super::world::{chatd, dir, in_dir, join, serve_on_loopback};

/// The key files that are refused whatever their mode.
#[rstest]
#[case::nuls([0; 128], None, "128 NUL bytes: anybody could guess that key")]
#[case::someone_elses(KEY, Some(65534), "belongs to user 65534, who can read and change it")]
fn such_a_key_is_refused(
    dir: TempDir,
    #[case] key: [u8; 128],
    #[case] owner: Option<u32>,
    #[case] words: &str,
) {
    private(&in_dir(&dir, "key"), &key);
    if owner.is_some() && chown(in_dir(&dir, "key"), owner, None).is_err() {
        eprintln!("not tested, it takes root");
        return;
    }
    chatd()
        .arg("--allow-root")
        .current_dir(dir.path())
        .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
        .timeout(std::time::Duration::from_secs(3))
        .assert()
        .code(2)
        .stderr(contains("key: ").and(contains(words)));
}

/// Started as root for another user, the server may read that user's key.
#[rstest]
fn the_key_of_the_user_to_become_is_taken(dir: TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let user = nix::unistd::User::from_name("nobody").ok().flatten();
    let Some(user) = user.filter(|_| nix::unistd::geteuid().is_root()) else {
        eprintln!("not tested, it takes root and a user `nobody`");
        return;
    };
    let id = Some(user.uid.as_raw());
    chown(in_dir(&dir, "key"), id, None).unwrap();
    chown(dir.path(), id, None).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let (_server, address) = serve_on_loopback(dir.path(), &["--user", "nobody"]);
    join(&address);
}

#[cfg(target_os = "linux")]
#[rstest]
fn processes_of_clients_gain_no_rights_and_leave_no_cores(dir: TempDir) {
    let (server, address) = serve_on_loopback(dir.path(), &[]);
    let _alice = join(&address);
    let receiver = child_of(server.0.id());
    for process in [receiver, child_of(receiver)] {
        let proc = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap();
        assert!(proc("status").contains("NoNewPrivs:\t1\n"), "{}", proc("status"));
        let limits = proc("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(values, ["0", "0"], "{limits}");
    }
}

/// A client is let in, and from then on nothing in its processes is the key.
#[cfg(target_os = "linux")]
#[rstest]
fn processes_of_clients_do_not_keep_the_key(dir: TempDir) {
    let (server, address) = serve_on_loopback(dir.path(), &[]);
    let _alice = join(&address);
    let receiver = child_of(server.0.id());
    let holds_key = |process: u32| {
        memory_of(process).map(|memory| {
            memory.iter().any(|piece| piece.windows(KEY.len()).any(|window| window == KEY))
        })
    };
    match holds_key(server.0.id()) {
        Some(found) => assert!(found, "the daemon needs it: the search finds nothing"),
        None => return eprintln!("not tested, no look into another process's memory here"),
    }
    assert_eq!(holds_key(receiver), Some(false), "receiver");
    assert_eq!(holds_key(child_of(receiver)), Some(false), "sender");
}

/// What a process can write to: its data, heap and stack.
#[cfg(target_os = "linux")]
fn memory_of(process: u32) -> Option<Vec<Vec<u8>>> {
    use std::os::unix::fs::FileExt;
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let mut pieces = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (begin, end) = line.split_once(' ')?.0.split_once('-')?;
        let begin = u64::from_str_radix(begin, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        let mut piece = vec![0; (end - begin) as usize];
        memory.read_exact_at(&mut piece, begin).ok()?;
        pieces.push(piece);
    }
    Some(pieces)
}
