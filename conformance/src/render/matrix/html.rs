//! The matrix as one self-contained page: no other file, no request, no script needed to read it.
//!
//! Every text from a report is escaped by the template (`templates/matrix.html`).

use std::fmt::Write;

use forkproof_report::{Conclusion, Entry, Verdict};
use serde::Serialize;
use settings::printable;

use super::label;
use super::model::{Column, Matrix, Row, Section, plural};
use crate::render::again::again;
use crate::render::fields::told;
use crate::render::frame;
use crate::render::look::{CAUSE, FIX, Look, NOT_SELECTED, look, look_of};

const STYLE: &str = include_str!("../../../templates/matrix.css");
const TEMPLATE: &str = include_str!("../../../templates/matrix.html");
const SCRIPT: &str = include_str!("../../../templates/matrix.js");

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    version: &'static str,
    policy: String,
    style: String,
    script: &'static str,
    noun: &'static str,
    several: bool,
    conclusion: Badge,
    summary: Vec<String>,
    remarks: Vec<String>,
    columns: Vec<ColumnView<'a>>,
    facts: Vec<(&'static str, Vec<String>)>,
    legend: Vec<Look>,
    words: Vec<&'static str>,
    sections: Vec<SectionView<'a>>,
    requirements: usize,
    findings: Vec<FindingView<'a>>,
    cause: &'static str,
    usual_fix: &'static str,
}

#[derive(Serialize)]
struct Badge {
    class: &'static str,
    symbol: &'static str,
    words: String,
}

#[derive(Serialize)]
struct ColumnView<'a> {
    head: &'a str,
    below: Vec<String>,
    conclusion: Badge,
    counts: String,
}

#[derive(Serialize)]
struct SectionView<'a> {
    anchor: &'static str,
    heading: String,
    about: &'static str,
    count: usize,
    /// Whether its tables are to be opened by the reader.
    collapsed: bool,
    groups: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: String,
    summary: String,
    /// Whether the rows are parted by area.
    areas: bool,
    rows: Vec<RowView<'a>>,
}

#[derive(Serialize)]
struct RowView<'a> {
    id: &'a str,
    area: &'a str,
    /// How many rows of its area begin here; 0 below the first of them.
    of_area: usize,
    title: String,
    level: &'static str,
    words: String,
    cells: Vec<CellView>,
}

#[derive(Serialize)]
struct CellView {
    look: Look,
    column: usize,
    label: String,
    /// Whether there is more to read about it.
    more: bool,
    flaky: Option<String>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    id: &'a str,
    title: String,
    level: &'static str,
    clause: String,
    trap: Option<String>,
    fix: Option<String>,
    troubled: bool,
    said: Vec<Said<'a>>,
    /// Columns that have nothing to say, by verdict.
    silent: Vec<(Look, Vec<&'a str>)>,
    /// The commands that run it again, with the columns that each is for; none are named where one
    /// is for all.
    again: Vec<(String, Vec<&'a str>)>,
}

#[derive(Serialize)]
struct Said<'a> {
    column: usize,
    label: &'a str,
    look: Look,
    fields: Vec<(&'static str, String)>,
    evidence: Vec<(&'static str, usize, String)>,
}

/// The matrix as a page. The same reports give the same bytes.
pub fn render(matrix: &Matrix<'_>) -> Result<String, String> {
    let columns = matrix.columns.len();
    let style = frame::style(STYLE, columns);
    let page = Page {
        title: &matrix.title,
        version: env!("CARGO_PKG_VERSION"),
        policy: frame::policy(&style, Some(SCRIPT)),
        style,
        script: SCRIPT,
        noun: matrix.noun(),
        several: columns > 1,
        conclusion: badge(matrix.conclusion(), matrix.conclusion().words().to_owned()),
        summary: matrix.summary(),
        remarks: matrix.remarks(),
        columns: matrix.columns.iter().map(column_view).collect(),
        facts: facts(matrix),
        legend: Verdict::ALL.into_iter().map(look).chain([NOT_SELECTED]).collect(),
        words: occurring(matrix),
        sections: sections(matrix),
        requirements: matrix.rows.len(),
        findings: matrix.rows.iter().filter_map(|row| finding(matrix, row)).collect(),
        cause: CAUSE,
        usual_fix: FIX,
    };
    frame::html(&[("matrix.html", TEMPLATE)])
        .and_then(|environment| environment.get_template("matrix.html")?.render(page))
        .map_err(|error| format!("the page's template: {error:#}"))
}

fn badge(conclusion: Conclusion, words: String) -> Badge {
    let look = look_of(conclusion);
    Badge { class: look.word, symbol: look.symbol, words }
}

fn column_view(column: &Column) -> ColumnView<'_> {
    let (head, rest) = column
        .lines
        .split_first()
        .map_or((column.label.as_str(), &[][..]), |s| (s.0.as_str(), s.1));
    // A label that was given says nothing of the platform.
    let below =
        if rest.is_empty() { label::platform(&column.report.platform) } else { rest.to_vec() };
    ColumnView {
        head,
        below,
        conclusion: badge(column.report.conclusion, column.conclusion()),
        counts: column.counts_in_words(),
    }
}

/// The words of the verdicts that occur, gravest first.
fn occurring(matrix: &Matrix<'_>) -> Vec<&'static str> {
    let mut verdicts: Vec<Verdict> = Verdict::ALL
        .into_iter()
        .filter(|verdict| matrix.columns.iter().any(|c| c.report.count(*verdict) > 0))
        .collect();
    verdicts.sort_by_key(|verdict| u8::MAX - verdict.gravity());
    let mut words: Vec<&str> = verdicts.into_iter().map(Verdict::word).collect();
    if matrix.rows.iter().any(|row| row.cells.contains(&None)) {
        words.push(NOT_SELECTED.word);
    }
    words
}

/// A row for each fact, a cell for each column.
fn facts(matrix: &Matrix<'_>) -> Vec<(&'static str, Vec<String>)> {
    type Fact = (&'static str, fn(&Column) -> String);
    const FACTS: &[Fact] = &[
        ("System", |c| {
            let facts = &c.report.platform;
            facts.distribution.clone().unwrap_or_else(|| facts.system.clone())
        }),
        ("Kernel", |c| {
            let facts = &c.report.platform;
            format!("{} {} {}", facts.system, facts.release, facts.machine)
        }),
        ("Kernel width", |c| match c.report.platform.kernel_bits {
            0 => "unknown".to_owned(),
            bits => format!("{bits} bits"),
        }),
        ("Userland width", |c| format!("{} bits", c.report.platform.userland_bits)),
        ("C library", |c| c.report.platform.libc.clone()),
        ("Processor", |c| {
            let facts = &c.report.platform;
            let how = match facts.emulated {
                Some(true) => "emulated in software",
                Some(false) => "native",
                None => "cannot be told whether emulated",
            };
            match &facts.virtualization {
                Some(what) => format!("{how} ({what})"),
                None => how.to_owned(),
            }
        }),
        ("Processors", |c| c.report.platform.processors.to_string()),
        ("File system", |c| c.report.platform.file_system.clone()),
        ("Rights", |c| if c.report.platform.root { "root" } else { "ordinary user" }.to_owned()),
        ("Server", |c| c.report.target.name.clone()),
        ("Personality", |c| c.report.options.personality.clone().unwrap_or_else(|| "none".into())),
        ("Command", |c| match c.report.options.command.as_slice() {
            [] => "not told".to_owned(),
            words => format!("forkproof {}", shell_words::join(words)),
        }),
        ("forkproof", |c| c.report.forkproof.clone()),
        ("Begun", |c| c.report.started.clone()),
        ("Run time", |c| {
            let options = &c.report.options;
            let mut text = format!(
                "{:.1} s, {} at a time, deadlines × {}",
                c.report.duration_ms as f64 / 1e3,
                options.jobs,
                options.slowness
            );
            if options.repeat > 1 {
                let _ = write!(text, ", each {} times", options.repeat);
            }
            text
        }),
    ];
    FACTS
        .iter()
        .map(|(name, fact)| (*name, matrix.columns.iter().map(|c| printable(&fact(c))).collect()))
        .collect()
}

fn sections<'a>(matrix: &'a Matrix<'a>) -> Vec<SectionView<'a>> {
    let several = matrix.columns.len() > 1;
    let noun = matrix.noun();
    let together = |section| -> Vec<Group<'a>> {
        let rows = row_views(matrix, matrix.section(section));
        if rows.is_empty() {
            return Vec::new();
        }
        vec![Group {
            name: String::new(),
            summary: String::new(),
            areas: section == Section::Fails,
            rows,
        }]
    };
    let mut sections = Vec::new();
    if several {
        sections.push(SectionView {
            anchor: "differs",
            heading: format!("What differs between {noun}s"),
            about: "The gravest first.",
            count: matrix.section(Section::Differs).count(),
            collapsed: false,
            groups: together(Section::Differs),
        });
    }
    sections.push(SectionView {
        anchor: "fails",
        heading: if several { format!("Failures on every {noun}") } else { "Failures".to_owned() },
        about: "",
        count: matrix.section(Section::Fails).count(),
        collapsed: false,
        groups: together(Section::Fails),
    });
    sections.push(SectionView {
        anchor: "same",
        heading: if several {
            format!("The same on every {noun}")
        } else {
            "Everything else".to_owned()
        },
        about: "By area.",
        count: matrix.section(Section::Same).count(),
        collapsed: true,
        groups: matrix
            .same_by_area()
            .into_iter()
            .map(|(area, rows)| Group {
                name: area.to_owned(),
                summary: area_summary(&rows),
                areas: false,
                rows: row_views(matrix, rows.into_iter()),
            })
            .collect(),
    });
    sections
}

/// `12 pass, 1 not-run`: rows of an area, whose columns agree.
fn area_summary(rows: &[&Row<'_>]) -> String {
    let of = |verdict| {
        rows.iter().filter(|row| row.first().is_some_and(|e| e.verdict == verdict)).count()
    };
    let counts: Vec<String> = Verdict::ALL
        .into_iter()
        .map(|verdict| (look(verdict), of(verdict)))
        .filter(|(_, count)| *count > 0)
        .map(|(look, count)| format!("{} {count} {}", look.symbol, look.word))
        .collect();
    format!("{}: {}", plural(rows.len(), "requirement"), counts.join(", "))
}

fn row_views<'a>(
    matrix: &'a Matrix<'a>,
    rows: impl Iterator<Item = &'a Row<'a>>,
) -> Vec<RowView<'a>> {
    let rows: Vec<&Row<'_>> = rows.collect();
    let mut area = "";
    rows.iter()
        .enumerate()
        .map(|(at, row)| {
            let cells: Vec<CellView> = row
                .cells
                .iter()
                .enumerate()
                .map(|(at, cell)| CellView {
                    look: cell.map_or(NOT_SELECTED, |entry| look(entry.verdict)),
                    column: at + 1,
                    label: matrix.columns[at].label.clone(),
                    more: cell.is_some_and(has_more),
                    flaky: cell
                        .filter(|entry| entry.is_flaky())
                        .map(|entry| format!("flaky: {} of {}", entry.not_passed, entry.runs)),
                })
                .collect();
            let mut words: Vec<&str> = Vec::new();
            for cell in &cells {
                // The filter splits at spaces.
                let word = if cell.look == NOT_SELECTED { "not-selected" } else { cell.look.word };
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            let first = row.first();
            let same_area = rows[at..].iter().take_while(|next| next.area() == row.area()).count();
            let of_area = if row.area() == area { 0 } else { same_area };
            area = row.area();
            RowView {
                id: row.id,
                area,
                of_area,
                title: first.map(|entry| printable(&entry.title)).unwrap_or_default(),
                level: first.map_or("", |entry| entry.level.word()),
                words: words.join(" "),
                cells,
            }
        })
        .collect()
}

/// Whether an entry has more to say than its verdict.
fn has_more(entry: &Entry) -> bool {
    entry.verdict != Verdict::Pass || entry.note.is_some() || entry.is_flaky()
}

fn finding<'a>(matrix: &'a Matrix<'a>, row: &Row<'a>) -> Option<FindingView<'a>> {
    let first = row.first()?;
    let mut silent: Vec<(Look, Vec<&'a str>)> = Vec::new();
    let mut said = Vec::new();
    for (at, cell) in row.cells.iter().enumerate() {
        let label = matrix.columns[at].label.as_str();
        match cell {
            Some(entry) if has_more(entry) => said.push(Said {
                column: at + 1,
                label,
                look: look(entry.verdict),
                fields: fields(entry),
                evidence: evidence(entry),
            }),
            _ => {
                let look = cell.map_or(NOT_SELECTED, |entry| look(entry.verdict));
                match silent.iter_mut().find(|(known, _)| *known == look) {
                    Some((_, labels)) => labels.push(label),
                    None => silent.push((look, vec![label])),
                }
            }
        }
    }
    let advice = |of: fn(&Entry) -> Option<&String>| {
        row.entries().find_map(|(_, entry)| of(entry)).map(|text| printable(text))
    };
    Some(FindingView {
        id: row.id,
        title: printable(&first.title),
        level: first.level.word(),
        clause: printable(&first.clause),
        trap: advice(|entry| entry.trap.as_ref()),
        fix: advice(|entry| entry.fix.as_ref()),
        troubled: row.entries().any(|(_, entry)| entry.verdict.is_trouble()),
        said,
        silent,
        again: commands(matrix, row),
    })
}

/// What an entry says, with the names of the terminal's report.
fn fields(entry: &Entry) -> Vec<(&'static str, String)> {
    let flaky = entry
        .is_flaky()
        .then(|| format!("{} of {} runs did not pass", entry.not_passed, entry.runs));
    let more = [("Note", entry.note.clone()), ("Flaky", flaky)];
    let more = more.into_iter().filter_map(|(name, value)| Some((name, value?)));
    told(entry).into_iter().chain(more).map(|(name, value)| (name, printable(&value))).collect()
}

/// The commands that run `row` again, with the columns that each is for.
fn commands<'a>(matrix: &'a Matrix<'a>, row: &Row<'a>) -> Vec<(String, Vec<&'a str>)> {
    let mut commands: Vec<(String, Vec<&'a str>)> = Vec::new();
    for (at, _) in row.entries() {
        let column = &matrix.columns[at];
        let command = again(&column.report, &[row.id]);
        match commands.iter_mut().find(|(known, _)| *known == command) {
            Some((_, labels)) => labels.push(&column.label),
            None => commands.push((command, vec![&column.label])),
        }
    }
    if let [(_, labels)] = commands.as_mut_slice() {
        labels.clear();
    }
    commands
}

/// The evidence of what did not pass: heading, number of lines, text.
fn evidence(entry: &Entry) -> Vec<(&'static str, usize, String)> {
    let Some(evidence) = entry.evidence.as_ref().filter(|_| entry.verdict != Verdict::Pass) else {
        return Vec::new();
    };
    evidence
        .parts()
        .map(|(name, lines)| {
            let text: Vec<String> = lines.iter().map(|line| printable(line)).collect();
            (name, lines.len(), text.join("\n"))
        })
        .collect()
}
