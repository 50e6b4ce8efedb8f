//! The layers of each crate: an import goes down, never up and never round.
//!
//! The module trees are read from the sources, with every path in them that begins with `crate`,
//! `super` or `self` (in `use` lines and elsewhere; tests inside a file aside), and each import is
//! laid between two files. A file that may import another one stands above it in [`CRATES`]; what
//! stands in one folder is ordered by having no circle. `cargo test --test architecture -- --nocapture`
//! lists the layers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// Each crate, by its `lib.rs`, and its layers from the bottom up.
const CRATES: &[(&str, &[&str])] = &[
    (
        "conformance/src/lib.rs",
        &[
            "stop",
            "offspring",
            "platform",
            "personality",
            "subject",
            "needs",
            "harness",
            "requirement",
            "requirements",
            "probe",
            "bench",
            "survey",
            "run",
            "controls",
            "diff",
            "results",
            "render",
            "commands",
        ],
    ),
    (
        "conformance/report/src/lib.rs",
        &[
            "schema",
            "verdict",
            "facts",
            "evidence",
            "exception",
            "exit_status",
            "conclusion",
            "report",
            "read",
        ],
    ),
    (
        "conformance/sinks/src/lib.rs",
        &["copy", "processes", "threads", "polled", "tasks", "designs", "floor"],
    ),
    (
        "server/settings/src/lib.rs",
        &["text", "scope", "nearest", "directories", "start_error", "file"],
    ),
    ("conformance/host/src/lib.rs", &["elf", "interrupt", "queue"]),
    (
        "conformance/personality/src/lib.rs",
        &[
            "sys",
            "table",
            "real",
            "state",
            "inherited",
            "kept",
            "darwin",
            "filter",
            "window",
            "start",
            "pools",
            "clocks",
            "names",
            "signals",
            "descriptors",
            "pid_files",
            "handshakes",
            "files",
            "locks",
            "processes",
            "streams",
            "sockets",
            "waits",
            "exports",
        ],
    ),
    (
        "vm/src/lib.rs",
        &[
            "error",
            "platform",
            "catalogue",
            "cache",
            "guest",
            "obtain",
            "machine",
            "payload",
            "job",
            "readiness",
            "commands",
        ],
    ),
    (
        "server/webd/src/lib.rs",
        &[
            "cache",
            "diagnostics",
            "limits",
            "metrics",
            "options",
            "platform",
            "outgoing",
            "body",
            "signals",
            "access_log",
            "announce",
            "notify",
            "privileges",
            "sockets",
            "place",
            "accept",
            "config",
            "exposition",
            "upgrade",
            "balance",
            "channel",
            "files",
            "watch",
            "proxy",
            "service",
            "connection",
            "worker",
            "supervise",
            "master",
            "renewal",
            "server",
        ],
    ),
    (
        "server/chatd/src/lib.rs",
        &[
            "platform",
            "diagnostics",
            "signals",
            "generations",
            "key",
            "log",
            "listen",
            "privileges",
            "config",
            "sender",
            "receiver",
            "daemon",
            "launcher",
            "server",
            "client",
        ],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is in the repository")
}

/// A module's path, from the crate's root: `["run", "warden"]`; the root itself is empty.
type Module = Vec<String>;

/// The modules of a crate, each with its files: more than one where a system chooses.
#[derive(Default)]
struct Tree {
    files: BTreeMap<Module, Vec<(PathBuf, syn::File)>>,
    /// Circles and code where only declarations belong.
    mistakes: Vec<String>,
}

impl Tree {
    fn read(lib: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(Vec::new(), lib.to_owned());
        tree
    }

    fn add(&mut self, module: Module, path: PathBuf) {
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap_or_default();
        let dir = path.parent().expect("a file is in a directory");
        let below = if name == "mod" || name == "lib" { dir.to_owned() } else { dir.join(name) };
        for item in &file.items {
            let syn::Item::Mod(child) = item else { continue };
            if child.content.is_some() {
                continue;
            }
            let named = child.attrs.iter().find(|a| a.path().is_ident("path")).map(|attribute| {
                let syn::Meta::NameValue(pair) = &attribute.meta else { panic!("#[path]") };
                let syn::Expr::Lit(literal) = &pair.value else { panic!("#[path]") };
                let syn::Lit::Str(text) = &literal.lit else { panic!("#[path]") };
                dir.join(text.value())
            });
            let child_name = child.ident.to_string();
            let file = named.unwrap_or_else(|| {
                let alone = below.join(format!("{child_name}.rs"));
                if alone.exists() { alone } else { below.join(&child_name).join("mod.rs") }
            });
            let mut path = module.clone();
            path.push(child_name);
            self.add(path, file);
        }
        if name == "mod" || name == "lib" {
            self.only_declares(&path, &file);
        }
        self.files.entry(module).or_default().push((path, file));
    }

    /// What a folder's children have in common has a file of its own: else they would import the
    /// folder that imports them.
    fn only_declares(&mut self, path: &Path, file: &syn::File) {
        for item in &file.items {
            let declares = match item {
                syn::Item::Mod(module) => module.content.is_none(),
                syn::Item::Use(_) => true,
                syn::Item::Macro(call) => call.mac.path.is_ident("compile_error"),
                _ => false,
            };
            if !declares {
                self.mistakes
                    .push(format!("{}: holds more than declarations and re-exports", shown(path)));
                return;
            }
        }
    }

    /// The longest beginning of `path` that is a module.
    fn module_of(&self, path: &[String]) -> Module {
        (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|module| self.files.contains_key(module))
            .unwrap_or_default()
    }

    /// Which module imports which, with a place to look at.
    fn imports(&self) -> BTreeMap<(Module, Module), String> {
        let mut found = BTreeMap::new();
        for (module, files) in &self.files {
            for (path, file) in files {
                let mut paths = Paths { module, found: BTreeSet::new() };
                paths.visit_file(file);
                for imported in paths.found {
                    let target = self.module_of(&imported);
                    if target != *module {
                        let place = format!("{} imports {}", shown(path), imported.join("::"));
                        found.entry((module.clone(), target)).or_insert(place);
                    }
                }
            }
        }
        found
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The paths inside the crate that a file names.
struct Paths<'a> {
    module: &'a Module,
    found: BTreeSet<Module>,
}

impl Paths<'_> {
    /// A path from the crate's root, if `segments` is one inside it.
    fn note(&mut self, segments: &[String]) {
        let Some(first) = segments.first() else { return };
        let mut base: Module = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            _ => return,
        };
        let mut rest = &segments[1..];
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        self.found.insert(base);
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_tree(before, tree));
            }
        }
    }
}

/// Whether an item is there in tests only.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if let syn::UseTree::Path(path) = &item.tree {
            // What a folder re-exports is its own.
            let own = path.ident != "crate" && path.ident != "super" && path.ident != "self";
            let segment = path.ident.to_string();
            let mut first = vec![segment];
            if own {
                first.insert(0, "self".to_owned());
            }
            self.note_tree(&first, &path.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.note(&segments);
        }
        syn::visit::visit_path(self, path);
    }
}

/// A way round, if there is one.
fn circle(imports: &BTreeMap<(Module, Module), String>) -> Option<Vec<&str>> {
    let mut done: BTreeSet<&Module> = BTreeSet::new();
    for (from, _) in imports.keys() {
        let mut way: Vec<(&Module, Vec<(&Module, &str)>)> = vec![(from, edges(imports, from))];
        let mut places: Vec<&str> = Vec::new();
        while let Some((module, left)) = way.last_mut() {
            let module: &Module = module;
            let Some((next, place)) = left.pop() else {
                done.insert(module);
                way.pop();
                places.pop();
                continue;
            };
            if done.contains(next) {
                continue;
            }
            places.push(place);
            if let Some(at) = way.iter().position(|(known, _)| *known == next) {
                return Some(places.split_off(at));
            }
            way.push((next, edges(imports, next)));
        }
    }
    None
}

fn edges<'a>(
    imports: &'a BTreeMap<(Module, Module), String>,
    from: &Module,
) -> Vec<(&'a Module, &'a str)> {
    imports
        .iter()
        .filter(|((importer, _), _)| importer == from)
        .map(|((_, imported), place)| (imported, place.as_str()))
        .collect()
}

/// What is wrong with a crate.
fn mistakes(lib: &Path, layers: &[&str]) -> Vec<String> {
    let tree = Tree::read(lib);
    let imports = tree.imports();
    let mut mistakes = tree.mistakes;
    let layer = |module: &Module| {
        let name = module.first().map_or("", String::as_str);
        layers.iter().position(|layer| *layer == name)
    };
    for module in tree.files.keys().filter(|module| !module.is_empty()) {
        if layer(module).is_none() {
            mistakes.push(format!("{}: {} stands in no layer", shown(lib), module.join("::")));
        }
    }
    for ((from, to), place) in &imports {
        // The root re-exports what it likes.
        if !from.is_empty() && layer(to) > layer(from) {
            mistakes.push(format!("{place}, which is above it"));
        }
    }
    if let Some(circle) = circle(&imports) {
        mistakes.push(format!("a circle: {}", circle.join("; ")));
    }
    mistakes
}

#[test]
fn imports_go_down() {
    let mut found = Vec::new();
    for (lib, layers) in CRATES {
        println!("{lib}: {}", layers.join(" < "));
        found.extend(mistakes(&root().join(lib), layers));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The command line is for `commands` alone.
#[test]
fn only_commands_know_the_command_line() {
    let mut found = Vec::new();
    let mut folders = vec![root().join("conformance/src"), root().join("vm/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "commands") {
                    folders.push(path);
                }
            } else if !path.ends_with("main.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains("clap::") || text.contains("crate::commands::") {
                    found.push(shown(&path));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join(", "));
}

/// The test itself: an import upwards and a circle are found.
#[test]
fn a_wrong_import_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let found = || mistakes(&dir.path().join("lib.rs"), &["low", "high"]).join("\n");
    write("lib.rs", "mod high;\nmod low;\n");
    write("high.rs", "use crate::low::thing;\n");
    write("low.rs", "pub fn thing() {}\n");
    assert_eq!(found(), "");
    write("low.rs", "pub fn thing() { crate::high::other() }\n");
    let words = found();
    assert!(words.contains("low.rs imports high::other, which is above it"), "{words}");
    assert!(words.contains("a circle: "), "{words}");
    write("low.rs", "#[cfg(test)]\nmod tests { use crate::high::other; }\n");
    assert_eq!(found(), "");
    write("lib.rs", "mod high;\nmod low;\nfn more() {}\n");
    assert!(found().contains("more than declarations"), "{}", found());
}
