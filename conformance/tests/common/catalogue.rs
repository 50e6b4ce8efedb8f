//! The catalogue as the program tells it.

/// How many requirements there are.
pub fn catalogue() -> usize {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["list", "--format", "json"])
        .output()
        .expect("forkproof list");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("its JSON");
    let requirements = list.as_array().or_else(|| list["requirements"].as_array());
    requirements.expect("a list").len()
}
