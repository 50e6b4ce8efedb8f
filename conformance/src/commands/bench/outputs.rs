//! The files that a comparison writes, beside the table at the terminal.

use std::path::{Path, PathBuf};

use crate::commands::destination::{Destination, is_output};
use crate::commands::outcome::{CommandError, CommandResult, Voice};
use crate::render::comparison::{self, Compared};

#[derive(clap::Args, Debug)]
pub(super) struct Outputs {
    /// Write everything that was measured as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", visible_alias = "json")]
    report: Option<PathBuf>,

    /// Write the tables as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Write a self-contained page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What makes a document of what was measured.
type Render<T> = fn(&T) -> Result<String, String>;

/// Outputs that are known to be writable.
pub(super) struct Open<T> {
    files: Vec<(Destination, Render<T>)>,
    /// Where the table goes: not into a document.
    voice: Voice,
}

impl Outputs {
    /// Opens those that are asked for.
    pub(super) fn open<T: Compared>(&self) -> Result<Open<T>, CommandError> {
        let renders: [Render<T>; 3] =
            [comparison::json, |all| Ok(comparison::markdown(all)), comparison::html];
        let paths = [&self.report, &self.markdown, &self.html].map(Option::as_deref);
        let wanted = paths.into_iter().zip(renders);
        let (paths, renders): (Vec<&Path>, Vec<Render<T>>) =
            wanted.filter_map(|(path, render)| Some((path?, render))).unzip();
        let voice = Voice::beside(paths.iter().copied().any(is_output));
        let destinations = Destination::open_all(paths, &[]).map_err(CommandError::usage)?;
        Ok(Open { files: destinations.into_iter().zip(renders).collect(), voice })
    }
}

impl<T: Compared> Open<T> {
    /// Writes all of them, or none, and shows the tables.
    pub(super) fn write(self, measured: &T) -> CommandResult {
        let mut filled = Vec::new();
        for (mut destination, render) in self.files {
            let text = render(measured).map_err(CommandError::no_verdict)?;
            destination.fill(&text).map_err(CommandError::no_verdict)?;
            filled.push(destination);
        }
        for destination in filled {
            destination.keep().map_err(CommandError::no_verdict)?;
        }
        self.voice.say(&comparison::text(measured))
    }
}
