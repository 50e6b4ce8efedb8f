//! `forkproof init`: a first manifest for a server of which only the command line is known.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forkproof_report::{ExitStatus, Verdict};
use settings::printable;

use super::arguments::catch_interrupts;
use super::destination::Destination;
use super::outcome::{CommandError, CommandResult, print};
use super::private::private_dir;
use crate::render;
use crate::run::{self, Product, Subject, Task, Work, run_task};
use crate::subject::Target;
use crate::survey::{Command, Survey};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Starts the server, in a private network if possible, looks at it and ends it. In the command line \
`{port}` stands for a port that forkproof chooses, `{host}` for an address and `{address}` for \
HOST:PORT. Without them forkproof looks for the port that the server listens on.

  forkproof init -- python3 -m http.server {port}
  forkproof init -- ./my-server --listen {address} --foreground
  forkproof init -- ./my-server --bind {host} --port {port}

Exit status: 0 written, and the server behaves as the manifest says · 2 usage, or the file already \
exists · 3 the server did not start, or does not behave as the manifest says.";

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Write the manifest to this file; `-` is standard output [default: NAME.toml]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it already exists
    #[arg(long)]
    force: bool,

    /// The server's name in reports [default: the program's]
    #[arg(long)]
    name: Option<String>,

    /// The command line that starts the server in the foreground; without it you are asked for one
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let mut words = arguments.command.clone();
    if words.is_empty() {
        words = ask()?;
    }
    let told = |part: &str| words.iter().any(|word| word.contains(part));
    if told("{host}") && !told("{port}") {
        return Err(CommandError::usage(
            "`{host}` goes with `{port}`; `{address}` stands for both",
        ));
    }
    let here = std::env::current_dir().map_err(CommandError::no_verdict)?;
    let command = Command { words, directory: here.clone() };
    let name = arguments.name.clone().unwrap_or_else(|| render::name_of(&command));
    let to_output = arguments.output.as_deref() == Some(Path::new("-"));
    let path = arguments.output.clone().unwrap_or_else(|| format!("{name}.toml").into());
    if !to_output && !arguments.force && path.symlink_metadata().is_ok() {
        return Err(CommandError::usage(format!(
            "{} already exists: name another file with --output, or replace it with --force",
            path.display()
        )));
    }
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let slowness = run::slowness();
    let say = |text: String| eprintln!("{text}");
    say(format!("starting {}", printable(&shell_words::join(&command.words))));
    let (survey, anywhere) = survey(&command, dir.path(), slowness)?;
    let manifest_dir = match to_output {
        true => here.clone(),
        false => here.join(&path).parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let directory = match (anywhere, manifest_dir == here) {
        (true, _) => None,
        (false, true) => Some("{manifest-dir}".to_owned()),
        (false, false) => Some(here.display().to_string()),
    };
    let mut command = command;
    // A path is the manifest's directory's in a manifest.
    if command.words[0].contains('/') && manifest_dir != here {
        command.words[0] = here.join(&command.words[0]).display().to_string();
    }
    let text = render::manifest(&name, &command, &survey, directory.as_deref());
    // Rehearsed where it will lie, since its directory is a part of it.
    let file = match to_output {
        true => dir.path().join(format!("{name}.toml")),
        false => path.clone(),
    };
    let destination = Destination::open(&file).map_err(CommandError::usage)?;
    destination.write(&text).map_err(CommandError::no_verdict)?;
    if to_output {
        print(&text)?;
    } else {
        say(format!("wrote {}", path.display()));
    }
    match rehearse(&file, dir.path(), slowness) {
        Ok(()) => {
            say("the server behaves as the manifest says".to_owned());
            if !to_output {
                say(format!("next: forkproof run --target {}", path.display()));
            }
            Ok(ExitStatus::Conformant)
        }
        Err(why) => Err(CommandError::no_verdict(format!(
            "the server does not behave as the manifest says yet; edit it: {why}"
        ))),
    }
}

/// Asks for a command line.
fn ask() -> Result<Vec<String>, CommandError> {
    let usage = || CommandError::usage("which command? `forkproof init -- COMMAND ARGUMENTS`");
    if !std::io::stdin().is_terminal() {
        return Err(usage());
    }
    eprint!(
        "The command line that starts the server in the foreground, with {{port}} for its port:\n> "
    );
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(CommandError::no_verdict)?;
    let words = shell_words::split(&line).map_err(CommandError::usage)?;
    if words.is_empty() { Err(usage()) } else { Ok(words) }
}

/// Finds out about the server, started in an empty directory, or if it does not start there in this
/// one; and whether the first did.
fn survey(command: &Command, dir: &Path, slowness: f64) -> Result<(Survey, bool), CommandError> {
    let attempt = |number: usize, directory: PathBuf| {
        let task = Task {
            work: Work::Survey(Command { directory, ..command.clone() }),
            dir: dir.join(format!("survey-{number}")),
            keep: false,
            slowness,
            limit: Duration::from_secs(90).mul_f64(slowness),
        };
        match run_task(&task) {
            Some(finding) => match (finding.verdict, finding.product) {
                (Verdict::Pass, Some(Product::Survey(survey))) => Ok(*survey),
                _ => Err(finding.reason.unwrap_or_else(|| "nothing was found out".into())),
            },
            None => Err("interrupted".into()),
        }
    };
    // A path is one from here.
    let relative = command.words[0].contains('/') && !command.words[0].starts_with('/');
    let empty = dir.join("empty");
    std::fs::create_dir(&empty).map_err(CommandError::no_verdict)?;
    if !relative {
        if let Ok(survey) = attempt(1, empty) {
            return Ok((survey, true));
        }
    }
    attempt(2, command.directory.clone())
        .map(|survey| (survey, false))
        .map_err(|why| CommandError::no_verdict(printable(&why)))
}

/// Whether the server is as its manifest says; if not, why.
fn rehearse(file: &Path, dir: &Path, slowness: f64) -> Result<(), String> {
    let target = Target::named(file.as_os_str(), None)?;
    let finding = run_task(&Task {
        work: Work::Rehearsal(Subject { target, personality: None }),
        dir: dir.join("rehearsal"),
        keep: false,
        slowness,
        limit: Duration::from_secs(60).mul_f64(slowness),
    });
    match finding {
        None => Err("interrupted".into()),
        Some(finding) if finding.verdict == Verdict::Pass => Ok(()),
        Some(finding) => Err(printable(&finding.reason.unwrap_or_default())),
    }
}
