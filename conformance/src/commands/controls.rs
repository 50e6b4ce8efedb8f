//! `forkproof controls`: the proof that every requirement can fail, and fails for the right reason.

use std::collections::BTreeMap;
use std::fmt::Write;

use forkproof_report::{ExitStatus, Verdict};

use super::arguments::{Selection, catch_interrupts, parse_scale};
use super::outcome::{CommandError, CommandResult, say};
use super::private::private_dir;
use crate::controls::{Answer, Proof};
use crate::personality;
use crate::requirement::{Controls, Requirement};
use crate::subject::Target;

/// A personality that trips more than this share of the catalogue says too little.
const BLUNT: f64 = 0.5;

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 all caught · 1 a requirement passed under its control or failed \
for the wrong reason, or a control changed nothing · 2 usage · 3 not all could be run · 4 nothing was selected.";

/// The options of `forkproof controls`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Check every selected requirement under every personality, and show which ones fail
    #[arg(long)]
    reverse: bool,

    /// Run this many checks at a time [default: eight per processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Multiply all deadlines by this
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_scale)]
    deadline_scale: f64,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let requirements = arguments.selection.requirements()?;
    let references = Target::references().map_err(CommandError::no_verdict)?;
    for target in &references {
        personality::refuse_uninterposable(&target.program).map_err(CommandError::no_verdict)?;
    }
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let jobs = arguments.jobs.map(usize::from);
    let proof = Proof::new(references, dir.path().to_owned(), jobs, arguments.deadline_scale);
    if arguments.reverse { reverse(&proof, &requirements) } else { forward(&proof, &requirements) }
}

fn forward(proof: &Proof, requirements: &[&'static Requirement]) -> CommandResult {
    let begin = std::time::Instant::now();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let total = proof.forward(requirements, |(requirement, control), answer| {
        *counts.entry(answer.word()).or_default() += 1;
        let mut line =
            format!("{:<13}{:<46} × {}", answer.word(), requirement.id, control.personality);
        match &answer {
            Answer::WrongReason(why) | Answer::NotRun(why) | Answer::Error(why) => {
                let _ = write!(line, "\n    {}", settings::printable(why));
            }
            Answer::Missed => {
                let _ = write!(line, "\n    it should have failed with: {}", control.words);
            }
            Answer::Caught | Answer::Void => {}
        }
        let _ = say(&format!("{line}\n"));
    });
    let mut text = String::new();
    for requirement in requirements {
        if let Controls::None(why) = requirement.controls {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "no control   {:<46} {why}", requirement.id);
        }
    }
    let seen: usize = counts.values().sum();
    let counted: Vec<String> =
        counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let controlled = requirements.iter().filter(|r| matches!(r.controls, Controls::By(_))).count();
    let _ = writeln!(
        text,
        "\n{controlled} of {} requirements have controls: {seen} of {total} controls run, {}  \
         ({:.1} s)",
        requirements.len(),
        counted.join(", "),
        begin.elapsed().as_secs_f64()
    );
    say(&text)?;
    let count = |word: &str| counts.get(word).copied().unwrap_or(0);
    Ok(if count("missed") + count("void") + count("wrong reason") > 0 {
        ExitStatus::NotConformant
    } else if count("error") > 0 || seen < total || count("caught") == 0 {
        ExitStatus::NoVerdict
    } else {
        ExitStatus::Conformant
    })
}

fn reverse(proof: &Proof, requirements: &[&'static Requirement]) -> CommandResult {
    let mut tripped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = 0;
    let total = proof.reverse(requirements, |personality, requirement, verdict| {
        seen += 1;
        match verdict {
            Verdict::Fail => tripped.entry(personality).or_default().push(requirement.id),
            Verdict::Pass => {}
            _ => return,
        }
        *checked.entry(personality).or_default() += 1;
    });
    let mut text = String::new();
    for personality in personality::all() {
        let mut ids = tripped.remove(personality.name).unwrap_or_default();
        ids.sort_unstable();
        let of = checked.get(personality.name).copied().unwrap_or(0);
        let share = ids.len() as f64 / of.max(1) as f64;
        let blunt = if share > BLUNT { ", blunt" } else { "" };
        let _ = writeln!(text, "{}: {} of {of}{blunt}", personality.name, ids.len());
        for id in ids {
            let _ = writeln!(text, "    {id}");
        }
    }
    say(&text)?;
    Ok(if seen == total { ExitStatus::Conformant } else { ExitStatus::NoVerdict })
}
