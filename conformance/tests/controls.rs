//! Every requirement can fail, and fails for the right reason: `forkproof controls`, an area a
//! test. The program's own lines name the pair that is wrong.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// One requirement, as `forkproof list` tells it.
#[derive(serde::Deserialize)]
struct Requirement {
    id: String,
    level: String,
    controls: Vec<String>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test runs many controls at a time by itself.
    arguments.test_threads = Some(1);
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["list", "--format", "json"])
        .output()
        .expect("forkproof can be executed");
    let catalogue: Vec<Requirement> =
        serde_json::from_slice(&output.stdout).expect("`forkproof list` prints JSON");
    let controlled = catalogue.iter().filter(|requirement| !requirement.controls.is_empty());
    let mut areas: Vec<String> =
        controlled.filter_map(|r| Some(r.id.split_once('/')?.0.to_owned())).collect();
    areas.dedup();
    let mut trials: Vec<Trial> = areas
        .into_iter()
        .map(|area| Trial::test(format!("controls of {area}"), move || run(&area)))
        .collect();
    trials.push(Trial::test("no requirement is without a control", move || {
        every_requirement_has_one(&catalogue)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(area: &str) -> Result<(), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["controls", area])
        .output()
        .map_err(|error| format!("forkproof: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let wrong: Vec<&str> = text.lines().filter(|line| !line.starts_with("caught")).collect();
    Err(format!(
        "{}\n{}{}",
        output.status,
        wrong.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// But for what is informative.
fn every_requirement_has_one(catalogue: &[Requirement]) -> Result<(), Failed> {
    let without: Vec<&str> = catalogue
        .iter()
        .filter(|requirement| requirement.level != "may" && requirement.controls.is_empty())
        .map(|requirement| requirement.id.as_str())
        .collect();
    if without.is_empty() { Ok(()) } else { Err(format!("without a control: {without:?}").into()) }
}
