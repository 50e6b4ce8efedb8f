//! The reports of many runs as one matrix, requirements × platforms.

use std::collections::HashMap;

use forkproof_report::{Conclusion, Entry, Report, Verdict, area};
use settings::printable;

use super::label;
use crate::render::look::{Look, look};
use crate::requirements;

/// One run: a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What it is called; no other column is called so.
    pub label: String,
    /// The words of which the label is made, for column heads; or the label that was given, alone.
    pub lines: Vec<String>,
    /// The run.
    pub report: Report,
}

impl Column {
    /// How many requirements have which verdict, those that occur, in the order of summaries.
    pub(in crate::render) fn counts(&self) -> Vec<(Look, usize)> {
        Verdict::ALL
            .into_iter()
            .map(|verdict| (look(verdict), self.report.count(verdict)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// [`counts`](Self::counts) in words: `144 pass, 22 unsupported`.
    pub(in crate::render) fn counts_in_words(&self) -> String {
        let counts =
            self.counts().into_iter().map(|(look, count)| format!("{count} {}", look.word));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// What it came to, in words.
    pub fn conclusion(&self) -> String {
        let words = self.report.conclusion_words();
        if self.report.interrupted { format!("{words}: interrupted") } else { words }
    }
}

/// The part of the matrix in which a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The columns that have it have different verdicts.
    Differs,
    /// It has the same verdict in all of them, and that is one to look at.
    Fails,
    /// It has the same verdict in all of them.
    Same,
}

/// One requirement.
#[derive(Debug)]
pub struct Row<'a> {
    /// The requirement's id.
    pub id: &'a str,
    /// What the columns say, in their order; nothing where it was not selected.
    pub cells: Vec<Option<&'a Entry>>,
}

impl<'a> Row<'a> {
    /// The entries of the columns that have it, with the columns' positions. Never empty.
    pub fn entries(&self) -> impl Iterator<Item = (usize, &'a Entry)> {
        self.cells.iter().enumerate().filter_map(|(at, cell)| cell.map(|entry| (at, entry)))
    }

    /// The first report's words for it.
    pub fn first(&self) -> Option<&'a Entry> {
        self.cells.iter().find_map(|cell| *cell)
    }

    /// The area: the part of the id before the slash.
    pub fn area(&self) -> &'a str {
        area(self.id)
    }

    /// The worst verdict among the columns.
    fn gravity(&self) -> u8 {
        self.entries().map(|(_, entry)| entry.verdict.gravity()).max().unwrap_or(0)
    }

    /// Where it stands. A requirement that a report hasn't is no difference between platforms.
    pub fn section(&self) -> Section {
        let mut verdicts = self.entries().map(|(_, entry)| entry.verdict);
        let first = verdicts.next();
        if verdicts.any(|verdict| Some(verdict) != first) {
            Section::Differs
        } else if first.is_some_and(Verdict::is_trouble) {
            Section::Fails
        } else {
            Section::Same
        }
    }
}

/// The runs, merged.
#[derive(Debug)]
pub struct Matrix<'a> {
    /// What the page is called.
    pub title: String,
    /// In the order in which they were given.
    pub columns: &'a [Column],
    /// By section; within the differences the gravest first, otherwise in the catalogue's order.
    pub rows: Vec<Row<'a>>,
}

impl<'a> Matrix<'a> {
    /// Merges the columns.
    pub fn new(columns: &'a [Column], title: Option<&str>) -> Self {
        let mut rows: Vec<Row<'a>> = Vec::new();
        let mut at: HashMap<&str, usize> = HashMap::new();
        for (position, column) in columns.iter().enumerate() {
            for entry in &column.report.requirements {
                let row = *at.entry(&entry.id).or_insert_with(|| {
                    rows.push(Row { id: &entry.id, cells: vec![None; columns.len()] });
                    rows.len() - 1
                });
                rows[row].cells[position] = Some(entry);
            }
        }
        // What this program's catalogue doesn't have, another version's does: it comes after the
        // known ones of its area, an unknown area after the known ones.
        let known: HashMap<&str, usize> =
            requirements::all().enumerate().map(|(at, requirement)| (requirement.id, at)).collect();
        let mut areas: Vec<&str> = Vec::new();
        for area in requirements::all().map(|r| r.area()).chain(rows.iter().map(Row::area)) {
            if !areas.contains(&area) {
                areas.push(area);
            }
        }
        rows.sort_by_cached_key(|row| {
            let section = row.section();
            let gravity = if section == Section::Differs { row.gravity() } else { 0 };
            (
                section,
                u8::MAX - gravity,
                areas.iter().position(|area| *area == row.area()),
                known.get(row.id).copied().unwrap_or(usize::MAX),
            )
        });
        let title = match title {
            Some(title) => printable(title),
            None => "forkproof: conformance by platform".to_owned(),
        };
        Self { title, columns, rows }
    }

    /// The rows of one section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(move |row| row.section() == section)
    }

    /// The rows whose verdict is the same everywhere and good, area by area.
    pub fn same_by_area(&self) -> Vec<(&'a str, Vec<&Row<'a>>)> {
        let mut areas: Vec<(&str, Vec<&Row<'a>>)> = Vec::new();
        for row in self.section(Section::Same) {
            match areas.last_mut() {
                Some((area, rows)) if *area == row.area() => rows.push(row),
                _ => areas.push((row.area(), vec![row])),
            }
        }
        areas
    }

    /// The runs as a whole: a failure anywhere outweighs a missing verdict.
    pub fn conclusion(&self) -> Conclusion {
        Conclusion::of_all(self.columns.iter().map(|column| column.report.conclusion))
    }

    /// What a column is: `platform`, or `run` where two of them are of the same platform.
    pub fn noun(&self) -> &'static str {
        let labels: Vec<String> =
            self.columns.iter().map(|c| label::platform(&c.report.platform).join(", ")).collect();
        let twice = labels.iter().enumerate().any(|(at, label)| labels[..at].contains(label));
        if twice { "run" } else { "platform" }
    }

    /// The sections whose rows are shown one by one, those that have any, with their headings.
    pub fn shown_sections(&self) -> Vec<(String, Vec<&Row<'a>>)> {
        let noun = self.noun();
        let fails = match self.columns.len() {
            1 => "Failures".to_owned(),
            _ => format!("Failures on every {noun}"),
        };
        [(Section::Differs, format!("What differs between {noun}s")), (Section::Fails, fails)]
            .into_iter()
            .map(|(section, heading)| (heading, self.section(section).collect::<Vec<_>>()))
            .filter(|(_, rows)| !rows.is_empty())
            .collect()
    }

    /// The servers that were checked, each once.
    pub fn servers(&self) -> Vec<&'a str> {
        let mut servers: Vec<&str> = Vec::new();
        for column in self.columns {
            if !servers.contains(&column.report.target.name.as_str()) {
                servers.push(&column.report.target.name);
            }
        }
        servers
    }

    /// In sentences: what was checked, on what, and the result.
    pub fn summary(&self) -> Vec<String> {
        let noun = self.noun();
        let several = self.columns.len() > 1;
        let on = match self.columns {
            [column] => column.label.clone(),
            columns => plural(columns.len(), noun),
        };
        let mut sentences = vec![format!(
            "{} checked against {} on {on}.",
            match self.servers().as_slice() {
                ["reference"] => "forkproof's reference server was".to_owned(),
                [name] => format!("The server {name} was"),
                names => format!("{} servers ({}) were", names.len(), names.join(", ")),
            },
            plural(self.rows.len(), "requirement"),
        )];
        let of = |conclusion| -> Vec<&Column> {
            self.columns.iter().filter(|c| c.report.conclusion == conclusion).collect()
        };
        let conformant = of(Conclusion::Conformant).len();
        if conformant == self.columns.len() {
            let subject = if self.servers().len() > 1 { "Each is" } else { "It is" };
            let on_all = if several { " on every one of them" } else { "" };
            sentences
                .push(format!("{subject} conformant{on_all}: nothing that was checked failed."));
        } else if several {
            sentences.push(format!(
                "The result is conformant on {conformant} of {}.",
                plural(self.columns.len(), noun)
            ));
        }
        let subject = |column: &Column| {
            if several { column.label.clone() } else { "The result".to_owned() }
        };
        // Of many, the heads of the columns tell more shortly.
        const NAMED: usize = 3;
        let failed = of(Conclusion::NotConformant);
        for column in failed.iter().filter(|_| failed.len() <= NAMED) {
            let troubled: Vec<String> = Verdict::ALL
                .into_iter()
                .filter(|verdict| verdict.is_trouble() && column.report.count(*verdict) > 0)
                .map(|verdict| format!("{} {}", column.report.count(verdict), verdict.word()))
                .collect();
            sentences.push(format!(
                "{}: not conformant, {}.",
                subject(column),
                troubled.join(", "),
            ));
        }
        let open = of(Conclusion::NoVerdict);
        for column in open.iter().filter(|_| open.len() <= NAMED) {
            let why = if column.report.interrupted {
                "the run was interrupted"
            } else {
                "not everything could be checked"
            };
            sentences.push(format!("{}: no verdict, because {why}.", subject(column)));
        }
        if open.len() > NAMED {
            sentences.push(format!("{} have no verdict.", plural(open.len(), noun)));
        }
        if several {
            let differing = self.section(Section::Differs).count();
            sentences.push(match differing {
                0 => format!("No requirement has different verdicts on different {noun}s."),
                _ => format!(
                    "{} different verdicts on different {noun}s.",
                    plural_verb(differing, "requirement", "has", "have")
                ),
            });
        }
        sentences.iter().map(|sentence| printable(sentence)).collect()
    }

    /// What a reader has to know before comparing columns.
    pub fn remarks(&self) -> Vec<String> {
        let mut versions: Vec<&str> = Vec::new();
        for column in self.columns {
            if !versions.contains(&column.report.forkproof.as_str()) {
                versions.push(&column.report.forkproof);
            }
        }
        let mut remarks = Vec::new();
        if versions.len() > 1 {
            remarks.push(format!(
                "The reports were made by different versions of forkproof ({}): a requirement may \
                 be missing from one, or be checked in another way.",
                versions.join(", ")
            ));
        }
        let lacking: Vec<String> = self
            .columns
            .iter()
            .filter_map(|column| {
                let lacks = self.rows.len().saturating_sub(column.report.requirements.len());
                (lacks > 0).then(|| format!("{lacks} on {}", column.label))
            })
            .collect();
        if !lacking.is_empty() {
            remarks.push(format!(
                "Not every report has every requirement; not selected, or not reached: {}.",
                lacking.join("; ")
            ));
        }
        remarks.iter().map(|remark| printable(remark)).collect()
    }
}

/// `1 platform`, `2 platforms`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `1 requirement does`, `2 requirements do`.
fn plural_verb(count: usize, noun: &str, one: &str, many: &str) -> String {
    format!("{} {}", plural(count, noun), if count == 1 { one } else { many })
}
