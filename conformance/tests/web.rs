//! `forkproof bench web`: what it says of servers that answer wrong, and what it measures of one that
//! knows its own cost.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rstest::rstest;
use serde_json::Value;

const SCHEMA: &str = include_str!("../schema/forkproof-web-1.schema.json");

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// Two measurements at a time would take each other's processor.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server of these tests, built once.
fn answers() -> &'static Path {
    static ANSWERS: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &ANSWERS
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("answers");
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/answers.c");
            let built = Command::new("cc")
                .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
                .args([program.as_path(), Path::new(source)])
                .output()
                .unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            (dir, program)
        })
        .1
}

/// A manifest of it in `dir`.
fn manifest(dir: &Path, name: &str, more: &[&str]) -> PathBuf {
    let path = dir.join(format!("{name}.toml"));
    let more: Vec<String> = more.iter().map(|word| format!(", {word:?}")).collect();
    let text = format!(
        "name = {name:?}\n[launch]\nprogram = {:?}\narguments = [\"{{port}}\", {name:?}, \
         \"{{dir}}/site\"{}]\n[wire]\nkind = \"http\"\nagain = \"same\"\n",
        answers(),
        more.concat()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// The command that measures it alone, once.
fn measuring(manifest: &Path, keep_alive: &str) -> Command {
    let mut command = forkproof();
    command
        .args(["bench", "web", "--servers", "none", "--rounds", "1", "--report", "-"])
        .args(["--keep-alive", keep_alive, "--target"])
        .arg(manifest);
    command
}

fn disturbing(manifest: &Path, what: &str) -> Command {
    let mut command = forkproof();
    command
        .args(["bench", "web", "--servers", "none", "--report", "-", "--disturb", what, "--target"])
        .arg(manifest);
    command
}

fn validated(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    as_its_schema_says(serde_json::from_slice(&output.stdout).unwrap())
}

fn as_its_schema_says(report: Value) -> Value {
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(&report).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    report
}

#[test]
fn the_published_measurement_is_as_its_schema_says() {
    for report in [
        include_str!("../docs/src/measured/webs.json"),
        include_str!("../docs/src/measured/webs-disturb.json"),
        include_str!("../docs/src/measured/webs-upgrade.json"),
    ] {
        as_its_schema_says(serde_json::from_str(report).unwrap());
    }
}

#[rstest]
#[case::a_short_body("short", "closed before the end of the body")]
#[case::another_length("length", "another Content-Length than the file's")]
#[case::another_status("status", "status 503")]
#[case::an_early_end("early", "closed without an answer")]
#[case::another_byte("bytes", "other bytes than the file's")]
fn wrong_answers_are_failures(
    #[case] how: &str,
    #[case] words: &str,
    #[values("on", "off")] keep_alive: &str,
) {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output = measuring(&manifest(dir.path(), how, &[]), keep_alive)
        .args(["--requests", "12", "--concurrency", "3", "--rate", "10", "--seconds", "1"])
        .output()
        .unwrap();
    let report = validated(&output);
    for (load, requests) in [("closed", 12), ("open", 10)] {
        let load = &report["cells"][0][load];
        assert_eq!((&load["requests"], &load["failed"]), (&requests.into(), &requests.into()));
        assert_eq!(load["failures"], serde_json::json!({ words: requests }));
        assert_eq!(load["latency"], Value::Null);
    }
    let said = String::from_utf8(output.stderr).unwrap();
    let line = format!("closed load: 12 of 12 requests failed: {words} (12)");
    assert!(said.contains(&line), "{said}");
    assert!(said.contains(&format!("{how} (!)")), "{said}");
}

#[rstest]
#[case::plain("good")]
#[case::chunks("chunks")]
fn good_answers_are_counted(#[case] how: &str, #[values("on", "off")] keep_alive: &str) {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output = measuring(&manifest(dir.path(), how, &[]), keep_alive)
        .args(["--requests", "50", "--concurrency", "7", "--rate", "20", "--seconds", "1"])
        .args(["--sizes", "1,300000"])
        .output()
        .unwrap();
    let report = validated(&output);
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    for cell in cells {
        for (load, requests) in [("closed", 50), ("open", 20)] {
            let load = &cell[load];
            assert_eq!((&load["requests"], &load["failed"]), (&requests.into(), &0.into()));
            assert_eq!(load["retried"], 0, "{load}");
            assert!(load["latency"]["max_ms"]["median"].as_f64().unwrap() > 0.0, "{load}");
        }
        if cfg!(target_os = "linux") {
            assert!(cell["memory_kib"]["median"].as_f64().unwrap() > 0.0);
        }
    }
}

/// A server may end a connection that it has let its client keep at any time: this one does when it is
/// asked a second time.
#[test]
fn a_kept_connection_that_is_closed_is_no_failure() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output = measuring(&manifest(dir.path(), "tires", &[]), "on")
        .args(["--requests", "12", "--concurrency", "3", "--seconds", "0"])
        .output()
        .unwrap();
    let report = validated(&output);
    let closed = &report["cells"][0]["closed"];
    assert_eq!((&closed["failed"], &closed["retried"]), (&0.into(), &9.into()), "{closed}");
    let said = String::from_utf8(output.stderr).unwrap();
    let words = "closed load: 9 of 12 requests were made twice, since the server had closed";
    assert!(said.contains(words), "{said}");
}

#[rstest]
fn its_processor_time_is_measured_within_3_percent(
    #[values("auto", "processes")] accounting: &str,
) {
    /// Requests before those that are measured.
    const WARMING: usize = 4;
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    let manifest = manifest(dir.path(), "burn", &["8000", record.to_str().unwrap()]);
    let output = measuring(&manifest, "on")
        .args(["--requests", "100", "--concurrency", "2", "--seconds", "0"])
        .args(["--accounting", accounting])
        .output()
        .unwrap();
    let report = validated(&output);
    let noted = std::fs::read_to_string(&record).unwrap();
    let noted: Vec<f64> = noted.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(noted.len(), 100 + WARMING);
    let said = (noted.last().unwrap() - noted[WARMING - 1]) / 1e3;
    let measured = report["cells"][0]["samples"][0]["closed"]["processor_ms"].as_f64().unwrap();
    println!("{accounting}: {said:.1} ms by getrusage, {measured:.1} ms measured");
    assert!(said > 790.0, "the server burns: {said}");
    assert!((measured / said - 1.0).abs() < 0.03, "{said} ms were used, {measured} ms measured");
}

/// Latency counts from the time at which a request was due: a server that answers each in 20 ms, but
/// has 100 a second to answer, is late by a second after two.
#[test]
fn a_queue_is_a_part_of_the_latency() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    let manifest = manifest(dir.path(), "slow", &["20000", record.to_str().unwrap()]);
    let output = measuring(&manifest, "on")
        .args(["--requests", "0", "--concurrency", "1", "--rate", "100", "--seconds", "2"])
        .output()
        .unwrap();
    let report = validated(&output);
    let open = &report["cells"][0]["open"];
    assert_eq!((&open["requests"], &open["failed"]), (&200.into(), &0.into()));
    let latency = |which: &str| open["latency"][which]["median"].as_f64().unwrap();
    // At least 200 × 20 ms are taken for 2 s of requests.
    assert!(latency("max_ms") >= 1900.0, "{open}");
    assert!(latency("p50_ms") >= 900.0, "{open}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("slow (!)") && said.contains("did not keep up"), "{said}");
}

/// What a killed worker has under way is lost, nothing else, and the next worker is seen to come.
#[test]
fn a_killed_worker_costs_its_own_request() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    // Two workers that need 20 ms each are never idle at 100 requests a second.
    let path = manifest(dir.path(), "pool", &["20000", record.to_str().unwrap()]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "[processes]\nmodel = \"workers\"\n").unwrap();
    let output = disturbing(&path, "kill")
        .args(["--keep-alive", "off", "--concurrency", "10", "--rate", "120", "--seconds", "6"])
        .output()
        .unwrap();
    let report = validated(&output);
    let disturbed = &report["disturbed"][0];
    let sample = &disturbed["sample"];
    assert_eq!((&disturbed["times"], &sample["done"]), (&2.into(), &2.into()), "{report}");
    assert_eq!(sample["recovered_seconds"].as_array().unwrap().len(), 2, "{sample}");
    let failed = sample["failed"].as_u64().unwrap();
    assert!((1..=2).contains(&failed), "{sample}");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains(&format!("pool, kill, a connection a request: {failed} lost: ")),
        "{words}"
    );
}

#[test]
fn webd_is_reloaded_and_upgraded_under_a_load() {
    let _alone = alone();
    let output = forkproof()
        .args([
            "bench",
            "web",
            "--servers",
            "webd",
            "--workers",
            "2",
            "--disturb",
            "reload,upgrade",
        ])
        .args(["--concurrency", "10", "--rate", "30", "--seconds", "6", "--report", "-"])
        .output()
        .unwrap();
    let report = validated(&output);
    let disturbed = report["disturbed"].as_array().unwrap();
    // Each with connections that are kept, and not.
    assert_eq!(disturbed.len(), 4);
    for cell in disturbed {
        let sample = &cell["sample"];
        assert_eq!(sample["failed"], 0, "{cell}");
        assert_eq!(sample["requests"], 180, "{cell}");
        assert_eq!(sample["done"], 1, "{cell}");
        assert_eq!(sample["recovered_seconds"].as_array().unwrap().len(), 1, "{cell}");
    }
}

#[test]
fn what_a_server_cannot_be_told_is_said() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = manifest(dir.path(), "good", &[]);
    let output = disturbing(&path, "kill,reload").args(["--seconds", "1"]).output().unwrap();
    let report = validated(&output);
    for cell in report["disturbed"].as_array().unwrap() {
        assert_eq!(cell["missing"], "its processes.model is not \"workers\"");
        assert_eq!(cell["sample"], Value::Null);
    }
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("good, reload, connections kept: not done, since"), "{words}");
}

/// webd, and what else there is here, in every form of the report.
#[test]
fn the_known_servers_are_measured_and_shown() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let output = forkproof()
        .args(["bench", "web", "--workers", "2", "--rounds", "2", "--requests", "60"])
        .args(["--concurrency", "6", "--rate", "20", "--seconds", "1", "--report", "-", "--html"])
        .arg(file("page.html"))
        .arg("--markdown")
        .arg(file("tables.md"))
        .output()
        .unwrap();
    let report = validated(&output);
    let known = ["webd", "nginx", "apache-event", "apache-prefork"];
    let servers: Vec<&str> =
        report["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    for name in known {
        // What is not installed is said.
        assert!(servers.contains(&name) != report["missing"][name].is_string(), "{report}");
    }
    assert!(servers.contains(&"webd"));
    for cell in report["cells"].as_array().unwrap() {
        assert_eq!(cell["workers"], 2);
        assert_eq!(cell["samples"].as_array().unwrap().len(), 2);
        // A master and two workers, and whatever helps them.
        assert!(cell["processes"].as_u64().unwrap() >= 3, "{cell}");
        for (load, requests) in [("closed", 120), ("open", 40)] {
            let load = &cell[load];
            assert_eq!(
                (&load["requests"], &load["failed"]),
                (&requests.into(), &0.into()),
                "{cell}"
            );
            assert!(load["per_cpu_second"]["median"].as_f64().unwrap() > 0.0, "{cell}");
        }
    }
    let page = std::fs::read_to_string(file("page.html")).unwrap();
    assert!(page.contains("<polyline") && page.contains("Content-Security-Policy"));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page is self-contained");
    let markdown = std::fs::read_to_string(file("tables.md")).unwrap();
    assert!(markdown.contains("\n## 1 kB, connections kept: 60 requests, 6 at once\n"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("2 rounds say little about variation"), "{text}");
}

#[rstest]
#[case(&["--workers", "0"], "--workers: each number must be from 1 to 256")]
#[case(&["--workers", "2,257"], "--workers: each number must be from 1 to 256")]
#[case(&["--sizes", "0"], "--sizes: each number must be from 1 to")]
#[case(&["--sizes", "big"], "--sizes")]
#[case(&["--rounds", "0"], "--rounds")]
#[case(&["--concurrency", "0"], "--concurrency")]
#[case(&["--concurrency", "1001"], "--concurrency")]
#[case(&["--keep-alive", "maybe"], "--keep-alive")]
#[case(&["--requests", "0", "--seconds", "0"], "there is no load: --requests or --seconds")]
#[case(&["--complete", "--workers", "2"], "cannot be used with")]
#[case(&["--disturb", "kick"], "--disturb")]
#[case(&["--disturb", "kill", "--rounds", "2"], "cannot be used with")]
#[case(&["--disturb", "kill", "--seconds", "0"], "--disturb takes an open load")]
#[case(&["--servers", "ngnix"], "unknown server `ngnix`: did you mean `nginx`?")]
#[case(&["--servers", "none"], "there is nothing to measure")]
#[case(&["--target", "/no/such/manifest.toml"], "--target /no/such/manifest.toml: ")]
#[case(&["--target", "reference"], "--target reference: the target reference does not speak HTTP")]
#[case(&["--target", "webd"], "something else is called webd")]
#[case(&["--report", "-", "--html", "-"], "cannot write two outputs to -")]
#[case(&["--html", "/no/such/dir/p.html"], "cannot write /no/such/dir/p.html")]
fn mistakes_get_one_clear_line(#[case] arguments: &[&str], #[case] words: &str) {
    let output = forkproof().args(["bench", "web"]).args(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty());
    assert!(errors.contains(words), "{errors}");
    // clap adds its usage below its own errors.
    assert!(errors.lines().count() == 1 || errors.contains("For more information"), "{errors}");
}

/// A server that does not start is told in one line, with what it says.
#[test]
fn a_server_that_does_not_start_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead.toml");
    let text = "name = \"dead\"\n[launch]\nprogram = \"/bin/sh\"\narguments = [\"-c\", \"echo no luck \
                {port} >&2; exit 7\"]\n[wire]\nkind = \"http\"\n";
    std::fs::write(&path, text).unwrap();
    let output = measuring(&path, "on").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("dead: ") && errors.contains("no luck"), "{errors}");
    assert!(output.stdout.is_empty());
}
