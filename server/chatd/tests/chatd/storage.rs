//! The files of the server: the log, its register, and what root writes.

use std::path::PathBuf;
use std::process::Command as Process;

use nix::errno::Errno;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use tempfile::TempDir;

use super::world::{chatd, dir, in_dir};

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
            .current_dir(dir.path())
            .env("LD_PRELOAD", &library)
            .env(which, (errno as i32).to_string())
            .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0", mode])
            .timeout(std::time::Duration::from_secs(3))
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
