//! The report of a run.

use std::collections::BTreeMap;

use forkproof_report::{Entry, Facts, Rehearsal, Report, RunOptions, SCHEMA, TargetInfo, Verdict};

use super::execution::{Execution, Record};
use super::plan::Plan;
use crate::requirement::Requirement;
use crate::requirements;

/// Tells a run.
pub fn report(plan: &Plan, execution: &Execution, facts: Facts, started: String) -> Report {
    let mut entries = Vec::new();
    for &requirement in &plan.requirements {
        let records: Vec<_> = execution
            .records
            .iter()
            .filter(|record| std::ptr::eq(record.requirement, requirement))
            .collect();
        // Without one the run ended before it was reached.
        entries.extend(entry(requirement, &records, plan.target.rehearse));
    }
    let mut counts: BTreeMap<String, usize> =
        Verdict::ALL.iter().map(|verdict| (verdict.word().to_owned(), 0)).collect();
    for entry in &entries {
        *counts.entry(entry.verdict.word().to_owned()).or_default() += 1;
    }
    Report {
        schema: SCHEMA.to_owned(),
        forkproof: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        duration_ms: execution.duration.as_millis() as u64,
        platform: facts,
        target: TargetInfo {
            name: plan.target.name.clone(),
            program: plan.target.program.display().to_string(),
            manifest: plan.target.file.as_ref().map(|file| file.display().to_string()),
            claims: plan.target.claims().iter().map(|claim| claim.word().to_owned()).collect(),
        },
        rehearsal: execution.rehearsal.as_ref().map(|finding| Rehearsal {
            reason: finding.reason.clone().unwrap_or_default(),
            evidence: finding.evidence.clone(),
        }),
        options: RunOptions {
            command: plan.command.clone(),
            personality: plan.personality.clone(),
            selected: plan.requirements.len(),
            catalogue: requirements::all().count(),
            jobs: plan.jobs,
            repeat: plan.repeat,
            slowness: (execution.slowness * 100.0).round() / 100.0,
        },
        conclusion: execution.conclusion(),
        interrupted: execution.interrupted,
        counts,
        requirements: entries,
    }
}

/// What is told of one requirement that was checked, once or several times; of a `foreign` server also
/// which of its claims led to the question.
pub fn entry(
    requirement: &'static Requirement,
    records: &[&Record],
    foreign: bool,
) -> Option<Entry> {
    // The worst speaks for all.
    let worst = records.iter().max_by_key(|r| r.finding.verdict.gravity())?;
    let finding = &worst.finding;
    let covered_by = finding.failure.as_ref().and_then(|f| f.covered_by.clone());
    // Of what the requirement is about, and only where that was reached.
    let advised = matches!(finding.verdict, Verdict::Fail | Verdict::Xfail) && covered_by.is_none();
    let held = records.iter().filter(|r| r.finding.verdict.holds()).count();
    let reason = match (finding.verdict, &worst.exception) {
        (Verdict::Xpass, Some(exception)) => {
            Some(exception.stale(requirement.id, held, records.len()))
        }
        _ => finding.reason.clone(),
    };
    Some(Entry {
        id: requirement.id.to_owned(),
        title: requirement.title.to_owned(),
        level: requirement.level,
        clause: requirement.clause.to_owned(),
        verdict: finding.verdict,
        runs: records.len(),
        not_passed: records.len() - held,
        duration_ms: records.iter().map(|r| r.duration.as_millis() as u64).max().unwrap_or(0),
        reason,
        expected: finding.failure.as_ref().map(|failure| failure.expected.clone()),
        actual: finding.failure.as_ref().map(|failure| failure.actual.clone()),
        covered_by,
        trap: advised.then(|| requirement.trap.to_owned()),
        fix: advised.then(|| requirement.fix.to_owned()),
        claimed: match finding.verdict {
            Verdict::Fail | Verdict::Xfail if foreign => {
                requirement.claims.iter().map(|claim| claim.word().to_owned()).collect()
            }
            _ => Vec::new(),
        },
        note: finding.note.clone(),
        evidence: finding.evidence.clone(),
        directory: worst.dir.as_ref().map(|dir| dir.display().to_string()),
        baseline: worst.exception.clone(),
    })
}
