//! The catalogue as pages to be read and linked to: one for each area, with an anchor for each
//! requirement, and one of the personalities that break them.

use base64ct::{Base64, Encoding};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::catalogue::address_of;
use super::escape;
use crate::personality;
use crate::requirement::{Controls, Requirement};

const STYLE: &str = include_str!("../../templates/catalogue.css");
const HTML: &str = include_str!("../../templates/catalogue.html");
const MARKDOWN: &str = include_str!("../../templates/catalogue.md");

/// A page: the file's name, and the text.
pub type Page = (String, String);

/// What a template knows.
#[derive(Serialize)]
struct Context<'a> {
    version: &'static str,
    policy: String,
    style: &'static str,
    total: usize,
    areas: &'a [Area],
    personalities: Vec<Breaker>,
    /// Which page it is: `index`, `personalities`, or an area's name.
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
}

/// A personality as it is shown.
#[derive(Serialize)]
struct Breaker {
    name: &'static str,
    imitates: &'static str,
    source: &'static str,
    values: Option<String>,
}

/// As HTML.
pub fn html(requirements: &[&'static Requirement]) -> Result<Vec<Page>, String> {
    pages(requirements, "html", HTML, minijinja::AutoEscape::Html)
}

/// As Markdown.
pub fn markdown(requirements: &[&'static Requirement]) -> Result<Vec<Page>, String> {
    pages(requirements, "md", MARKDOWN, minijinja::AutoEscape::None)
}

fn pages(
    requirements: &[&'static Requirement],
    extension: &str,
    template: &'static str,
    escape: minijinja::AutoEscape,
) -> Result<Vec<Page>, String> {
    let areas = areas(requirements);
    let mut environment = minijinja::Environment::new();
    environment.set_auto_escape_callback(move |_| escape);
    environment.set_keep_trailing_newline(true);
    environment.add_filter("markdown", |text: &str| escape::markdown(text));
    let wrong = |error: minijinja::Error| format!("the pages' template: {error:#}");
    environment.add_template("page", template).map_err(wrong)?;
    let template = environment.get_template("page").map_err(wrong)?;
    let names = ["index"].into_iter().chain(areas.iter().map(|area| area.name));
    names
        .chain(["personalities"])
        .map(|page| {
            let context = Context {
                version: env!("CARGO_PKG_VERSION"),
                policy: format!(
                    "default-src 'none'; style-src 'sha256-{}'",
                    Base64::encode_string(&Sha256::digest(STYLE.as_bytes()))
                ),
                style: STYLE,
                total: requirements.len(),
                areas: &areas,
                personalities: breakers(),
                page,
            };
            Ok((format!("{page}.{extension}"), template.render(context).map_err(wrong)?))
        })
        .collect()
}

fn areas(requirements: &[&'static Requirement]) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for requirement in requirements {
        let name = requirement.area();
        let view = view(requirement);
        match areas.iter_mut().find(|area| area.name == name) {
            Some(area) => area.requirements.push(view),
            None => areas.push(Area { name, requirements: vec![view] }),
        }
    }
    areas
}

fn view(requirement: &'static Requirement) -> View {
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
