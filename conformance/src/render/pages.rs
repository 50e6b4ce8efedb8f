//! The catalogue as pages to be read and linked to: one for each area, with an anchor for each
//! requirement, and one of the personalities that break them.

use minijinja::Environment;
use serde::Serialize;

use super::catalogue::address_of;
use super::facts::{self, SideBySide};
use super::look::Look;
use super::platforms::{self, PlatformView, Seen};
use super::{frame, matrix};
use crate::personality;
use crate::probe::ProbeReport;
use crate::requirement::{Controls, Requirement};
use crate::results::Platform;

const HTML: [(&str, &str); 3] = [
    ("page", include_str!("../../templates/catalogue.html")),
    ("platforms.html", include_str!("../../templates/platforms.html")),
    ("facts.html", facts::HTML),
];
const MARKDOWN: [(&str, &str); 3] = [
    ("page", include_str!("../../templates/catalogue.md")),
    ("platforms.md", include_str!("../../templates/platforms.md")),
    ("facts.md", facts::MARKDOWN),
];

/// A page: the file's name, and the text.
pub type Page = (String, String);

/// What a template knows.
#[derive(Serialize)]
struct Context<'a> {
    version: &'static str,
    policy: &'a str,
    style: &'a str,
    total: usize,
    areas: &'a [Area],
    personalities: Vec<Breaker>,
    /// What results were kept of; none on pages of the catalogue alone.
    platforms: &'a [PlatformView],
    counted: Vec<Look>,
    facts: Option<&'a SideBySide>,
    /// Which page it is: `index`, `personalities`, `platforms`, `facts`, or an area's name.
    page: &'a str,
}

#[derive(Serialize)]
struct Area {
    name: &'static str,
    requirements: Vec<View>,
}

/// A requirement as it is shown.
#[derive(Serialize)]
struct View {
    id: &'static str,
    /// The part of the id after the area: the anchor.
    anchor: &'static str,
    title: &'static str,
    level: &'static str,
    clause: &'static str,
    trap: &'static str,
    fix: &'static str,
    /// Name and address of real bugs.
    references: Vec<(&'static str, String)>,
    needs: Vec<&'static str>,
    claims: Vec<&'static str>,
    /// Personalities, each with the name that its entry has.
    controls: Vec<(&'static str, Vec<&'static str>)>,
    /// Why nothing breaks it, if nothing does.
    uncontrolled: Option<&'static str>,
    /// What was seen of it, by verdict.
    seen: Vec<Seen>,
}

/// A personality as it is shown.
#[derive(Serialize)]
struct Breaker {
    name: &'static str,
    imitates: &'static str,
    source: &'static str,
    values: Option<String>,
}

/// As HTML; with what was seen on platforms, if there are any.
pub fn html(
    requirements: &[&'static Requirement],
    platforms: &[Platform],
) -> Result<Vec<Page>, String> {
    pages(requirements, platforms, "html", frame::html(&HTML))
}

/// As Markdown.
pub fn markdown(
    requirements: &[&'static Requirement],
    platforms: &[Platform],
) -> Result<Vec<Page>, String> {
    pages(requirements, platforms, "md", frame::markdown(&MARKDOWN))
}

fn pages(
    requirements: &[&'static Requirement],
    platforms: &[Platform],
    extension: &str,
    environment: Result<Environment<'static>, minijinja::Error>,
) -> Result<Vec<Page>, String> {
    let wrong = |error: minijinja::Error| format!("the pages' template: {error:#}");
    let environment = environment.map_err(wrong)?;
    let template = environment.get_template("page").map_err(wrong)?;
    let areas = areas(requirements, platforms);
    let measured: Vec<(Vec<String>, &ProbeReport)> = platforms
        .iter()
        .filter_map(|platform| Some((heading(platform), platform.facts.as_ref()?)))
        .collect();
    let facts = (!measured.is_empty()).then(|| SideBySide::new(&measured));
    let platforms = platforms::views(platforms, extension);
    let style = frame::style(frame::TEXT, measured.len());
    let policy = frame::policy(&style, None);
    let mut names = vec!["index"];
    names.extend(areas.iter().map(|area| area.name));
    names.push("personalities");
    names.extend((!platforms.is_empty()).then_some("platforms"));
    names.extend(facts.as_ref().map(|_| "facts"));
    names
        .into_iter()
        .map(|page| {
            let context = Context {
                version: env!("CARGO_PKG_VERSION"),
                policy: &policy,
                style: &style,
                total: requirements.len(),
                areas: &areas,
                personalities: breakers(),
                platforms: &platforms,
                counted: platforms::counted(),
                facts: facts.as_ref(),
                page,
            };
            Ok((format!("{page}.{extension}"), template.render(context).map_err(wrong)?))
        })
        .collect()
}

/// What the column of a platform's facts is called.
fn heading(platform: &Platform) -> Vec<String> {
    let mut lines = vec![settings::printable(&platform.about.name)];
    if let Some(facts) = &platform.facts {
        lines.extend(matrix::platform_lines(&facts.platform).into_iter().skip(1));
        lines.push(settings::printable(&format!("kernel {}", facts.platform.release)));
    }
    lines
}

fn areas(requirements: &[&'static Requirement], platforms: &[Platform]) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for requirement in requirements {
        let name = requirement.area();
        let view = view(requirement, platforms);
        match areas.iter_mut().find(|area| area.name == name) {
            Some(area) => area.requirements.push(view),
            None => areas.push(Area { name, requirements: vec![view] }),
        }
    }
    areas
}

fn view(requirement: &'static Requirement, platforms: &[Platform]) -> View {
    let (controls, uncontrolled) = match requirement.controls {
        Controls::By(controls) => {
            let named = |personality: &'static str| {
                let names = personality.split(',').map(|one| one.split('=').next().unwrap_or(one));
                (personality, names.collect())
            };
            (controls.iter().map(|control| named(control.personality)).collect(), None)
        }
        Controls::None(why) => (Vec::new(), Some(why)),
    };
    View {
        id: requirement.id,
        anchor: requirement.id.split_once('/').map_or(requirement.id, |(_, name)| name),
        title: requirement.title,
        level: requirement.level.word(),
        clause: requirement.clause,
        trap: requirement.trap,
        fix: requirement.fix,
        references: requirement
            .references
            .iter()
            .map(|reference| (*reference, address_of(reference)))
            .collect(),
        needs: requirement.needs.iter().map(|need| need.words()).collect(),
        claims: requirement.claims.iter().map(|claim| claim.word()).collect(),
        controls,
        uncontrolled,
        seen: platforms::seen(platforms, requirement.id),
    }
}

fn breakers() -> Vec<Breaker> {
    personality::all()
        .iter()
        .map(|personality| Breaker {
            name: personality.name,
            imitates: personality.imitates,
            source: personality.source,
            values: personality.parameter.as_ref().map(personality::values),
        })
        .collect()
}
