//! `forkproof.toml`: what a project would say on every command line of `forkproof run`.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forkproof_report::Level;
use serde::Deserialize;
use settings::line_at;

use super::arguments::parse_scale;

/// The file's name.
pub(super) const NAME: &str = "forkproof.toml";

/// Where the settings come from.
#[derive(clap::Args, Debug)]
pub(super) struct Source {
    /// Read the settings from this file instead of looking for forkproof.toml here and above
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Read no settings from a file
    #[arg(long, conflicts_with_all = ["config", "profile"])]
    no_config: bool,

    /// Use this profile of the settings: a table [profile.NAME]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// The settings that were found.
#[derive(Debug)]
pub(super) struct Project {
    /// The file.
    pub(super) file: PathBuf,
    /// Its settings, with those of the profile in their place; paths lead from anywhere.
    pub(super) settings: Settings,
}

/// The keys are long options of `forkproof run`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Settings {
    pub(super) target: Option<PathBuf>,
    pub(super) program: Option<PathBuf>,
    pub(super) baseline: Option<PathBuf>,
    pub(super) report: Option<PathBuf>,
    pub(super) junit: Option<PathBuf>,
    pub(super) summary: Option<PathBuf>,
    pub(super) level: Option<Level>,
    pub(super) jobs: Option<NonZeroU16>,
    pub(super) deadline_scale: Option<Scale>,
    pub(super) max_fail: Option<NonZeroU32>,
    profile: BTreeMap<String, Settings>,
}

/// A factor for deadlines, as the option takes it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Scale(pub(super) f64);

impl TryFrom<f64> for Scale {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        parse_scale(&value.to_string()).map(Self)
    }
}

impl Settings {
    /// These, and the others' where they say nothing.
    fn or(self, other: Self) -> Self {
        Self {
            target: self.target.or(other.target),
            program: self.program.or(other.program),
            baseline: self.baseline.or(other.baseline),
            report: self.report.or(other.report),
            junit: self.junit.or(other.junit),
            summary: self.summary.or(other.summary),
            level: self.level.or(other.level),
            jobs: self.jobs.or(other.jobs),
            deadline_scale: self.deadline_scale.or(other.deadline_scale),
            max_fail: self.max_fail.or(other.max_fail),
            profile: BTreeMap::new(),
        }
    }

    /// With paths that lead on from `directory`.
    fn relative_to(mut self, directory: &Path) -> Self {
        let files = [
            &mut self.program,
            &mut self.baseline,
            &mut self.report,
            &mut self.junit,
            &mut self.summary,
        ];
        for file in files.into_iter().flatten() {
            *file = directory.join(&file);
        }
        // A target may be the name of one inside this program.
        if let Some(target) = &mut self.target {
            if target.components().count() > 1 || target.extension().is_some() {
                *target = directory.join(&target);
            }
        }
        self
    }
}

impl Source {
    /// The settings: of the file that is named, or of the one that is found here or above.
    ///
    /// # Errors
    /// The file cannot be read, is wrong, is another user's, or lacks the profile: one line.
    pub(super) fn read(&self) -> Result<Option<Project>, String> {
        if self.no_config {
            return Ok(None);
        }
        let found = match &self.config {
            Some(file) => Some(std::path::absolute(file).map_err(|error| error.to_string())?),
            None => found()?,
        };
        let Some(file) = found else {
            return match &self.profile {
                Some(name) => Err(format!("profile `{name}`: there is no {NAME} here or above")),
                None => Ok(None),
            };
        };
        let directory = file.parent().unwrap_or(Path::new("/"));
        let settings = read(&file, self.profile.as_deref())?.relative_to(directory);
        Ok(Some(Project { file, settings }))
    }
}

/// The settings in a file, with those of a profile in their place.
fn read(file: &Path, profile: Option<&str>) -> Result<Settings, String> {
    let shown = file.display().to_string();
    let text = settings::read_text(file).map_err(|error| error.to_string())?;
    let mut all: Settings = settings::parse(&text, &shown).map_err(|error| error.to_string())?;
    let mut profiles = std::mem::take(&mut all.profile);
    if let Some((name, _)) = profiles.iter().find(|(_, profile)| !profile.profile.is_empty()) {
        let line = text
            .find(&format!("[profile.{name}.profile"))
            .map_or(1, |at| line_at(text.as_bytes(), at));
        return Err(format!(
            "{shown}:{line}: the profile `{name}` cannot have profiles of its own"
        ));
    }
    let Some(name) = profile else { return Ok(all) };
    match profiles.remove(name) {
        Some(profile) => Ok(profile.or(all)),
        None => {
            let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
            Err(format!("{shown}: {}", settings::unknown("profile", name, &known)))
        }
    }
}

/// The nearest file in the working directory or above it. One that somebody else has put there
/// would decide which program is started.
fn found() -> Result<Option<PathBuf>, String> {
    let Ok(here) = std::env::current_dir() else { return Ok(None) };
    let file = here.ancestors().map(|directory| directory.join(NAME)).find(|file| file.is_file());
    let Some(file) = file else { return Ok(None) };
    // A link leads to the file's own directory, from which its paths lead on.
    let file = file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))?;
    let shown = file.display();
    let facts = file.metadata().map_err(|error| format!("{shown}: {error}"))?;
    let why = match facts.uid() {
        owner if !is_trusted(owner) => format!("belongs to user {owner}, not to you"),
        _ if facts.mode() & 0o002 != 0 => "can be written by everyone".to_owned(),
        _ => return Ok(Some(file)),
    };
    Err(format!(
        "{shown} {why}: if you trust it, name it with --config, or ignore it with --no-config"
    ))
}

/// Whether a file of this user may say what is started: one's own, root's, or of whoever called
/// sudo.
fn is_trusted(owner: u32) -> bool {
    let own = nix::unistd::geteuid();
    let caller = || std::env::var("SUDO_UID").ok()?.parse::<u32>().ok();
    owner == own.as_raw() || owner == 0 || (own.is_root() && caller() == Some(owner))
}
