//! What comes back from a guest.
//!
//! The result's disk holds a stamp that no other run has; the guest overwrites it with a tar, whose
//! last member repeats the stamp. **The verdict is the member `exitcode` alone.** What the console
//! said, and how QEMU ended, is no part of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use forkproof_report::{ExitStatus, Report};
use settings::printable;

use super::archive::{Known, read_members};
use super::disks::OUT_MAGIC;
use super::stamp::Stamp;
use crate::error::{Error, Result};

/// No report is larger, bytes; a limit for all members together is in `archive`.
const REPORT_LIMIT: u64 = 32 * 1024 * 1024;
/// No other member is larger, bytes: a number, a stamp, what a loader said.
const OWN_LIMIT: u64 = 64 * 1024;
/// The members of a result that people read.
pub(crate) const REPORTS: [&str; 5] =
    ["report.json", "junit.xml", "summary.md", "output.log", "facts.json"];
/// Its other members.
const OWN: [&str; 3] = ["exitcode", "problem", "complete"];

/// What a guest wrote.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What `forkproof run` ended with in the guest; none if it did not even start.
    pub(crate) status: Option<ExitStatus>,
    /// Why the payload does not run there.
    pub(crate) problem: Option<String>,
    /// The members of [`REPORTS`] that are there.
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
}

/// Why there is no outcome, as the end of the sentence "… wrote no result:".
pub(crate) type NoOutcome = String;

/// Reads the result's disk. `Err` inside: there is no result.
pub(crate) fn read_out(
    path: &Path,
    stamp: &Stamp,
) -> Result<std::result::Result<Outcome, NoOutcome>> {
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
    let reports = REPORTS.map(|name| Known { name, limit: REPORT_LIMIT });
    let own = OWN.map(|name| Known { name, limit: OWN_LIMIT });
    let mut members = read_members(content, &[&reports[..], &own].concat())?;
    let text = |name: &str| members.get(name).map(|bytes| String::from_utf8_lossy(bytes));
    match text("complete") {
        None => return Err("the result's archive ends before its time".into()),
        Some(text) if text.trim_end() != stamp.text() => {
            return Err("the result is another run's".into());
        }
        Some(_) => {}
    }
    let problem = text("problem").map(|text| text.trim().to_owned());
    let status = match text("exitcode") {
        None if problem.is_some() => None,
        None => return Err("the result has no exit code".into()),
        Some(text) => {
            let code = text.trim_end().parse().ok();
            Some(code.and_then(ExitStatus::from_code).ok_or_else(|| {
                let text: String = text.trim_end().chars().take(40).collect();
                format!("the result's exit code is `{}`", printable(&text))
            })?)
        }
    };
    let files = REPORTS.iter().filter_map(|&name| Some((name, members.remove(name)?))).collect();
    Ok(Outcome { status, problem, files })
}

/// Reads a report and holds it against the exit status: two witnesses that disagree are none.
pub(crate) fn read_report(
    text: &[u8],
    status: ExitStatus,
) -> std::result::Result<Report, NoOutcome> {
    let report = Report::parse(text).map_err(|why| format!("its report.json {why}"))?;
    if report.conclusion.exit_status() != status {
        return Err(format!(
            "its report says `{}`, but the exit code is {}",
            report.conclusion.words(),
            status.code()
        ));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::super::disks::write_out;
    use super::*;

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
        assert_eq!(outcome.status, Some(ExitStatus::NotConformant));
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

    /// A tar of one header, and of what belongs to it.
    fn member(name: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).expect("short");
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        let mut bytes = [header.as_bytes().as_slice(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    /// As GNU tar writes a file that is one hole: 512 bytes that would be `size`.
    fn hole(name: &str, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).expect("short");
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(0);
        let gnu = header.as_gnu_mut().expect("GNU's");
        gnu.set_real_size(size);
        gnu.sparse[0].set_offset(size);
        gnu.sparse[0].set_length(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn pax(key: &str, value: &str) -> Vec<u8> {
        let mut record = format!(" {key}={value}\n");
        let length = (record.len()..).find(|n| n.to_string().len() + record.len() == *n);
        record.insert_str(0, &length.expect("a length").to_string());
        member("pax", b'x', record.len() as u64, record.as_bytes())
    }

    #[rstest::rstest]
    #[case::sparse(hole("output.log", 31 << 20), "`output.log` is sparse")]
    #[case::sparse_and_large(hole("output.log", 8 << 30), "`output.log` is sparse")]
    #[case::sparse_by_pax(pax("GNU.sparse.realsize", "99999999999"), "a sparse member")]
    #[case::size_by_pax(pax("size", "1"), "gives a member another `size`")]
    #[case::name_by_pax(pax("path", "exitcode"), "gives a member another `path`")]
    #[case::large_pax(member("pax", b'x', 1 << 20, &[0; 1 << 20]), "extended header is larger")]
    #[case::much_pax(pax("mtime", "1").repeat(17), "has 17 extended headers")]
    #[case::long_name(member("././@LongLink", b'L', 9, b"exitcode\0"), "foreign member")]
    #[case::foreign(member("x\u{1b}[2J", b'0', 0, b""), "foreign member `x\u{fffd}[2J`")]
    #[case::many(member("x", b'0', 0, b"").repeat(5000), "foreign member")]
    #[case::a_link(member("output.log", b'2', 0, b""), "`output.log` is no plain file")]
    #[case::large(member("output.log", b'0', 1 << 40, b""), "larger than")]
    #[case::large_code(member("problem", b'0', 1 << 20, &[b'x'; 1 << 20]), "larger than 65536")]
    #[case::cut(member("output.log", b'0', 200, b""), "is damaged")]
    fn what_a_lying_guest_writes(#[case] lie: Vec<u8>, #[case] words: &str) {
        let stamp = Stamp::new();
        // Of what comes before it, an extension is a part.
        let honest =
            archive(&[("exitcode", "0"), ("report.json", "{}"), ("complete", stamp.text())]);
        let found = outcome(&[lie, honest].concat(), &stamp).map(|outcome| outcome.status);
        let reason = found.expect_err("no result");
        assert!(reason.contains(words), "{reason}");
    }

    /// Each of them small enough.
    #[test]
    fn a_sum_has_a_limit() {
        let stamp = Stamp::new();
        let large = "x".repeat(22 << 20);
        let mut members = vec![("exitcode", "0"), ("report.json", "{}")];
        members.extend(["junit.xml", "summary.md", "output.log"].map(|name| (name, &*large)));
        members.push(("complete", stamp.text()));
        let reason = outcome(&archive(&members), &stamp).map(|o| o.status).expect_err("no result");
        assert!(reason.contains("larger than 67108864 bytes"), "{reason}");
        members.remove(4);
        assert!(outcome(&archive(&members), &stamp).is_ok());
    }

    /// FreeBSD's tar says more of a member than its header, where its file has flags.
    #[test]
    fn pax_may_say_what_changes_nothing() {
        let stamp = Stamp::new();
        let flags = pax("SCHILY.fflags", "uarch");
        let honest = archive(&[("exitcode", "0"), ("complete", stamp.text())]);
        assert!(outcome(&[flags, honest].concat(), &stamp).is_ok());
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

    fn report(conclusion: &str, passes: usize) -> String {
        format!(
            r#"{{"schema": "forkproof-report/1", "forkproof": "0", "started": "2026-01-01T00:00:00Z",
            "duration_ms": 1, "target": {{"name": "t", "program": "t"}},
            "options": {{"jobs": 1, "repeat": 1, "slowness": 1.0}}, "interrupted": false,
            "conclusion": "{conclusion}", "counts": {{"pass": {passes}, "fail": 0}},
            "platform": {{"system": "Linux", "release": "6", "machine": "i686", "kernel_bits": 32,
            "userland_bits": 32, "libc": "glibc", "processors": 1, "file_system": "tmpfs",
            "root": true}},
            "requirements": [{{"id": "a/b", "title": "t", "level": "must", "clause": "c",
            "verdict": "pass", "runs": 1, "not_passed": 0, "duration_ms": 1}}]}}"#
        )
    }

    #[rstest::rstest]
    #[case(0, report("conformant", 1), None)]
    #[case(1, report("not-conformant", 1), None)]
    #[case(3, report("no-verdict", 1), None)]
    #[case(0, report("not-conformant", 1), Some("says `not conformant`, but the exit code is 0"))]
    #[case(0, report("conformant", 2), Some("counts"))]
    #[case(0, report("conformant", 1).replace("report/1", "report/9"), Some("schema"))]
    #[case(0, "PASS".into(), Some("report.json is not JSON"))]
    fn a_report_must_agree(#[case] code: u8, #[case] text: String, #[case] words: Option<&str>) {
        let status = ExitStatus::from_code(code).expect("a status");
        let found = read_report(text.as_bytes(), status);
        match words {
            None => assert!(found.is_ok(), "{found:?}"),
            Some(words) => {
                let reason = found.expect_err("it must be refused");
                assert!(reason.contains(words), "{reason}");
            }
        }
    }

    /// Whatever a guest writes, it is read in bounded memory, or refused in one harmless line.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] = &[
            b"exitcode",
            b"complete",
            b"77777777777",
            b"S",
            b"x",
            b"30 GNU.sparse.realsize=99999\n",
            &[0; 512],
        ];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/result");
        let stamp = Stamp::new();
        forkproof_fuzz::fuzz(Path::new(corpus), TOKENS, |bytes| {
            match read_archive(bytes, &stamp) {
                Ok(outcome) => {
                    let sum: usize = outcome.files.values().map(Vec::len).sum();
                    assert!(sum <= bytes.len(), "{sum} bytes of {}", bytes.len());
                }
                Err(why) => assert!(!why.contains(char::is_control), "{}", why.escape_debug()),
            }
        });
    }
}
