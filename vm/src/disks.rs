//! The job's disk, which goes in, and the result's disk, which comes out.
//!
//! Both are raw disks, found in the guest by their first bytes. The job's holds a tar whose first
//! member is `run.sh`. The result's holds a stamp that no other run has; the guest overwrites it
//! with a tar, whose last member repeats the stamp. **The verdict is the member `exitcode` alone.**
//! What the console said, and how QEMU ended, is no part of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// The first member of the job's disk.
pub const RUN_MEMBER: &str = "run.sh";
/// What the first line of an unwritten result's disk begins with.
pub const OUT_MAGIC: &str = "forkproof-out/1";
/// Size of the result's disk, bytes; it takes as much of the host as is written to it.
const OUT_SIZE: u64 = 128 * 1024 * 1024;
/// No member of the result is larger, bytes.
const MEMBER_LIMIT: u64 = 32 * 1024 * 1024;
/// What a job has in its directory in the guest.
const OWN_NAMES: [&str; 3] = [RUN_MEMBER, "forkproof", "result"];
/// The members of a result that people read.
pub const REPORTS: [&str; 4] = ["report.json", "junit.xml", "summary.md", "output.log"];
/// What `forkproof run` may end with.
const EXIT_CODES: [u8; 5] = [0, 1, 2, 3, 4];

/// What tells one run's result from every other's: 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(String);

impl Stamp {
    /// A new one.
    pub fn new() -> Self {
        // The standard library's map keys are seeded from the system's randomness, and two states
        // in a row differ; enough to be unique, and nothing here is a secret.
        use std::hash::{BuildHasher, Hasher, RandomState};
        let part = || {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u32(std::process::id());
            hasher.finish()
        };
        Self(format!("{:016x}{:016x}", part(), part()))
    }

    /// In hexadecimal.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self::new()
    }
}

/// Sees that `added` can lie beside `forkproof` in a guest under their last names: that they are
/// there, are files or directories, and that no two names, and none of a job's own, are the same.
pub fn require_added(added: &[PathBuf]) -> Result<()> {
    let mut names = BTreeMap::new();
    for path in added {
        let refused = |why: String| Error::Usage(format!("--add {}: {why}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
        if !(metadata.is_file() || metadata.is_dir()) {
            return Err(refused("it is neither a file nor a directory".into()));
        }
        let name = name_in_guest(path).map_err(|error| refused(error.to_string()))?;
        if OWN_NAMES.iter().any(|own| name == *own) {
            let name = name.to_string_lossy();
            return Err(refused(format!("`{name}` in the guest is forkproof's own")));
        }
        if let Some(other) = names.insert(name, path) {
            return Err(refused(format!("{} would have the same name there", other.display())));
        }
    }
    Ok(())
}

/// The last name of what a path leads to: `.` and `dir/..` have one, too.
fn name_in_guest(path: &Path) -> std::io::Result<OsString> {
    let name = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => path.canonicalize()?.file_name().map(ToOwned::to_owned),
    };
    name.ok_or_else(|| std::io::Error::other("it has no name of its own"))
}

/// Writes the job's disk: `run.sh`, the payload, if there is one, and what is added.
///
/// What is added comes with its permissions; a symbolic link comes as what it leads to.
pub fn write_job(
    path: &Path,
    run_script: &str,
    payload: Option<&Path>,
    added: &[PathBuf],
) -> Result<()> {
    let cannot = |error| Error::io("write", path, error);
    let file = File::create_new(path).map_err(cannot)?;
    let mut archive = tar::Builder::new(file);
    let mut append = |name: &str, mode: u32, size: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        archive.append_data(&mut header, name, content).map_err(cannot)
    };
    append(RUN_MEMBER, 0o755, run_script.len() as u64, &mut run_script.as_bytes())?;
    if let Some(payload) = payload {
        let mut file = File::open(payload).map_err(|error| Error::io("open", payload, error))?;
        let size = file.metadata().map_err(|error| Error::io("read", payload, error))?.len();
        append("forkproof", 0o755, size, &mut file)?;
    }
    // Owners and times of this host mean nothing there.
    archive.mode(tar::HeaderMode::Deterministic);
    for path in added {
        let cannot = |error| Error::io("read", path, error);
        let name = name_in_guest(path).map_err(cannot)?;
        if path.is_dir() {
            archive.append_dir_all(&name, path).map_err(cannot)?;
        } else {
            archive.append_path_with_name(path, &name).map_err(cannot)?;
        }
    }
    let file = archive.into_inner().map_err(cannot)?;
    // Whole blocks: QEMU rounds a raw disk's size to sectors.
    let size = file.metadata().map_err(cannot)?.len().next_multiple_of(1024 * 1024);
    file.set_len(size).map_err(cannot)
}

/// Writes the result's disk: the stamp, and room.
pub fn write_out(path: &Path, stamp: &Stamp) -> Result<()> {
    let cannot = |error| Error::io("write", path, error);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot)?;
    writeln!(file, "{OUT_MAGIC} {}", stamp.text()).map_err(cannot)?;
    file.set_len(OUT_SIZE).map_err(cannot)
}

/// What a guest wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What `forkproof run` ended with in the guest, 0 to 4; none if it did not even start.
    pub exit_code: Option<u8>,
    /// Why the payload does not run there.
    pub problem: Option<String>,
    /// The members of [`REPORTS`] that are there.
    pub files: BTreeMap<&'static str, Vec<u8>>,
}

/// Why there is no outcome, as the end of the sentence "… wrote no result:".
pub type NoOutcome = String;

/// Reads the result's disk. `Err` inside: there is no result.
pub fn read_out(path: &Path, stamp: &Stamp) -> Result<std::result::Result<Outcome, NoOutcome>> {
    let cannot = |error| Error::io("read", path, error);
    let mut file = File::open(path).map_err(cannot)?;
    let mut first = [0; 512];
    file.read_exact(&mut first).map_err(cannot)?;
    if first.starts_with(format!("{OUT_MAGIC} {}\n", stamp.text()).as_bytes()) {
        return Ok(Err("the stamp is still on the result's disk".into()));
    }
    Ok(read_archive(first.chain(file), stamp))
}

fn read_archive(content: impl Read, stamp: &Stamp) -> std::result::Result<Outcome, NoOutcome> {
    let damaged = |error: std::io::Error| format!("the result's archive is damaged: {error}");
    let mut archive = tar::Archive::new(content);
    let mut members = BTreeMap::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.size() > MEMBER_LIMIT {
            return Err(format!("the result's `{name}` is larger than {MEMBER_LIMIT} bytes"));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(damaged)?;
        if members.insert(name.clone(), content).is_some() {
            return Err(format!("the result has two members `{name}`"));
        }
    }
    let text = |name: &str| members.get(name).map(|bytes| String::from_utf8_lossy(bytes));
    match text("complete") {
        None => return Err("the result's archive ends before its time".into()),
        Some(text) if text.trim_end() != stamp.text() => {
            return Err("the result is another run's".into());
        }
        Some(_) => {}
    }
    let problem = text("problem").map(|text| text.trim().to_owned());
    let exit_code = match text("exitcode") {
        None if problem.is_some() => None,
        None => return Err("the result has no exit code".into()),
        Some(text) => match text.trim_end().parse::<u8>() {
            Ok(code) if EXIT_CODES.contains(&code) => Some(code),
            _ => {
                let text: String = text.trim_end().chars().take(40).collect();
                return Err(format!("the result's exit code is `{}`", text.escape_debug()));
            }
        },
    };
    let files = REPORTS.iter().filter_map(|&name| Some((name, members.remove(name)?))).collect();
    Ok(Outcome { exit_code, problem, files })
}

/// What is taken from a report; its whole schema is `forkproof-report/1`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// The schema's name.
    pub schema: String,
    /// What the run came to: `conformant`, `not-conformant`, `no-verdict`.
    pub conclusion: String,
    /// How many requirements have which verdict.
    pub counts: BTreeMap<String, usize>,
    /// Where it ran.
    pub platform: Platform,
    /// The requirements.
    pub requirements: Vec<Requirement>,
}

/// Where a report was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// The system's name, as uname(3) tells it.
    pub system: String,
    /// The kernel's release.
    pub release: String,
    /// The kernel's machine.
    pub machine: String,
    /// Width of the kernel; 0 when unknown.
    pub kernel_bits: u8,
    /// Width of the program.
    pub userland_bits: u8,
}

/// One requirement of a report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// Its verdict.
    pub verdict: String,
}

impl Report {
    /// Reads a report and holds it against the exit code: two witnesses that disagree are none.
    pub fn read(text: &[u8], exit_code: u8) -> std::result::Result<Self, NoOutcome> {
        let report: Self = serde_json::from_slice(text)
            .map_err(|error| format!("its report cannot be read: {error}"))?;
        if report.schema != "forkproof-report/1" {
            return Err(format!(
                "its report has the schema `{}`, not forkproof-report/1",
                report.schema.escape_debug()
            ));
        }
        let expected = match exit_code {
            0 => "conformant",
            1 => "not-conformant",
            _ => "no-verdict",
        };
        if report.conclusion != expected {
            return Err(format!(
                "its report says `{}`, but the exit code is {exit_code}",
                report.conclusion.escape_debug()
            ));
        }
        let mut counted = BTreeMap::new();
        for requirement in &report.requirements {
            *counted.entry(requirement.verdict.clone()).or_insert(0) += 1;
        }
        let told: BTreeMap<String, usize> =
            report.counts.iter().filter(|(_, n)| **n > 0).map(|(v, n)| (v.clone(), *n)).collect();
        if told != counted {
            return Err("its report's counts are not those of its requirements".into());
        }
        Ok(report)
    }

    /// The requirements with this verdict.
    pub fn with_verdict<'a>(&'a self, verdict: &'a str) -> impl Iterator<Item = &'a str> {
        self.requirements.iter().filter(move |r| r.verdict == verdict).map(|r| r.id.as_str())
    }

    /// "97 passed, 0 failed, …", as the suite says it.
    pub fn summary(&self) -> String {
        let count = |verdict| self.counts.get(verdict).copied().unwrap_or(0);
        let mut words = format!(
            "{} passed, {} failed, {} unsupported, {} not run, {} errors",
            count("pass"),
            count("fail"),
            count("unsupported"),
            count("not-run"),
            count("error")
        );
        for (verdict, word) in [("xfail", "failed as expected"), ("xpass", "passed unexpectedly")] {
            if count(verdict) > 0 {
                words.push_str(&format!(", {} {word}", count(verdict)));
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn archive(members: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_bytes()).expect("appended");
        }
        builder.into_inner().expect("finished")
    }

    fn outcome(bytes: &[u8], stamp: &Stamp) -> std::result::Result<Outcome, NoOutcome> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        write_out(&path, stamp).expect("written");
        let mut file = OpenOptions::new().write(true).open(&path).expect("opened");
        file.write_all(bytes).expect("written");
        drop(file);
        read_out(&path, stamp).expect("read")
    }

    #[test]
    fn a_whole_result_is_read() {
        let stamp = Stamp::new();
        let bytes =
            archive(&[("exitcode", "1\n"), ("report.json", "{}"), ("complete", stamp.text())]);
        let outcome = outcome(&bytes, &stamp).expect("a result");
        assert_eq!(outcome.exit_code, Some(1));
        assert_eq!(outcome.files["report.json"], b"{}");
    }

    #[rstest::rstest]
    #[case::nothing(&[], "stamp is still")]
    #[case::no_end(&[("exitcode", "0")], "ends before its time")]
    #[case::foreign(&[("exitcode", "0"), ("complete", "00ff")], "another run's")]
    #[case::no_code(&[("report.json", "{}"), ("complete", "STAMP")], "no exit code")]
    #[case::nonsense(&[("exitcode", "PASS"), ("complete", "STAMP")], "exit code is `PASS`")]
    #[case::empty(&[("exitcode", ""), ("complete", "STAMP")], "exit code is ``")]
    #[case::killed(&[("exitcode", "137"), ("complete", "STAMP")], "exit code is `137`")]
    #[case::twice(&[("exitcode", "1"), ("exitcode", "0"), ("complete", "STAMP")], "two members")]
    fn what_is_no_result(#[case] members: &[(&str, &str)], #[case] words: &str) {
        let stamp = Stamp::new();
        let members: Vec<(&str, &str)> = members
            .iter()
            .map(|&(name, text)| (name, if text == "STAMP" { stamp.text() } else { text }))
            .collect();
        let bytes = if members.is_empty() { Vec::new() } else { archive(&members) };
        let reason = outcome(&bytes, &stamp).expect_err("no result");
        assert!(reason.contains(words), "{reason}");
    }

    /// Cut anywhere, an archive is never a result.
    #[test]
    fn half_a_result_is_none() {
        let stamp = Stamp::new();
        let report = "x".repeat(3000);
        let whole =
            archive(&[("exitcode", "0\n"), ("report.json", &report), ("complete", stamp.text())]);
        // The two zero blocks at the end say nothing more.
        let last = whole.len() - 1024 - 512;
        for length in (0..=last).step_by(256) {
            let found = outcome(&whole[..length], &stamp);
            assert!(found.is_err(), "cut at {length} of {}: {found:?}", whole.len());
        }
        assert!(outcome(&whole, &stamp).is_ok());
    }

    #[test]
    fn a_job_begins_with_its_script() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("in");
        let server = dir.path().join("server");
        std::fs::create_dir(&server).expect("made");
        std::fs::write(server.join("run"), "#!/bin/sh\n").expect("written");
        std::fs::set_permissions(server.join("run"), PermissionsExt::from_mode(0o755))
            .expect("set");
        let manifest = dir.path().join("server.toml");
        std::fs::write(&manifest, "").expect("written");
        let added = [manifest, server];
        require_added(&added).expect("accepted");
        let payload = std::env::current_exe().expect("this test");
        write_job(&path, "echo", Some(&payload), &added).expect("written");
        let bytes = std::fs::read(&path).expect("read");
        assert!(bytes.starts_with(b"run.sh\0"));
        assert_eq!(bytes.len() % (1024 * 1024), 0);
        let members: Vec<_> = tar::Archive::new(&bytes[..])
            .entries()
            .expect("an archive")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let name = entry.path().expect("a path").to_string_lossy().into_owned();
                (name, entry.header().mode().expect("a mode") & 0o777)
            })
            .collect();
        let named = |name: &str, mode| (name.to_owned(), mode);
        assert_eq!(
            members,
            [
                named("run.sh", 0o755),
                named("forkproof", 0o755),
                named("server.toml", 0o644),
                named("server/", 0o755),
                named("server/run", 0o755),
            ]
        );
    }

    #[rstest::rstest]
    #[case(&["missing"], "No such file")]
    #[case(&["a/forkproof"], "`forkproof` in the guest is forkproof's own")]
    #[case(&["a/x", "b/x"], "a/x would have the same name there")]
    #[case(&["/"], "it has no name of its own")]
    fn what_cannot_be_added(#[case] added: &[&str], #[case] words: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["a/forkproof", "a/x", "b/x"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let added: Vec<_> = added.iter().map(|name| dir.path().join(name)).collect();
        let error = require_added(&added).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_status(), 2);
    }

    fn report(conclusion: &str, passes: usize) -> String {
        format!(
            r#"{{"schema": "forkproof-report/1", "conclusion": "{conclusion}",
            "counts": {{"pass": {passes}, "fail": 0}},
            "platform": {{"system": "Linux", "release": "6", "machine": "i686", "kernel_bits": 32,
            "userland_bits": 32}},
            "requirements": [{{"id": "a/b", "verdict": "pass"}}]}}"#
        )
    }

    #[rstest::rstest]
    #[case(0, report("conformant", 1), None)]
    #[case(1, report("not-conformant", 1), None)]
    #[case(3, report("no-verdict", 1), None)]
    #[case(0, report("not-conformant", 1), Some("says `not-conformant`, but the exit code is 0"))]
    #[case(0, report("conformant", 2), Some("counts"))]
    #[case(0, report("conformant", 1).replace("report/1", "report/9"), Some("schema"))]
    #[case(0, "PASS".into(), Some("cannot be read"))]
    fn a_report_must_agree(#[case] code: u8, #[case] text: String, #[case] words: Option<&str>) {
        let found = Report::read(text.as_bytes(), code);
        match words {
            None => assert!(found.is_ok(), "{found:?}"),
            Some(words) => {
                let reason = found.expect_err("it must be refused");
                assert!(reason.contains(words), "{reason}");
            }
        }
    }
}
