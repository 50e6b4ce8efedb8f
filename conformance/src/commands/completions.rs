//! `forkproof completions`: a script for a shell, made from the command lines, in which what can be
//! named is there too: requirements, personalities, images.

use clap::builder::{PossibleValue, PossibleValuesParser, Resettable};
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use super::manual::Program;
use super::outcome::{CommandResult, print};
use crate::{personality, requirements as catalogue};
use forkproof_report::Verdict;

/// The arguments of `forkproof completions`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,

    /// Complete this program instead of forkproof
    #[arg(long, value_enum, default_value_t = Program::Forkproof)]
    program: Program,
}

/// The command.
pub(super) fn main(arguments: &Arguments, own: Command) -> CommandResult {
    let mut command = with_names(arguments.program.command(own));
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if arguments.shell == Shell::Fish {
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            let within = format!("__fish_forkproof_using_subcommand {name}");
            fish_operands(subcommand, &within, &mut script);
            for inner in subcommand.get_subcommands() {
                let within =
                    format!("{within}; and __fish_seen_subcommand_from {}", inner.get_name());
                fish_operands(inner, &within, &mut script);
            }
        }
    }
    print(&script)
}

/// What clap_complete leaves out for fish: what can stand where no option is.
fn fish_operands(command: &Command, within: &str, script: &mut String) {
    let names = command
        .get_positionals()
        .filter(|argument| !argument.is_last_set())
        .flat_map(Arg::get_possible_values)
        .map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.replace('\\', "\\\\").replace('\'', "\\'");
            format!("{}\\t'{help}'", value.get_name())
        });
    let names = names.collect::<Vec<_>>().join("\n");
    if !names.is_empty() {
        let names = names.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        script.push_str(&format!("complete -c forkproof -n \"{within}\" -f -a \"{names}\"\n"));
    }
}

/// The same command line, of whose arguments scripts know what they can be. It is for scripts
/// alone: a glob is none of the values.
fn with_names(command: Command) -> Command {
    let subcommands: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    subcommands.iter().fold(command.mut_args(with_values), |command, name| {
        command.mut_subcommand(name, with_names)
    })
}

fn with_values(argument: Arg) -> Arg {
    if !argument.get_action().takes_values() {
        return argument;
    }
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    // What each is, is told once: with `explain` and `as`. A script is read whenever a shell starts.
    let bare = |values: Vec<PossibleValue>| -> Vec<PossibleValue> {
        values.into_iter().map(|value| value.help(Resettable::Reset)).collect()
    };
    let values = match name.as_deref() {
        Some("GLOB" | "ID") => bare(requirements()),
        Some("PERSONALITY") => personalities(),
        Some("PERSONALITY,…") => bare(personalities()),
        Some("WORD") => {
            let verdicts = Verdict::ALL.map(|verdict| PossibleValue::new(verdict.word()));
            [requirements(), bare(personalities()), verdicts.into()].concat()
        }
        #[cfg(feature = "vm")]
        Some("IMAGE") => {
            forkproof_vm::image_ids().into_iter().map(PossibleValue::new).collect::<Vec<_>>()
        }
        // Shells offer files where nothing is said.
        Some(name)
            if !["FILE", "DIR", "PATH", "REPORT", "COMMAND", "MANIFEST", "OPTIONS"]
                .iter()
                .any(|word| name.contains(word)) =>
        {
            return argument.value_hint(ValueHint::Other);
        }
        _ => return argument,
    };
    argument.value_parser(PossibleValuesParser::new(values))
}

/// Areas and ids.
fn requirements() -> Vec<PossibleValue> {
    let mut values: Vec<PossibleValue> = Vec::new();
    let mut area = "";
    for requirement in catalogue::all() {
        if requirement.area() != area {
            area = requirement.area();
            values.push(PossibleValue::new(area).help("all of them"));
        }
        values.push(PossibleValue::new(requirement.id).help(requirement.title));
    }
    values
}

fn personalities() -> Vec<PossibleValue> {
    personality::all().iter().map(|one| PossibleValue::new(one.name).help(one.imitates)).collect()
}
