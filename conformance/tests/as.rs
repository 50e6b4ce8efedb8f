//! `forkproof as PERSONALITY -- COMMAND`, on small programs that do nothing wrong.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// Compiles a C program into `dir`.
fn compile(dir: &Path, source: &str, flags: &[&str]) -> PathBuf {
    let (from, to) = (dir.join("program.c"), dir.join("program"));
    std::fs::write(&from, source).unwrap();
    let output = Process::new("cc")
        .args(["-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-Wall", "-Werror", "-O2"])
        // Of the same width as the library that is put before it.
        .args(cfg!(target_arch = "x86").then_some("-m32"))
        .args(flags)
        .arg("-o")
        .arg(&to)
        .arg(&from)
        .output()
        .expect("these tests need a C compiler called cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    to
}

const SIGNALS: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <string.h>
static void handler(int signal) { (void)signal; }
int main(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, NULL) != 0) return 1;
    raise(SIGUSR1);
    puts("first");
    fflush(stdout);
    raise(SIGUSR1);
    puts("second");
    return 0;
}"#;

const V6ONLY: &str = r#"
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
int main(void)
{
    int only = -1;
    socklen_t size = sizeof only;
    int s = socket(AF_INET6, SOCK_STREAM, 0);
    if (s < 0 || getsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) != 0) return 1;
    printf("%s\n", only ? "IPv6 only" : "both families");
    return 0;
}"#;

const FLOCK: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int log = open(argv[1], O_RDWR | O_CREAT, 0600);
    int status;
    (void)argc;
    if (log < 0 || flock(log, LOCK_EX) != 0) return 1;
    close(open(argv[1], O_RDONLY)); /* as a library might */
    if (fork() == 0) {
        int other = open(argv[1], O_RDWR);
        _exit(flock(other, LOCK_EX | LOCK_NB) == 0);
    }
    wait(&status);
    puts(WEXITSTATUS(status) ? "the lock is lost" : "the lock holds");
    return 0;
}"#;

const LARGE: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    int log = open(argv[1], O_RDONLY);
    (void)argc;
    puts(log >= 0 ? "opened" : errno == EOVERFLOW ? "EOVERFLOW" : strerror(errno));
    return 0;
}"#;

#[rstest]
#[case::second_signal_kills("sysv-signals", SIGNALS, "first\nsecond\n", "first\n")]
#[case::ipv6_only("v6only-default", V6ONLY, "both families\n", "IPv6 only\n")]
#[case::lock_lost_by_close("posix-flock", FLOCK, "the lock holds\n", "the lock is lost\n")]
#[case::too_large("no-large-files", LARGE, "opened\n", "EOVERFLOW\n")]
fn a_program_meets_another_platform(
    #[case] personality: &str,
    #[case] source: &str,
    #[case] here: &str,
    #[case] there: &str,
) {
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), source, &[]);
    let file = dir.path().join("file");
    std::fs::File::create(&file).unwrap().set_len(3 << 30).unwrap(); // sparse
    Command::new(&program).arg(&file).assert().success().stdout(here.to_owned());
    let interposed = forkproof().args(["as", personality, "--"]).arg(&program).arg(&file).assert();
    let interposed = interposed.stdout(there.to_owned());
    if personality == "sysv-signals" {
        // It became the program, which died of the signal.
        interposed.interrupted();
    } else {
        interposed.success();
    }
}

#[test]
fn a_static_program_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), "int main(void) { return 0; }", &["-static"]);
    forkproof()
        .args(["as", "sysv-signals", "--"])
        .arg(&program)
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("static"));
}

#[test]
fn a_setuid_program_is_refused_with_the_reason() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), "int main(void) { return 0; }", &[]);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    forkproof()
        .args(["as", "sysv-signals", "--"])
        .arg(&program)
        .assert()
        .code(2)
        .stderr(contains("set-user-ID"));
}

#[rstest]
#[case(&["as", "sysv-signal", "--", "true"], "did you mean `sysv-signals`?")]
#[case(&["as", "short-writes=many", "--", "true"], "is not a value of `short-writes`")]
#[case(&["as", "sysv-signals=3", "--", "true"], "takes no value")]
#[case(&["as", "sysv-signals", "--", "no-such-program-here"], "no such program on PATH")]
#[case(&["as", "sysv-signals"], "COMMAND")]
#[case(&["run", "auth/exact-key", "--as", "sysv-signal"], "did you mean `sysv-signals`?")]
fn mistakes(#[case] arguments: &[&str], #[case] words: &str) {
    forkproof().args(arguments).assert().code(2).stdout("").stderr(contains(words));
}

#[test]
fn the_list_says_what_each_imitates_and_where_that_is_written() {
    forkproof()
        .args(["as", "--list"])
        .assert()
        .success()
        .stdout(contains("System V signal()").and(contains("signal(2)")).and(contains("VALUE: ")));
}
