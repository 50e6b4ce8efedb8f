//! The platforms that results are kept of, and what was seen of a requirement on them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use forkproof_report::{Report, Verdict};
use serde::Serialize;
use settings::printable;

use super::look::{Look, NOT_SELECTED, look};
use super::matrix::platform_lines;
use crate::requirements;
use crate::results::{self, Platform};

/// The verdicts that the page counts, in its order.
const COUNTED: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Blocked,
    Verdict::Error,
    Verdict::NotRun,
    Verdict::Unsupported,
];

/// A platform as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct PlatformView {
    id: String,
    name: String,
    commit: String,
    how: String,
    remarks: Vec<String>,
    runs: Vec<RunView>,
    /// How many requirements its reports have, and what was seen of them.
    asked: usize,
    passed: usize,
    failed: usize,
    /// All others.
    not_run: usize,
}

/// A report of a platform.
#[derive(Debug, Serialize)]
struct RunView {
    /// The server and the user.
    what: String,
    kernel: String,
    architecture: String,
    width: String,
    libc: String,
    date: String,
    line: String,
    summary: String,
    /// How many requirements the report has.
    asked: usize,
    counts: Vec<(Look, usize)>,
    troubles: Vec<(Look, Vec<Addressed>)>,
}

/// An id, and its address if the catalogue has it still.
type Addressed = (String, Option<String>);

/// What was seen of a requirement: a verdict, and where.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    look: Look,
    platforms: Vec<Where>,
}

#[derive(Debug, Serialize)]
struct Where {
    id: String,
    name: String,
    /// In which of the platform's reports, where not in all.
    runs: Option<String>,
}

/// The looks of the verdicts that are counted.
pub(super) fn counted() -> Vec<Look> {
    COUNTED.into_iter().map(look).collect()
}

/// The platforms as they are shown; pages end with `extension`.
pub(super) fn views(platforms: &[Platform], extension: &str) -> Vec<PlatformView> {
    platforms.iter().map(|platform| view(platform, extension)).collect()
}

fn view(platform: &Platform, extension: &str) -> PlatformView {
    let entries = platform.reports.iter().flat_map(|report| &report.requirements);
    let ids: BTreeSet<&str> = entries.map(|entry| entry.id.as_str()).collect();
    let count = |verdicts: [Verdict; 2]| {
        let seen = ids.iter().filter_map(|id| platform.seen(id));
        seen.filter(|verdict| verdicts.contains(verdict)).count()
    };
    let passed = count([Verdict::Pass, Verdict::Xpass]);
    let failed = count([Verdict::Fail, Verdict::Xfail]);
    PlatformView {
        id: platform.id.clone(),
        name: printable(&platform.about.name),
        commit: printable(&platform.about.commit),
        how: printable(&platform.about.how),
        remarks: platform.about.remarks.iter().map(|remark| printable(remark)).collect(),
        runs: platform.reports.iter().map(|report| run(report, extension)).collect(),
        asked: ids.len(),
        passed,
        failed,
        not_run: ids.len() - passed - failed,
    }
}

fn run(report: &Report, extension: &str) -> RunView {
    let facts = &report.platform;
    let mut troubles: Vec<Verdict> =
        Verdict::ALL.into_iter().filter(|v| v.is_trouble() || *v == Verdict::Xfail).collect();
    troubles.sort_by_key(|verdict| Reverse(verdict.gravity()));
    let address = |id: &str| {
        let (area, name) = id.split_once('/')?;
        requirements::find(id).map(|_| format!("{area}.{extension}#{name}"))
    };
    // The first line names the system, which has a column of its own.
    let width = platform_lines(facts).into_iter().nth(1).unwrap_or_default();
    RunView {
        what: printable(&results::run(report)),
        kernel: printable(&format!("{} {}", facts.system, facts.release)),
        architecture: printable(&facts.machine),
        width: width.split(" (").next().unwrap_or_default().to_owned(),
        libc: printable(&facts.libc),
        date: printable(results::date(report)),
        line: printable(&facts.line()),
        summary: report.summary(),
        asked: report.requirements.len(),
        counts: COUNTED.into_iter().map(|v| (look(v), report.count(v))).collect(),
        troubles: troubles
            .into_iter()
            .map(|verdict| {
                let ids = report.with_verdict(verdict);
                (
                    look(verdict),
                    ids.map(|id| (printable(id), address(id))).collect::<Vec<Addressed>>(),
                )
            })
            .filter(|(_, ids)| !ids.is_empty())
            .collect(),
    }
}

/// What was seen of a requirement, the gravest first.
pub(super) fn seen(platforms: &[Platform], id: &str) -> Vec<Seen> {
    let mut seen: Vec<(Option<Verdict>, Vec<Where>)> = Vec::new();
    // A platform of which there are facts alone has seen nothing.
    for platform in platforms.iter().filter(|platform| !platform.reports.is_empty()) {
        let verdict = platform.seen(id);
        let runs = match verdict {
            // That it passes is what is expected of all that ask it.
            None | Some(Verdict::Pass | Verdict::Unsupported) => None,
            Some(verdict) => platform.where_seen(id, verdict),
        };
        let place = Where {
            id: platform.id.clone(),
            name: printable(&platform.about.name),
            runs: runs.map(|runs| printable(&runs)),
        };
        match seen.iter_mut().find(|(known, _)| *known == verdict) {
            Some((_, places)) => places.push(place),
            None => seen.push((verdict, vec![place])),
        }
    }
    // What was not asked comes last.
    seen.sort_by_key(|(verdict, _)| Reverse(verdict.map(|verdict| verdict.gravity())));
    seen.into_iter()
        .map(|(verdict, platforms)| Seen { look: verdict.map_or(NOT_SELECTED, look), platforms })
        .collect()
}
