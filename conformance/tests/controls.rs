//! Every requirement can fail, and fails for the right reason: `forkproof controls`, an area a
//! test. The program's own lines name the pair that is wrong.

use std::process::{Command, ExitCode};

use forkproof::catalogue::{self, Controls};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test runs many controls at a time by itself.
    arguments.test_threads = Some(1);
    let mut areas: Vec<&str> = catalogue::all()
        .filter(|requirement| matches!(requirement.controls, Controls::By(_)))
        .map(|requirement| requirement.area())
        .collect();
    areas.dedup();
    let mut trials: Vec<Trial> = areas
        .into_iter()
        .map(|area| Trial::test(format!("controls of {area}"), || run(area)))
        .collect();
    trials.push(Trial::test("no requirement is without a control", every_requirement_has_one));
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

fn every_requirement_has_one() -> Result<(), Failed> {
    let without = forkproof::controls::uncontrolled();
    if without.is_empty() { Ok(()) } else { Err(format!("without a control: {without:?}").into()) }
}
