//! Servers with workers, and what a server is told while it runs: webd, the second reference server,
//! under the whole catalogue; and mistakes in the table [lifecycle] of a manifest.

use std::fs;
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// `forkproof run --target webd`, as the README says. What takes workers passes, and whatever else it
/// claims.
#[test]
fn webd_does_what_it_claims() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("report.json");
    let output =
        forkproof().args(["run", "--target", "webd", "--report"]).arg(&file).output().unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let entries = report["requirements"].as_array().unwrap();
    let asked = |area: &str| {
        let own = entries.iter().filter(|entry| entry["id"].as_str().unwrap().starts_with(area));
        own.filter(|entry| entry["verdict"] == "pass").count()
    };
    let is_root = nix::unistd::geteuid().is_root();
    assert!(asked("workers/") >= if is_root { 13 } else { 11 }, "{shown}");
    assert_eq!(asked("lifecycle/"), 8, "{shown}");
}

/// A manifest that is right; the mistakes below are made in it.
const TOLD: &str = "name = \"told\"\n\
                    [launch]\n\
                    program = \"/bin/true\"\n\
                    arguments = [\"{port}\"]\n\
                    files = [{ path = \"{dir}/conf\", content = \"x\" }]\n\
                    [processes]\n\
                    model = \"workers\"\n\
                    [lifecycle]\n\
                    reload = \"SIGHUP\"\n\
                    config = \"{dir}/conf\"\n\
                    broken = \"y\"\n\
                    graceful = \"SIGQUIT\"\n\
                    graceful-limit = 2\n\
                    reopen = \"SIGUSR1\"\n\
                    log = \"{dir}/log\"\n\
                    upgrade = \"SIGUSR2\"\n\
                    finish = \"SIGQUIT\"\n\
                    health = 5\n\
                    [wire]\n\
                    kind = \"http\"\n";

fn run(text: &str) -> (Output, String) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("server.toml");
    fs::write(&file, text).unwrap();
    let output = forkproof().args(["run", "--target"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn the_manifest_without_a_mistake_is_read() {
    let (output, _) = run(TOLD);
    // /bin/true is no server, so it ends in the rehearsal.
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
}

#[rstest]
#[case::unknown_key("reload =", "relaod =", "9: unknown key `relaod`: did you mean `reload`?")]
#[case::unknown_signal(
    "\"SIGHUP\"",
    "\"SIGHPU\"",
    "9: unknown signal `SIGHPU`: did you mean `SIGHUP`?"
)]
#[case::signal_of_type("\"SIGHUP\"", "1", "9: invalid type: integer `1`")]
#[case::config_alone(
    "reload = \"SIGHUP\"\n",
    "",
    "9: lifecycle.config makes no sense without lifecycle.reload"
)]
#[case::config_is_no_file(
    "config = \"{dir}/conf\"",
    "config = \"{dir}/cnof\"",
    "10: lifecycle.config: `{dir}/cnof` is none of launch.files"
)]
#[case::broken_alone(
    "config = \"{dir}/conf\"\n",
    "",
    "10: lifecycle.broken makes no sense without lifecycle.config"
)]
#[case::limit_alone(
    "graceful = \"SIGQUIT\"\n",
    "",
    "12: lifecycle.graceful-limit makes no sense without lifecycle.graceful"
)]
#[case::limit_of_nothing(
    "graceful-limit = 2",
    "graceful-limit = 0",
    "13: a number of seconds must be more than 0"
)]
#[case::no_time_to_stop(
    "graceful = \"SIGQUIT\"\ngraceful-limit = 2",
    "graceful = \"SIGTERM\"\ngraceful-limit = 2",
    "13: a graceful stop may take lifecycle.graceful-limit = 2, and stop.signal is its signal: \
     stop.limit must be more than that, not 2"
)]
#[case::no_log("log = \"{dir}/log\"\n", "", "14: lifecycle.reopen takes lifecycle.log")]
#[case::log_alone(
    "reopen = \"SIGUSR1\"\n",
    "",
    "14: lifecycle.log makes no sense without lifecycle.reopen"
)]
#[case::log_elsewhere(
    "\"{dir}/log\"",
    "\"/var/log/told\"",
    "15: `/var/log/told` is outside of the check's directory"
)]
#[case::log_placeholder("\"{dir}/log\"", "\"{dir}/{lines}\"", "15: {lines} has no value here")]
#[case::finish_alone(
    "upgrade = \"SIGUSR2\"\n",
    "",
    "16: lifecycle.finish makes no sense without lifecycle.upgrade"
)]
#[case::health_of_one(
    "model = \"workers\"",
    "model = \"one\"",
    "18: lifecycle.health is about workers"
)]
#[case::claimed(
    "[launch]",
    "claims = [\"upgrade\", \"reload\", \"health-check\"]\n[launch]",
    "2: unknown claim `health-check`: did you mean `health-checks`?"
)]
#[case::claimed_for_nothing(
    "[launch]\nprogram = \"/bin/true\"\narguments = [\"{port}\"]\nfiles = [{ path = \"{dir}/conf\", content = \"x\" }]\n[processes]\nmodel = \"workers\"\n[lifecycle]\nreload = \"SIGHUP\"\nconfig = \"{dir}/conf\"\nbroken = \"y\"\n",
    "claims = [\"reload\"]\n[launch]\nprogram = \"/bin/true\"\narguments = [\"{port}\"]\n[processes]\nmodel = \"workers\"\n[lifecycle]\n",
    "2: `reload` is claimed, but it takes lifecycle.reload"
)]
fn a_mistake_in_what_a_server_is_told_is_named_with_its_line(
    #[case] right: &str,
    #[case] wrong: &str,
    #[case] message: &str,
) {
    assert!(TOLD.contains(right));
    let (output, said) = run(&TOLD.replacen(right, wrong, 1));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("server.toml:{message}")), "{said}");
}
