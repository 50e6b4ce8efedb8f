//! The host: interruptions, other runs, a full disk.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

use crate::world::{IMAGE, PRELUDE, PROGRAM, World, running, until};

#[rstest]
#[case(Signal::SIGINT)]
#[case(Signal::SIGTERM)]
fn an_interruption_ends_everything_at_once(#[case] signal: Signal) {
    let world = World::new("started; exec sleep 600");
    let mut child = running(&world);
    let begin = Instant::now();
    kill(Pid::from_raw(child.id() as i32), signal).expect("signalled");
    let status = child.wait().expect("waited for");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(status.code(), Some(3));
    let errors = BufReader::new(child.stderr.take().expect("piped"));
    let last = errors.lines().map_while(Result::ok).last();
    assert_eq!(last.as_deref(), Some("forkproof: interrupted"));
    assert_eq!(world.text("exitcode"), None);
    world.is_clean();
}

#[test]
fn even_kill_9_leaves_no_machine_and_a_later_run_cleans_up() {
    let world = World::new("started; exec sleep 600");
    let mut child = running(&world);
    let emulator = world.emulator().expect("its id");
    child.kill().expect("killed");
    child.wait().expect("waited for");
    until("the emulator is gone", || kill(emulator, None).is_err());
    assert_eq!(world.machines(), 1);
    world.script("qemu-system-x86_64", &format!("{PRELUDE}started; result 0 conformant\n"));
    assert_eq!(world.run(&[]).status, Some(0));
    world.is_clean();
}

/// Two runs at once share the cache, and neither sweeps away the other's machine.
#[test]
fn two_runs_at_once_leave_each_other_alone() {
    let world = World::new(
        r#"started; touch "$WORLD/began.$stamp"
        while [ "$(ls "$WORLD" | grep -c began)" -lt 2 ]; do sleep 0.05; done
        WORLD=$WORLD/$stamp; mkdir "$WORLD"; result 0 conformant"#,
    );
    let begin = |out: &str| {
        world
            .command(&["--out", out])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    };
    let mut both = [begin("one"), begin("two")];
    for child in &mut both {
        assert_eq!(child.wait().expect("waited for").code(), Some(0));
    }
    assert_eq!(world.machines(), 0);
}

/// Full before the machine starts, and filled by the machine.
#[rstest]
#[case(256, "started; result 0 conformant", "forkproof: no space left to write ")]
#[case(
    0,
    r#"started; cat /dev/zero > "${out%/*}/filler" 2> /dev/null; exit 0"#,
    "(image `mine` wrote no result)"
)]
fn a_full_host_disk_is_told_as_such(
    #[case] kib: u64,
    #[case] behaviour: &str,
    #[case] words: &str,
) {
    let namespaces = Command::new("unshare").args(["-rm", "true"]).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs user and mount namespaces (unshare -rm)");
        return;
    }
    let world = World::new(behaviour);
    let payload = world.payload();
    // Too little for the payload, or the payload's size and some.
    let needed = payload.metadata().expect("its size").len() / 1024 + 4096;
    let size = if kib > 0 { kib } else { needed };
    let output = world
        .environment(Command::new("unshare").args([
            "-rm",
            "sh",
            "-c",
            "runs=$XDG_CACHE_HOME/forkproof/images/.runs; mkdir -p \"$runs\"
            mount -t tmpfs -o size=\"$SIZE\" none \"$runs\" || exit 99; exec \"$@\"",
            "sh",
            PROGRAM,
            "run",
            IMAGE,
            "--payload",
        ]))
        .arg(payload)
        .env("SIZE", format!("{size}k"))
        .output()
        .expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("forkproof: no space left to write "), "{errors}");
    assert!(errors.contains(words), "{errors}");
    world.is_clean();
}
