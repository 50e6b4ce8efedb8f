//! The catalogue for people and for programs: requirements, and the personalities that break them.

use std::fmt::Write;

use super::document::json;
use super::look::{BOLD, DIM};
use crate::needs::Need;
use crate::personality::{self, Personality};
use crate::requirement::{Controls, Requirement};
use crate::requirements;
use crate::stop::Stop;

/// The catalogue as a list.
pub fn list(requirements: &[&'static Requirement]) -> String {
    let mut text = String::new();
    let mut area = "";
    for requirement in requirements {
        if requirement.area() != area {
            area = requirement.area();
            let _ =
                writeln!(text, "{}{BOLD}{area}{BOLD:#}", if text.is_empty() { "" } else { "\n" });
        }
        let mark = format!("{:<6}", requirement.level.word());
        let _ = writeln!(text, "  {DIM}{mark}{DIM:#} {:<46} {}", requirement.id, requirement.title);
    }
    text
}

/// One requirement in full.
pub fn explanation(requirement: &Requirement) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{BOLD}{}{BOLD:#} ({})\n", requirement.id, requirement.level.word());
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{BOLD}{:<10}{BOLD:#} {value}", format!("{name}:"));
    };
    field("Required", requirement.title);
    field("Source", requirement.clause);
    field("Trap", requirement.trap);
    field("Fix", requirement.fix);
    let seen: Vec<String> =
        requirement.references.iter().map(|reference| address_of(reference)).collect();
    if !seen.is_empty() {
        field("Seen in", &seen.join("\n           "));
    }
    if !requirement.needs.is_empty() {
        let needs: Vec<String> =
            requirement.needs.iter().map(|need| need.words().to_owned()).collect();
        field("Needs", &needs.join(", "));
    }
    if !requirement.claims.is_empty() {
        let claims: Vec<&str> = requirement.claims.iter().map(|claim| claim.word()).collect();
        field("Claims", &claims.join(", "));
    }
    match requirement.controls {
        Controls::By(controls) => {
            let names: Vec<String> = controls
                .iter()
                .map(|control| {
                    format!("forkproof run {} --as {}", requirement.id, control.personality)
                })
                .collect();
            field("Broken by", &names.join("\n           "));
        }
        Controls::None(why) => field("Broken by", &format!("nothing: {why}")),
    }
    let here = match Need::first_missing(requirement.needs) {
        None => "can be checked".to_owned(),
        Some(Stop::Unsupported(reason)) => format!("unsupported: {reason}"),
        Some(Stop::NotRun(reason) | Stop::Error(reason)) => {
            format!("cannot be run: {reason}")
        }
        Some(Stop::Fail(failure) | Stop::Blocked(failure)) => failure.actual,
    };
    field("Here", &here);
    field("Code", &format!("conformance/src/requirements/{}.rs", requirement.area()));
    field("Run it", &format!("forkproof run {} --keep", requirement.id));
    text
}

/// Where `owner/repo#number` is to be read; GitHub leads from an issue's address to a pull request's.
pub(super) fn address_of(reference: &str) -> String {
    format!("https://github.com/{}", reference.replace('#', "/issues/"))
}

/// The personalities as a list.
pub fn personalities() -> String {
    personality::all().iter().map(entry).collect()
}

fn entry(personality: &Personality) -> String {
    let mut text = String::new();
    let value = if personality.parameter.is_some() { "[=VALUE]" } else { "" };
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}{value}", personality.name);
    let _ = writeln!(text, "    {}", personality.imitates);
    if let Some(parameter) = &personality.parameter {
        let _ = writeln!(text, "    VALUE: {}", personality::values(parameter));
    }
    let _ = writeln!(text, "    {DIM}{}{DIM:#}", personality.source);
    text
}

/// One personality, how to use it, and what it breaks.
pub fn personality(personality: &Personality) -> String {
    let mut text = entry(personality);
    let name = personality.name;
    let _ = writeln!(text, "\n{BOLD}Use it:{BOLD:#}  forkproof run --as {name}");
    let _ = writeln!(text, "         forkproof as {name} -- COMMAND");
    let mut head = "Breaks:";
    for requirement in requirements::all() {
        let Controls::By(controls) = requirement.controls else { continue };
        let mut names = controls.iter().flat_map(|control| control.personality.split(','));
        if names.any(|one| one.split('=').next() == Some(name)) {
            let _ = writeln!(text, "{BOLD}{head:<8}{BOLD:#} {}", requirement.id);
            head = "";
        }
    }
    text
}

/// The catalogue as JSON: a list of objects with the fields of a requirement.
pub fn as_json(requirements: &[&'static Requirement]) -> serde_json::Result<String> {
    let list: Vec<serde_json::Value> = requirements
        .iter()
        .map(|requirement| {
            serde_json::json!({
                "id": requirement.id,
                "title": requirement.title,
                "level": requirement.level,
                "clause": requirement.clause,
                "trap": requirement.trap,
                "fix": requirement.fix,
                "references": requirement.references,
                "needs": requirement.needs,
                "claims": requirement.claims,
                "exclusive": requirement.exclusive,
                // Why it cannot be checked here; null when it can.
                "missing": Need::first_missing(requirement.needs).map(|stop| match stop {
                    Stop::Unsupported(reason) | Stop::NotRun(reason) | Stop::Error(reason) => reason,
                    Stop::Fail(failure) | Stop::Blocked(failure) => failure.actual,
                }),
                "controls": match requirement.controls {
                    Controls::By(controls) => controls.iter().map(|c| c.personality).collect(),
                    Controls::None(_) => Vec::new(),
                },
            })
        })
        .collect();
    json(&list)
}
