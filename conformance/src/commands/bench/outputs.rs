//! The files that a comparison writes, beside the table at the terminal.

use std::path::{Path, PathBuf};

use crate::commands::destination::{Destination, is_output};
use crate::commands::outcome::{CommandError, Voice};

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
pub(super) type Render<T> = fn(&T) -> Result<String, String>;

/// Outputs that are known to be writable.
pub(super) struct Open<T>(Vec<(Destination, Render<T>)>);

impl Outputs {
    fn paths(&self) -> [Option<&Path>; 3] {
        [&self.report, &self.markdown, &self.html].map(Option::as_deref)
    }

    /// Opens those that are asked for, to be made by JSON's, Markdown's and the page's function.
    pub(super) fn open<T>(&self, renders: [Render<T>; 3]) -> Result<Open<T>, CommandError> {
        let wanted = self.paths().into_iter().zip(renders);
        let (paths, renders): (Vec<&Path>, Vec<Render<T>>) =
            wanted.filter_map(|(path, render)| Some((path?, render))).unzip();
        let destinations = Destination::open_all(paths, &[]).map_err(CommandError::usage)?;
        Ok(Open(destinations.into_iter().zip(renders).collect()))
    }

    /// Where the table goes: not into a document.
    pub(super) fn voice(&self) -> Voice {
        Voice::beside(self.paths().into_iter().flatten().any(is_output))
    }
}

impl<T> Open<T> {
    /// Writes all of them, or none.
    pub(super) fn write(self, measured: &T) -> Result<(), CommandError> {
        let mut filled = Vec::new();
        for (mut destination, render) in self.0 {
            let text = render(measured).map_err(CommandError::no_verdict)?;
            destination.fill(&text).map_err(CommandError::no_verdict)?;
            filled.push(destination);
        }
        for destination in filled {
            destination.keep().map_err(CommandError::no_verdict)?;
        }
        Ok(())
    }
}
