//! `forkproof bench chat`: what it measures is compared with what servers are known to do.
//!
//! These tests take `python3`.

use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chats/chat.py");

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// A chat with `fault`, or none, as a target.
fn manifest(dir: &Path, fault: &str) -> std::path::PathBuf {
    let file = dir.join("chat.toml");
    let text = format!(
        "name = \"chat\"\n\
         [launch]\nprogram = \"/usr/bin/env\"\narguments = [\"python3\", \"{SERVER}\"]\n\
         [options]\naddress = [\"{{address}}\"{}]\n\
         [stop]\nsignal = \"SIGKILL\"\n\
         [processes]\nmodel = \"one\"\n\
         [wire]\nkind = \"chat\"\n",
        if fault.is_empty() { String::new() } else { format!(", \"{fault}\"") }
    );
    std::fs::write(&file, text).unwrap();
    file
}

const SCHEMA: &str = include_str!("../schema/forkproof-chat-1.schema.json");

fn measured(command: &mut Command) -> Value {
    let output = command.args(["--report", "-"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    as_its_schema_says(&output.stdout)
}

fn as_its_schema_says(report: &[u8]) -> Value {
    let report = serde_json::from_slice(report).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(&report).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    report
}

#[test]
fn the_published_measurement_is_as_its_schema_says() {
    as_its_schema_says(include_bytes!("../docs/src/measured/chats.json"));
}

/// Two clients that say 100 messages each in two seconds.
fn conversation(fault: &str) -> Value {
    let dir = TempDir::new().unwrap();
    let all = measured(
        forkproof()
            .args(["bench", "chat", "--servers", "none", "--clients", "2", "--rates", "50"])
            .args(["--rounds", "1", "--seconds", "2", "--target"])
            .arg(manifest(dir.path(), fault)),
    );
    all["conversations"][0].clone()
}

#[rstest]
#[case::right("", 0, 0)]
#[case::loses("loses", 40, 0)]
#[case::repeats("repeats", 0, 40)]
#[case::swaps("swaps", 0, 40)]
fn what_is_lost_or_out_of_order_is_told(
    #[case] fault: &str,
    #[case] lost: u64,
    #[case] disordered: u64,
) {
    let one = conversation(fault);
    // A message that is left out is missed once, and makes the next one come too early.
    let (told_lost, told_disordered) =
        (one["lost"].as_u64().unwrap(), one["disordered"].as_u64().unwrap());
    match fault {
        "" => assert_eq!((told_lost, told_disordered), (0, 0), "{one}"),
        "loses" => assert!((lost - 2..=lost).contains(&told_lost), "{one}"),
        _ => assert!(told_disordered >= disordered - 8, "{one}"),
    }
}

#[test]
fn a_known_amount_of_processor_time_is_measured() {
    // 4 ms for each message, which two clients hear, and python's own.
    let one = conversation("burns");
    let each = one["us_per_delivery"]["median"].as_f64().unwrap();
    assert!((2000.0..2600.0).contains(&each), "{one}");
}

#[test]
fn chatd_and_its_floor_lose_nothing() {
    let all =
        measured(
            forkproof()
                .args(["bench", "chat", "--servers", "chatd,floor", "--clients", "4"])
                .args(["--rates", "20,max", "--rounds", "1", "--seconds", "1"]),
        );
    let conversations = all["conversations"].as_array().unwrap();
    assert_eq!(conversations.len(), 4, "{all}");
    for one in conversations {
        assert_eq!((one["lost"].as_u64(), one["disordered"].as_u64()), (Some(0), Some(0)), "{one}");
        assert!(one["us_per_delivery"]["median"].as_f64().unwrap() > 0.0, "{one}");
    }
    for one in all["at_rest"].as_array().unwrap() {
        assert!(one["memory_per_client_kib"]["median"].as_f64().unwrap() > 0.0, "{one}");
        assert!(one["joins_per_second"]["median"].as_f64().unwrap() > 0.0, "{one}");
    }
}

#[rstest]
#[case(&["--servers", "chtd"], "unknown server `chtd`: did you mean `chatd`?")]
#[case(&["--rates", "fast"], "write a number from 0.1 to 100000, or `max`")]
#[case(&["--rates", "0"], "write a number from 0.1 to 100000, or `max`")]
#[case(&["--clients", "1"], "each number must be from 2 to 500")]
#[case(&["--servers", "none"], "there is nothing to measure")]
#[case(&["--target", "nosuch"], "nosuch")]
fn mistakes_get_one_clear_line(#[case] arguments: &[&str], #[case] words: &str) {
    let output = forkproof().args(["bench", "chat"]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(words) && said.trim_end().lines().count() == 1, "{said}");
}

#[test]
fn a_server_that_is_no_chat_is_refused() {
    let output = forkproof()
        .args(["bench", "chat", "--servers", "none", "--target", "webd", "--rounds", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("is no chat, in which all hear what one says"), "{said}");
}
