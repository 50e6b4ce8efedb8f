//! Results that are kept: a directory with a folder for each platform that the suite was run on,
//! and in each folder
//!
//! | file | what |
//! |---|---|
//! | `platform.toml` | what the platform is called, and how its files were made |
//! | `report.json`, `report-NAME.json` | reports of `forkproof run`; the first stands for the platform |
//! | `facts.json` | what `forkproof probe --json` printed there |
//!
//! What else lies beside the folders, a README for instance, is left alone; what else lies in one is
//! an error, so that nothing is misnamed and never shown.

use std::fs;
use std::path::{Path, PathBuf};

use forkproof_report::{Report, Verdict};
use serde::Deserialize;
use settings::{printable, reason};

use crate::probe::ProbeReport;

/// A platform.
#[derive(Debug)]
pub struct Platform {
    /// Its folder's name: stable, and the anchor on a page.
    pub id: String,
    /// What is said of it.
    pub about: About,
    /// What was run, the main report first.
    pub reports: Vec<Report>,
    /// Its facts, if they were measured.
    pub facts: Option<ProbeReport>,
}

/// `platform.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct About {
    /// What people call it.
    pub name: String,
    /// The commit of forkproof that made the files.
    pub commit: String,
    /// On what, and by which commands.
    pub how: String,
    /// What a reader has to know about the files.
    #[serde(default)]
    pub remarks: Vec<String>,
}

const ABOUT: &str = "platform.toml";
const REPORT: &str = "report.json";
const FACTS: &str = "facts.json";

/// Reads a directory of results: its platforms by the names of their folders.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub fn read(directory: &Path) -> Result<Vec<Platform>, String> {
    let folders = entries(directory)?.into_iter().filter(|path| path.is_dir());
    let platforms: Vec<Platform> = folders.map(|path| platform(&path)).collect::<Result<_, _>>()?;
    if platforms.is_empty() {
        return Err(format!(
            "{}: holds no results: expected a folder for each platform",
            directory.display()
        ));
    }
    for (at, one) in platforms.iter().enumerate() {
        if let Some(other) = platforms[..at].iter().find(|other| other.about.name == one.about.name)
        {
            return Err(format!(
                "{}: `{}` and `{}` are both called `{}`",
                directory.display(),
                other.id,
                one.id,
                printable(&one.about.name)
            ));
        }
    }
    Ok(platforms)
}

/// What is in a directory, by name.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: std::io::Error| format!("{}: {}", directory.display(), reason(&error));
    let listed = fs::read_dir(directory).map_err(wrong)?;
    let mut paths: Vec<PathBuf> =
        listed.map(|entry| Ok(entry.map_err(wrong)?.path())).collect::<Result<_, String>>()?;
    paths.sort();
    Ok(paths)
}

fn platform(folder: &Path) -> Result<Platform, String> {
    let id = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    if !id.bytes().all(plain) {
        return Err(format!(
            "{}: a platform's folder is named by lower-case letters, digits, `-` and `.`",
            printable(&folder.display().to_string())
        ));
    }
    let about = settings::read(folder.join(ABOUT)).map_err(|error| error.to_string())?;
    let (mut reports, mut facts) = (Vec::new(), None);
    for path in entries(folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref().unwrap_or_default() {
            ABOUT => {}
            FACTS => facts = Some(ProbeReport::read(&path)?),
            REPORT => reports.insert(0, Report::read(&path)?),
            name if name.starts_with("report-") && name.ends_with(".json") => {
                reports.push(Report::read(&path)?);
            }
            _ => {
                return Err(printable(&format!(
                    "{}: expected {ABOUT}, {FACTS}, {REPORT} or report-NAME.json",
                    path.display()
                )));
            }
        }
    }
    if reports.is_empty() && facts.is_none() {
        return Err(format!("{}: holds neither a report nor facts", folder.display()));
    }
    Ok(Platform { id, about, reports, facts })
}

impl Platform {
    /// What was seen of a requirement: a failure if one of the reports has one, else a pass; where
    /// there is neither, why. None if no report has it.
    pub fn seen(&self, id: &str) -> Option<Verdict> {
        let verdicts: Vec<Verdict> = self
            .reports
            .iter()
            .filter_map(|report| report.requirements.iter().find(|entry| entry.id == id))
            .map(|entry| entry.verdict)
            .collect();
        let gravest = verdicts.iter().copied().max_by_key(|verdict| verdict.gravity())?;
        let told = gravest.is_trouble() || gravest == Verdict::Xfail;
        Some(if !told && verdicts.contains(&Verdict::Pass) { Verdict::Pass } else { gravest })
    }

    /// What distinguishes the reports in which a requirement has `verdict`, where others have
    /// another one.
    pub fn where_seen(&self, id: &str, verdict: Verdict) -> Option<String> {
        let with: Vec<String> = self
            .reports
            .iter()
            .filter(|report| {
                report.requirements.iter().any(|entry| entry.id == id && entry.verdict == verdict)
            })
            .map(run)
            .collect();
        (with.len() < self.reports.len()).then(|| with.join("; "))
    }
}

/// Day of a report.
pub fn date(report: &Report) -> &str {
    report.started.split('T').next().unwrap_or_default()
}

/// What a report is about, beside its platform: the server and the user.
pub fn run(report: &Report) -> String {
    let user = if report.platform.root { "root" } else { "ordinary user" };
    format!("{}, {user}", report.target.name)
}
