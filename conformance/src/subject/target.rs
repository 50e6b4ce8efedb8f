//! The server under test: how it is launched, found and ended, and what may be asked of it.
//!
//! All of it stands in a [`Manifest`]; the reference server's is `targets/reference.toml`, so that
//! nothing in the harness knows that server by heart.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use settings::reason;

use super::claim::Claim;
use super::manifest::{Ends, Manifest};
use super::processes::Measured;
use super::program::{executable, own_program};
use crate::stop::Stop;

/// The manifests inside this program, by the names that `--target` takes.
pub const KNOWN: &[(&str, &str)] = &[
    ("reference", include_str!("../../targets/reference.toml")),
    ("webd", include_str!("../../targets/webd.toml")),
    ("papayachat", include_str!("../../targets/papayachat.toml")),
];

/// A server that can be checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// What to execute.
    pub program: PathBuf,
    /// The arguments that come before all others.
    pub leading: Vec<OsString>,
    /// The manifest's file; none for one inside this program.
    pub file: Option<PathBuf>,
    /// What it tells.
    pub manifest: Manifest,
    /// Whether to try, before anything is checked, that the manifest is true: that the server
    /// starts, carries a message and ends as it says. The reference server's is true.
    pub rehearse: bool,
    /// What the rehearsal has measured, or what is to be expected without one.
    pub measured: Measured,
}

impl Target {
    /// The reference server inside this very program, executed as `forkproof chatd …`.
    ///
    /// # Errors
    /// The system does not tell where this program is.
    pub fn reference() -> std::io::Result<Self> {
        let leading = vec!["chatd".into()];
        Ok(Self { name: "reference".into(), leading, ..Self::program(std::env::current_exe()?) })
    }

    /// The servers that come with this program: chatd, and webd, which has workers.
    ///
    /// # Errors
    /// The system does not tell where this program is.
    pub fn references() -> Result<Vec<Self>, String> {
        let first =
            Self::reference().map_err(|error| format!("this program's own path: {error}"))?;
        Ok(vec![first, Self::named(OsStr::new("webd"), None)?])
    }

    /// A program with the reference server's command line.
    pub fn program(path: PathBuf) -> Self {
        let manifest = reference_manifest();
        Self {
            name: path.display().to_string(),
            program: path,
            leading: Vec::new(),
            file: None,
            measured: manifest.expected(),
            manifest,
            rehearse: false,
        }
    }

    /// The target of the manifest `named`: a file, or one of [`KNOWN`]; with `program` in the place
    /// of the manifest's own.
    ///
    /// # Errors
    /// What is wrong with the name, the file (with its line) or the program, as one line.
    pub fn named(named: &OsStr, program: Option<&Path>) -> Result<Self, String> {
        let path = Path::new(named);
        let is_path = path.components().count() > 1 || path.extension().is_some();
        let text_of_known = named.to_str().and_then(|name| {
            KNOWN.iter().find(|(known, _)| *known == name && !is_path).map(|(_, text)| *text)
        });
        let (manifest, file) = match text_of_known {
            Some(_) if named == "reference" => {
                return match program {
                    Some(program) => Ok(Self::program(executable(program)?)),
                    None => Self::reference()
                        .map_err(|error| format!("this program's own path: {error}")),
                };
            }
            Some(text) => (read(text, &format!("target {}", path.display()))?, None),
            None if !is_path && !path.exists() => {
                let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
                let shown = path.display().to_string();
                return Err(format!(
                    "{}; a manifest of your own is a file, NAME.toml",
                    settings::unknown("target", &shown, &known)
                ));
            }
            None => {
                let shown = path.display().to_string();
                let text = std::fs::read(path)
                    .map_err(|error| format!("{shown}: cannot be read: {}", reason(&error)))?;
                let text = String::from_utf8(text)
                    .map_err(|_| format!("{shown}: not UTF-8: a TOML file is UTF-8 text"))?;
                let file =
                    std::path::absolute(path).map_err(|error| format!("{shown}: {error}"))?;
                (read(&text, &shown)?, Some(file))
            }
        };
        Self::with(manifest, file, program)
    }

    /// The target that a manifest within this program describes; `origin` stands for its file in errors.
    ///
    /// # Errors
    /// What is wrong with it, or that its program is not there.
    pub fn of_text(text: &str, origin: &str) -> Result<Self, String> {
        Self::with(read(text, origin)?, None, None)
    }

    fn with(
        manifest: Manifest,
        file: Option<PathBuf>,
        program: Option<&Path>,
    ) -> Result<Self, String> {
        let program = match (program, &manifest.launch.program) {
            (Some(program), _) => executable(program)?,
            (None, Some(own)) => own_program(own, file.as_deref())?,
            (None, None) => {
                return Err(format!(
                    "the target {} names no program of its own: give it with --program FILE",
                    manifest.name.text()
                ));
            }
        };
        if let Some(user) = &manifest.launch.user {
            if !matches!(nix::unistd::User::from_name(user), Ok(Some(_))) {
                return Err(format!("launch.user: this system knows no user `{user}`"));
            }
        }
        Ok(Self {
            name: manifest.name.text().to_owned(),
            program,
            leading: Vec::new(),
            file,
            measured: manifest.expected(),
            manifest,
            rehearse: true,
        })
    }

    /// What ends at the signal of `stop.signal`.
    pub fn ends(&self) -> Ends {
        self.manifest.stop.ends.unwrap_or(Ends::All)
    }

    /// What the server claims.
    pub fn claims(&self) -> BTreeSet<Claim> {
        self.manifest.all_claims()
    }

    /// Whether it claims `claim`.
    pub fn has(&self, claim: Claim) -> bool {
        self.claims().contains(&claim)
    }

    /// Why what takes `needed` is not asked of this server, if it isn't.
    pub fn unclaimed(&self, needed: &[Claim]) -> Option<Stop> {
        let claims = self.claims();
        let missing: Vec<Claim> =
            needed.iter().copied().filter(|claim| !claims.contains(claim)).collect();
        let first = missing.first()?;
        let words: Vec<String> =
            missing.iter().map(|claim| format!("`{}`", claim.word())).collect();
        Some(Stop::Unsupported(format!(
            "the target {} does not claim {}: that it {}",
            self.name,
            words.join(" and "),
            first.sentence()
        )))
    }
}

fn reference_manifest() -> Manifest {
    // A test reads every known manifest, so this one is good.
    read(KNOWN[0].1, "targets/reference.toml").unwrap_or_else(|message| panic!("{message}"))
}

/// Reads and checks a manifest. `origin` stands for its file in errors.
///
/// # Errors
/// One line: `ORIGIN:LINE: MESSAGE`.
pub fn read(text: &str, origin: &str) -> Result<Manifest, String> {
    let manifest: Manifest = settings::parse(text, origin).map_err(|error| error.to_string())?;
    match manifest.check() {
        Ok(()) => Ok(manifest),
        Err(mistake) => {
            let line = line_about(text, &mistake.about);
            // It may quote what the file says.
            Err(settings::one_line(&format!("{origin}:{line}: {}", mistake.message)))
        }
    }
}

/// The line, from 1, in which `about` stands as a value, a key or a table; comments aside.
fn line_about(text: &str, about: &str) -> usize {
    let quoted = [format!("\"{about}\""), format!("'{about}'")];
    let is_key = |line: &str| {
        line.strip_prefix(about).is_some_and(|rest| rest.trim_start().starts_with('='))
            || line.trim_start_matches('[').split([']', '.']).next() == Some(about)
                && line.starts_with('[')
    };
    let lines =
        || text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines()
        .find(|(_, line)| quoted.iter().any(|quoted| line.contains(quoted.as_str())))
        .or_else(|| lines().find(|(_, line)| is_key(line)))
        .map_or(1, |(number, _)| number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_manifest_is_good() {
        for (name, text) in KNOWN {
            let manifest = read(text, name).unwrap();
            assert_eq!(manifest.name.text(), *name);
        }
    }

    #[test]
    fn a_manifest_survives_the_way_to_a_check() {
        for (name, text) in KNOWN {
            let manifest = read(text, name).unwrap();
            let sent = serde_json::to_string(&manifest).unwrap();
            assert_eq!(serde_json::from_str::<Manifest>(&sent).unwrap(), manifest);
        }
    }

    /// The guide's tables of claims and placeholders are made from the code: `UPDATE_SCHEMA=1 cargo
    /// test` writes them.
    #[test]
    fn the_guide_tells_every_claim_placeholder_and_field() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/README.md");
        let mut guide = std::fs::read_to_string(path).unwrap();
        let facts = reference_manifest().facts();
        let claims = Claim::ALL.iter().map(|claim| {
            let from = facts.iter().find(|(of, _, _)| of == claim);
            let from = from.map_or("say it".to_owned(), |(_, from, _)| format!("`{from}`"));
            let asking = crate::requirements::all().filter(|r| r.claims.contains(claim)).count();
            format!("| `{}` | {} | {from} | {asking} |\n", claim.word(), claim.sentence())
        });
        let claims: String = claims.collect();
        let placeholders: String = super::super::template::PLACEHOLDERS
            .iter()
            .map(|(name, what)| format!("| `{{{name}}}` | {what} |\n"))
            .collect();
        for (head, table) in [
            (
                "| claim | the server … | comes from | requirements that ask for it |\n|---|---|---|---|\n",
                &claims,
            ),
            ("| placeholder | becomes |\n|---|---|\n", &placeholders),
        ] {
            let begin = guide.find(head).expect("the table is there") + head.len();
            let end = begin + guide[begin..].find("\n\n").unwrap() + 1;
            if std::env::var_os("UPDATE_SCHEMA").is_some() {
                guide.replace_range(begin..end, table);
                std::fs::write(path, &guide).unwrap();
                continue;
            }
            assert_eq!(&guide[begin..end], table);
        }
        let schema = serde_json::to_value(schemars::schema_for!(Manifest)).unwrap();
        for (table, value) in schema["properties"].as_object().unwrap() {
            let definition = value["$ref"]
                .as_str()
                .or_else(|| value["anyOf"][0]["$ref"].as_str())
                .and_then(|path| path.strip_prefix("#/$defs/"));
            let fields =
                definition.and_then(|name| schema["$defs"][name]["properties"].as_object());
            let names: Vec<String> = match fields {
                Some(fields) => fields.keys().map(|field| format!("`{table}.{field}`")).collect(),
                None => vec![format!("`{table}`")],
            };
            for name in names {
                assert!(guide.contains(&name), "the guide does not tell {name}");
            }
        }
    }

    /// The schema in the repository is made from the types: `UPDATE_SCHEMA=1 cargo test` writes it.
    #[test]
    fn the_schema_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/forkproof-target-1.schema.json");
        let mut schema = schemars::schema_for!(Manifest);
        schema.insert("title".into(), "A forkproof target manifest".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text);
    }

    /// Whatever it holds, a mistake in it is one harmless line that names the file.
    #[test]
    fn fuzz_manifest() {
        const TOKENS: &[&[u8]] = &[
            b"{dir}",
            b"{",
            b"}",
            b"\\x00",
            b"[launch]\n",
            b"\"\"\"",
            b"= [",
            b"until = \"line\"",
            b"0",
        ];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/manifest");
        forkproof_fuzz::fuzz(Path::new(corpus), TOKENS, |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Err(why) = read(text, "x.toml") {
                assert!(why.starts_with("x.toml:"), "{why}");
                assert!(!why.contains(char::is_control), "{}", why.escape_debug());
            }
        });
    }
}
