//! The servers that are measured without a manifest of yours: webd, and those of this machine that
//! everybody knows.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::subject::Target;

/// A server whose configuration is made here.
#[derive(Debug)]
pub struct KnownServer {
    /// What it is called.
    pub name: &'static str,
    /// What its processes do.
    pub about: &'static str,
    /// What its program may be called; none of one inside this program.
    programs: &'static [&'static str],
    /// A module without which it is not there.
    module: Option<&'static str>,
    manifest: &'static str,
}

/// All of them.
pub static KNOWN_SERVERS: [KnownServer; 4] = [
    KnownServer {
        name: "webd",
        about: "the reference server: a master, and workers of one thread each",
        programs: &[],
        module: None,
        manifest: include_str!("webd.toml"),
    },
    KnownServer {
        name: "nginx",
        about: "a master, and workers of one thread each",
        programs: &["nginx"],
        module: None,
        manifest: include_str!("nginx.toml"),
    },
    KnownServer {
        name: "apache-event",
        about: "processes of 25 threads each",
        programs: APACHE,
        module: Some("mod_mpm_event.so"),
        manifest: include_str!("apache-event.toml"),
    },
    KnownServer {
        name: "apache-prefork",
        about: "processes that serve one connection each",
        programs: APACHE,
        module: Some("mod_mpm_prefork.so"),
        manifest: include_str!("apache-prefork.toml"),
    },
];

const APACHE: &[&str] = &["apache2", "httpd"];
/// Where Debian, Fedora, Arch and FreeBSD keep Apache's modules.
const MODULES: [&str; 4] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/local/libexec/apache24",
];
/// Where servers are that no ordinary user has in PATH.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Where one of them is.
#[derive(Debug, Clone)]
pub struct Found {
    program: Option<PathBuf>,
    modules: &'static str,
    /// What its program says that it is; empty where there is nothing to ask.
    pub version: String,
}

impl KnownServer {
    /// Finds it, in PATH or where the system has its servers.
    ///
    /// # Errors
    /// What is missing.
    pub fn find(&self) -> Result<Found, String> {
        let Some(first) = self.programs.first() else {
            return Ok(Found { program: None, modules: "", version: String::new() });
        };
        let program = self
            .programs
            .iter()
            .find_map(|name| program(name))
            .ok_or_else(|| format!("there is no program {first} in PATH or /usr/sbin"))?;
        let modules = match self.module {
            None => "",
            Some(module) => MODULES
                .into_iter()
                .find(|dir| Path::new(dir).join(module).exists())
                .ok_or_else(|| format!("there is no {module}"))?,
        };
        Ok(Found { version: version(&program), program: Some(program), modules })
    }

    /// It, with so many workers.
    ///
    /// # Errors
    /// The manifest is wrong, or its program cannot be executed.
    pub fn target(&self, found: &Found, workers: usize) -> Result<Target, String> {
        const THREADS: usize = 25;
        let program = found.program.as_deref().map(quoted).unwrap_or_default();
        let text = self
            .manifest
            .replace("PROGRAM", &program)
            .replace("MODULES", found.modules)
            .replace("WORKERS", &workers.to_string())
            .replace("THREADS", &(workers * THREADS).to_string());
        Target::of_text(&text, self.name)
    }
}

/// As a string of TOML in which braces stand for themselves.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('{', "{{").replace('}', "}}");
    toml::Value::String(text).to_string()
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
    let places = std::env::join_paths(places).ok()?;
    which::which_in(OsStr::new(name), Some(places), "/").ok()
}

/// The first line of what it says to `-v`.
fn version(program: &Path) -> String {
    let said = Command::new(program).arg("-v").stdin(Stdio::null()).output();
    let said = said.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| line.contains("version")).unwrap_or_default();
    let words = line.split_once(':').map_or(line, |(_, version)| version).trim();
    settings::printable(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_is_good() {
        for known in &KNOWN_SERVERS {
            // This very program stands for one that may not be here.
            let program = std::env::current_exe().ok();
            let found = Found { program, modules: "/modules", version: String::new() };
            let target = known.target(&found, 3).unwrap();
            assert_eq!(target.name, known.name);
            let manifest = serde_json::to_string(&target.manifest).unwrap();
            for left in ["WORKERS", "PROGRAM", "MODULES", "THREADS"] {
                assert!(!manifest.contains(left), "{left}: {manifest}");
            }
        }
    }
}
