//! `forkproof man`: the manual pages of all programs, made from their command lines.

use std::path::{Path, PathBuf};

use clap::{Command, ValueEnum};
use clap_mangen::Man;

use super::destination::{Destination, make_directory};
use super::outcome::{CommandError, CommandResult, print};

/// Verdicts, levels, exit statuses and files: `forkproof(7)`.
const OVERVIEW: &str = include_str!("../../templates/forkproof.7");

/// The arguments of `forkproof man`.
#[derive(clap::Args, Debug)]
pub(super) struct Pages {
    /// Write the pages there; the directory is made if necessary
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// The programs that this project installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Program {
    Forkproof,
    Chatd,
    Chat,
    Webd,
}

impl Program {
    /// Its command line; `own` is that of this program.
    pub(super) fn command(self, own: Command) -> Command {
        match self {
            // The servers inside are programs of their own as well, and have the same options.
            Self::Forkproof => own
                .mut_subcommand("chatd", |_| chatd::server_command())
                .mut_subcommand("chat", |_| chatd::client_command())
                .mut_subcommand("webd", |_| webd::server_command()),
            Self::Chatd => chatd::server_command(),
            Self::Chat => chatd::client_command(),
            Self::Webd => webd::server_command(),
        }
    }
}

/// `forkproof man`.
pub(super) fn pages(arguments: &Pages, own: &Command) -> CommandResult {
    let directory = &arguments.directory;
    make_directory(directory).map_err(CommandError::usage)?;
    let mut written = 0;
    for program in Program::value_variants() {
        let mut command = program.command(own.clone()).disable_help_subcommand(true);
        command.build();
        written += write_pages(&command, section_of(*program), directory)?;
    }
    write(directory, "forkproof.7", OVERVIEW)?;
    print(&format!("{} pages in {}\n", written + 1, directory.display()))
}

/// The day of all pages is that of the one that is written by hand.
fn date() -> &'static str {
    OVERVIEW.lines().next().and_then(|line| line.strip_prefix(".Dd ")).unwrap_or_default()
}

/// Servers stand in section 8.
fn section_of(program: Program) -> &'static str {
    match program {
        Program::Chatd | Program::Webd => "8",
        Program::Forkproof | Program::Chat => "1",
    }
}

/// The page of a command and those of its subcommands, each in a file; how many.
fn write_pages(command: &Command, section: &str, directory: &Path) -> Result<usize, CommandError> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone())
        .title(&name)
        .section(section)
        .date(date())
        .source(format!("forkproof {version}"))
        .manual("forkproof");
    let mut page = Vec::new();
    man.render(&mut page).map_err(CommandError::no_verdict)?;
    // Manual pages have a name for what `--help` says last.
    let mut page = String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH NOTES\n");
    // Two breaks around an empty line are one: mandoc warns of the others.
    page = page.replace(".br\n\n.br\n", ".sp\n");
    page.push_str(".SH \"SEE ALSO\"\n\\fBforkproof\\fR(1), \\fBforkproof\\fR(7)\n");
    write(directory, &format!("{name}.{section}"), &page)?;
    let mut written = 1;
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        // `forkproof chatd` has the page of chatd(8).
        if name == "forkproof" && ["chatd", "chat", "webd"].contains(&subcommand.get_name()) {
            continue;
        }
        written += write_pages(subcommand, section, directory)?;
    }
    Ok(written)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<(), CommandError> {
    let destination = Destination::open(&directory.join(name)).map_err(CommandError::usage)?;
    destination.write(text).map_err(CommandError::no_verdict)
}

#[cfg(test)]
mod tests {
    use forkproof_report::{ExitStatus, Level, Verdict};

    use super::*;

    /// A verdict, a level or an exit status that is new gets its place in forkproof(7).
    #[test]
    fn the_overview_has_every_word() {
        for verdict in Verdict::ALL {
            let tag = format!(".It Cm {}\n", verdict.word());
            assert!(OVERVIEW.contains(&tag), "{tag}");
        }
        for level in Level::ALL {
            let tag = format!(".It Cm {}\n", level.word());
            assert!(OVERVIEW.contains(&tag), "{tag}");
        }
        for code in (0..=u8::MAX).filter(|code| ExitStatus::from_code(*code).is_some()) {
            let tag = format!(".It {code}\n");
            assert!(OVERVIEW.contains(&tag), "{tag}");
        }
    }
}
