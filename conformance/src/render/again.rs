//! The command that runs checks again, as they were run.

use forkproof_report::Report;
use settings::printable;

/// The command for the checks `ids` of `report`, as a shell takes it.
pub(super) fn again(report: &Report, ids: &[&str]) -> String {
    let target = &report.target;
    let mut words = vec!["forkproof", "run"];
    words.extend(ids);
    let baseline = report
        .requirements
        .iter()
        .filter(|entry| ids.contains(&entry.id.as_str()))
        .find_map(|entry| Some(entry.baseline.as_ref()?.file.as_str()));
    let repeat = report.options.repeat.to_string();
    match (&target.manifest, target.name.as_str()) {
        (Some(manifest), _) => {
            words.extend(["--target", manifest, "--program", &target.program]);
        }
        (None, "reference") => {}
        (None, name) if name == target.program => words.extend(["--program", name]),
        (None, name) => words.extend(["--target", name, "--program", &target.program]),
    }
    if let Some(personality) = &report.options.personality {
        words.extend(["--as", personality]);
    }
    if let Some(file) = baseline {
        words.extend(["--baseline", file]);
    }
    if report.options.repeat > 1 {
        words.extend(["--repeat", &repeat]);
    }
    // What the settings gave stands here already; their reports are another run's.
    if report.options.command.iter().any(|word| word.starts_with("--config")) {
        words.push("--no-config");
    }
    words.push("--keep");
    printable(&shell_words::join(words))
}
