//! The files of the server: the log, its register, and what root writes.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::{path::PathBuf, process::Command as Process};

#[cfg(target_os = "linux")]
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use tempfile::TempDir;

use super::common::{end_of, private};
use super::world::{chatd, dir, in_dir, serve_on_loopback, signal};

/// The library that takes locks away; none where there is no compiler for it.
#[cfg(target_os = "linux")]
fn no_locks(dir: &TempDir) -> Option<PathBuf> {
    let library = in_dir(dir, "no_locks.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chatd/no_locks.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Process::new(compiler);
    if cfg!(target_arch = "x86") {
        command.arg("-m32");
    }
    command.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    match command.status() {
        Ok(status) => assert!(status.success(), "{command:?}"),
        Err(error) => {
            eprintln!("not tested, no C compiler: {error}");
            return None;
        }
    }
    Some(library)
}

/// Not with the first client, whose connection would be closed without a word.
#[cfg(target_os = "linux")]
#[rstest]
fn a_file_system_without_locks_is_refused_at_the_start(
    dir: TempDir,
    #[values("NO_FLOCK", "NO_RECORD_LOCKS")] which: &str,
    #[values(Errno::ENOLCK, Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EINVAL)] errno: Errno,
) {
    let Some(library) = no_locks(&dir) else { return };
    let file = if which == "NO_FLOCK" { "log" } else { "log.groups" };
    for mode in ["--foreground", "--daemon"] {
        chatd()
            .arg("--allow-root")
            .current_dir(dir.path())
            .env("LD_PRELOAD", &library)
            .env(which, (errno as i32).to_string())
            .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0", mode])
            .timeout(Duration::from_secs(3))
            .args(["--log-to", "stderr"])
            .assert()
            .code(1)
            .stderr(
                contains(format!("/{file}: "))
                    .and(contains("its file system has no locks"))
                    .and(contains(errno.desc())),
            );
    }
}

/// The name of the temporary file is not to be guessed, and is followed nowhere.
#[rstest]
fn links_in_the_place_of_temporary_files_are_not_followed(dir: TempDir) {
    std::fs::write(in_dir(&dir, "victim"), "untouched").unwrap();
    for pid in std::process::id()..std::process::id() + 5000 {
        symlink("victim", in_dir(&dir, &format!("pid.{pid}"))).unwrap();
        symlink("victim", in_dir(&dir, &format!("ready.{pid}"))).unwrap();
    }
    let _server = serve_on_loopback(dir.path(), &["--pid-file", "pid"]);
    assert_eq!(std::fs::read_to_string(in_dir(&dir, "victim")).unwrap(), "untouched");
    for file in ["pid", "ready"] {
        assert!(!std::fs::symlink_metadata(in_dir(&dir, file)).unwrap().is_symlink());
    }
}

/// Whoever may write to the directory can put something else in the pid file's place.
#[rstest]
#[case::fifo(|path: &Path| mkfifo(path, Mode::S_IRWXU).unwrap())]
#[case::link(|path: &Path| symlink("own-pid", path).unwrap())]
fn what_took_the_place_of_the_pid_file_is_left_alone(dir: TempDir, #[case] put: fn(&Path)) {
    let (mut server, _) = serve_on_loopback(dir.path(), &["--pid-file", "pid"]);
    let pid = in_dir(&dir, "pid");
    std::fs::write(in_dir(&dir, "own-pid"), std::fs::read(&pid).unwrap()).unwrap();
    std::fs::remove_file(&pid).unwrap();
    put(&pid);
    signal(server.0.id(), Signal::SIGTERM);
    assert!(end_of(&mut server.0).success());
    assert!(std::fs::symlink_metadata(&pid).is_ok());
}

/// Whom the register names is sent a signal, so nobody else may write to it.
#[rstest]
#[case::readable(|path: &Path| set_mode(path, 0o644), "mode 0644 lets others")]
#[case::link(|path: &Path| { std::fs::remove_file(path).unwrap(); symlink("victim", path).unwrap() }, "")]
#[case::someone_elses(|path: &Path| chown(path, Some(65534), None).unwrap(), "belongs to user 65534")]
fn a_register_that_others_may_lock_is_refused(
    dir: TempDir,
    #[case] change: fn(&Path),
    #[case] words: &str,
) {
    if words.contains("belongs") && !nix::unistd::geteuid().is_root() {
        eprintln!("not tested, it takes root");
        return;
    }
    std::fs::write(in_dir(&dir, "victim"), "").unwrap();
    private(&in_dir(&dir, "log.groups"), b"");
    change(&in_dir(&dir, "log.groups"));
    chatd()
        .arg("--allow-root")
        .current_dir(dir.path())
        .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
        .timeout(Duration::from_secs(3))
        .assert()
        .code(1)
        .stderr(contains("/log.groups: ").and(contains(words)));
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
