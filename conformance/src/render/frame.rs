//! What all pages have in common: the frame around the text, the style of what stands in it, and a
//! content security policy that names the hashes of the page's own style and script, so that nothing
//! else runs even if something slipped through.

use std::fmt::Write;

use base64ct::{Base64, Encoding};
use minijinja::{AutoEscape, Environment};
use sha2::{Digest, Sha256};

use super::escape;

const FRAME: &str = include_str!("../../templates/base.html");
const STYLE: &str = include_str!("../../templates/page.css");
/// The style of pages of text: the catalogue and what stands beside it.
pub(super) const TEXT: &str = include_str!("../../templates/catalogue.css");
const PARTS: [(&str, &str); 2] =
    [("base.html", FRAME), ("verdict.html", include_str!("../../templates/verdict.html"))];

/// Rem: the first column of a wide table, and the least width of each other one.
const FIRST_COLUMN: usize = 20;
const COLUMN: usize = 9;

/// The style of a page whose widest table has that many columns beside the first one.
pub(super) fn style(own: &str, columns: usize) -> String {
    let mut style = format!("{STYLE}{own}");
    // A head that stays in sight has to scroll with the page, which a table in a scrolling box
    // does not: only where the whole table fits. Writing to a String cannot fail.
    let _ = write!(
        style,
        ":root{{--columns:{columns};--first:{FIRST_COLUMN}rem;--column:{COLUMN}rem}}\
         @media(min-width:{}rem){{.scroll{{overflow:visible}}thead th{{position:sticky;top:0}}}}",
        FIRST_COLUMN + COLUMN * columns + 4
    );
    style
}

/// The policy of a page with this style and this script.
pub(super) fn policy(style: &str, script: Option<&str>) -> String {
    let script = script.map(|script| format!("; script-src '{}'", hash(script)));
    format!(
        "default-src 'none'; style-src '{}'{}; base-uri 'none'; form-action 'none'",
        hash(style),
        script.unwrap_or_default()
    )
}

/// A source of a content security policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", Base64::encode_string(&Sha256::digest(text.as_bytes())))
}

/// Templates for HTML: the frame, and these by their names.
pub(super) fn html(
    templates: &[(&'static str, &'static str)],
) -> Result<Environment<'static>, minijinja::Error> {
    environment(PARTS.iter().chain(templates), AutoEscape::Html)
}

/// Templates for Markdown, by their names.
pub(super) fn markdown(
    templates: &[(&'static str, &'static str)],
) -> Result<Environment<'static>, minijinja::Error> {
    environment(templates.iter(), AutoEscape::None)
}

fn environment<'a>(
    templates: impl Iterator<Item = &'a (&'static str, &'static str)>,
    escape: AutoEscape,
) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(move |_| escape);
    environment.set_keep_trailing_newline(true);
    environment.add_filter("markdown", |text: &str| escape::markdown(text));
    for (name, template) in templates {
        environment.add_template(name, template)?;
    }
    Ok(environment)
}
