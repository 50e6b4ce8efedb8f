//! Every requirement can fail, and fails for the right reason: `forkproof controls`, whose own lines
//! name the pair that is wrong. One area of them: `forkproof controls AREA`.

use std::process::Command;

/// One requirement, as `forkproof list` tells it.
#[derive(serde::Deserialize)]
struct Requirement {
    id: String,
    level: String,
    controls: Vec<String>,
}

fn forkproof(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(arguments)
        .output()
        .expect("forkproof can be executed")
}

#[test]
fn every_control_is_caught() {
    let output = forkproof(&["controls"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let caught = text.lines().filter(|line| line.starts_with("caught ")).count();
    let wrong: Vec<&str> = text.lines().filter(|line| !line.starts_with("caught ")).collect();
    let said = format!(
        "{}\n{}\n{}",
        output.status,
        wrong.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    // Whatever it exits with, it has run them.
    assert!(caught > 100, "{caught} caught: {said}");
}

/// But for what is informative.
#[test]
fn every_requirement_has_one() {
    let output = forkproof(&["list", "--format", "json"]);
    let catalogue: Vec<Requirement> =
        serde_json::from_slice(&output.stdout).expect("`forkproof list` prints JSON");
    let without: Vec<&str> = catalogue
        .iter()
        .filter(|requirement| requirement.level != "may" && requirement.controls.is_empty())
        .map(|requirement| requirement.id.as_str())
        .collect();
    assert!(!catalogue.is_empty());
    assert!(without.is_empty(), "without a control: {without:?}");
}
