//! What was measured side by side, as text, Markdown, and a self-contained page with plots: no other
//! file, no request, no script.

use std::fmt::Write;

use serde::Serialize;
use settings::printable;

use super::figure::shown;
use super::plot::{self, COLOURS, Plot};
use super::{document, escape, frame};

const TEMPLATE: &str = include_str!("../../templates/comparison.html");

/// A column's head, and what it holds.
pub(super) type Column = (&'static str, &'static str);

/// What was measured of several, as it is written for programs, and as it is shown.
pub trait Compared: Serialize {
    /// What is shown of it.
    fn comparison(&self) -> Comparison;
}

/// As JSON.
///
/// # Errors
/// It is no JSON.
pub fn json(all: &impl Compared) -> Result<String, String> {
    document::json(all).map_err(|error| error.to_string())
}

/// For a terminal.
pub fn text(all: &impl Compared) -> String {
    all.comparison().text()
}

/// As Markdown.
pub fn markdown(all: &impl Compared) -> String {
    all.comparison().markdown()
}

/// As a page.
///
/// # Errors
/// The template is wrong.
pub fn html(all: &impl Compared) -> Result<String, String> {
    all.comparison().html()
}

/// All that is shown.
pub struct Comparison {
    pub(super) title: &'static str,
    /// When it began.
    pub(super) started: String,
    /// What was measured, where, and how.
    pub(super) about: Vec<String>,
    /// What a reader has to know before he believes the figures.
    pub(super) remarks: Vec<String>,
    /// What the members are called.
    pub(super) kind: &'static str,
    /// What was measured, in the order of its colours.
    pub(super) members: Vec<Member>,
    pub(super) tables: Vec<Table>,
    /// Whether a page begins with the pictures.
    pub(super) plots_first: bool,
    pub(super) plots: Vec<Plots>,
    /// What the pictures show.
    pub(super) plots_about: &'static str,
}

/// One of those that are compared.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) about: String,
    /// Whether that is a command line.
    pub(super) is_command: bool,
}

/// Figures of all members in one setting.
#[derive(Serialize)]
pub(super) struct Table {
    pub(super) heading: String,
    pub(super) columns: &'static [Column],
    /// As wide as the columns.
    pub(super) rows: Vec<Vec<String>>,
}

/// Pictures that belong together.
#[derive(Serialize)]
pub(super) struct Plots {
    /// Of several.
    pub(super) heading: Option<String>,
    pub(super) plots: Vec<Plot>,
}

/// What the template knows.
#[derive(Serialize)]
struct Page<'a> {
    version: &'static str,
    policy: String,
    style: String,
    title: &'static str,
    started: &'a str,
    about: Vec<String>,
    remarks: Vec<String>,
    kind: &'static str,
    members: Vec<MemberView>,
    meanings: Vec<Column>,
    tables: &'a [Table],
    plots_first: bool,
    plots: &'a [Plots],
    plots_about: &'static str,
}

#[derive(Serialize)]
struct MemberView {
    name: String,
    about: String,
    is_command: bool,
    number: usize,
}

impl Comparison {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for line in &self.about {
            let _ = writeln!(text, "{}", printable(line));
        }
        for table in &self.tables {
            let _ = writeln!(text, "\n{}", printable(&table.heading));
            let heads: Vec<String> = table.columns.iter().map(|(head, _)| (*head).into()).collect();
            let rows = || std::iter::once(&heads).chain(&table.rows);
            let widths: Vec<usize> = (0..heads.len())
                .map(|at| rows().map(|row| row[at].chars().count()).max().unwrap_or(0))
                .collect();
            for row in rows() {
                let _ = write!(text, "{:width$}", row[0], width = widths[0]);
                for (cell, width) in row.iter().zip(&widths).skip(1) {
                    let _ = write!(text, "  {cell:>width$}");
                }
                text.push('\n');
            }
        }
        if !self.remarks.is_empty() {
            text.push('\n');
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{}", printable(remark));
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title);
        for line in &self.about {
            let _ = writeln!(text, "{}  ", escape::markdown(line));
        }
        for table in &self.tables {
            let heads: Vec<&str> = table.columns.iter().map(|(head, _)| *head).collect();
            let _ = writeln!(text, "\n## {}\n", escape::markdown(&table.heading));
            let _ = writeln!(text, "| {} |", heads.join(" | "));
            let _ = writeln!(text, "|---{}|", "|---:".repeat(heads.len() - 1));
            for row in &table.rows {
                let cells: Vec<String> = row.iter().map(|cell| escape::markdown(cell)).collect();
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
        }
        text.push('\n');
        for remark in &self.remarks {
            let _ = writeln!(text, "- {}", escape::markdown(remark));
        }
        let meanings: Vec<String> = self
            .meanings()
            .into_iter()
            .map(|(head, about)| format!("{}: {about}", escape::markdown(head)))
            .collect();
        let _ = writeln!(text, "\nColumns: {}.\n\n{}:\n", meanings.join("; "), self.kind);
        for member in &self.members {
            let about = escape::markdown(&member.about);
            let _ = writeln!(text, "- {}: {about}", escape::markdown(&member.name));
        }
        text
    }

    fn html(&self) -> Result<String, String> {
        let widest = self.tables.iter().map(|table| table.columns.len() - 1).max().unwrap_or(0);
        let style = frame::style(plot::STYLE, widest);
        let lines = |lines: &[String]| lines.iter().map(|line| printable(line)).collect();
        let page = Page {
            version: env!("CARGO_PKG_VERSION"),
            policy: frame::policy(&style, None),
            style,
            title: self.title,
            started: &self.started,
            about: lines(&self.about),
            remarks: lines(&self.remarks),
            kind: self.kind,
            members: self
                .members
                .iter()
                .enumerate()
                .map(|(number, member)| MemberView {
                    name: shown(&member.name),
                    about: printable(&member.about),
                    is_command: member.is_command,
                    number: number % COLOURS,
                })
                .collect(),
            meanings: self.meanings(),
            tables: &self.tables,
            plots_first: self.plots_first,
            plots: &self.plots,
            plots_about: self.plots_about,
        };
        frame::html(&[("plots.html", plot::TEMPLATE), ("page", TEMPLATE)])
            .and_then(|environment| environment.get_template("page")?.render(page))
            .map_err(|error| format!("the page's template: {error:#}"))
    }

    /// What the columns hold, of all tables, but not the first, which names the members.
    fn meanings(&self) -> Vec<Column> {
        let mut meanings: Vec<Column> = Vec::new();
        for table in &self.tables {
            for column in &table.columns[1..] {
                if !meanings.contains(column) {
                    meanings.push(*column);
                }
            }
        }
        meanings
    }
}
