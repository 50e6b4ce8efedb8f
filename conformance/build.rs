//! Builds the personality library and embeds it, so that `forkproof` finds it
//! without installation.
//!
//! Cargo's artifact dependencies are unstable, and a nested cargo would need the
//! outer one's flags and locks. The library has no dependencies for this reason:
//! one run of rustc builds it, in about two seconds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=personality/src");
    let out = PathBuf::from(variable("OUT_DIR"));
    let library = out.join("libforkproof_personality.so");
    let constant = match build(&library) {
        Ok(()) => format!("Ok(include_bytes!({library:?}))"),
        Err(why) => format!("Err({why:?})"),
    };
    let source = format!("pub(super) const EMBEDDED: Result<&[u8], &str> = {constant};\n");
    fs::write(out.join("embedded.rs"), source).expect("OUT_DIR is writable");
}

/// Builds the library, or says why this `forkproof` can carry none. What stops
/// only this build, on a platform that could have it, ends the build.
fn build(library: &Path) -> Result<(), String> {
    let target = variable("TARGET");
    let system = variable("CARGO_CFG_TARGET_OS");
    if !["linux", "freebsd"].contains(&system.as_str()) {
        return Err(format!(
            "the personality library is written for Linux and FreeBSD, not {system}"
        ));
    }
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        return Err(format!(
            "it is a static build ({target}), and a static program cannot load one"
        ));
    }
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args([
            "--crate-name",
            "forkproof_personality",
            "--edition",
            "2024",
            "--crate-type",
            "cdylib",
        ])
        .args(["--target", &target, "-o"])
        .arg(library)
        .args([
            "-Cpanic=abort",
            "-Copt-level=2",
            "-Clto=fat",
            "-Ccodegen-units=1",
            "-Cstrip=symbols",
        ])
        .args(linking_flags())
        .arg("personality/src/lib.rs");
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut flag = std::ffi::OsString::from("-Clinker=");
        flag.push(linker);
        rustc.arg(flag);
    }
    let run = rustc.output().map_err(|error| format!("{rustc:?} could not be run: {error}"))?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr);
    if said.contains("E0463") {
        // -Zbuild-std makes core for cargo's own runs of rustc, not for this one.
        return Err(format!("there was no ready-made core library for {target} when it was built"));
    }
    if target != variable("HOST") {
        println!(
            "cargo::warning=the personality library is not embedded: rustc could not build it for {target}"
        );
        return Err(format!("it could not be built for {target}"));
    }
    panic!("the personality library does not build:\n{said}");
}

/// Those of the user's flags that say how to link for this target. The others
/// (coverage, lints, std's own) are for crates with std.
fn linking_flags() -> Vec<String> {
    const KEPT: [&str; 6] = [
        "linker=",
        "linker-flavor=",
        "link-arg=",
        "link-args=",
        "target-cpu=",
        "link-self-contained=",
    ];
    let all = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut flags = all.split('\u{1f}').peekable();
    let mut kept = Vec::new();
    while let Some(flag) = flags.next() {
        let option = match flag {
            "-C" | "--codegen" => flags.next().unwrap_or_default(),
            _ => flag.strip_prefix("-C").or(flag.strip_prefix("--codegen=")).unwrap_or_default(),
        };
        if KEPT.iter().any(|name| option.starts_with(name)) {
            kept.push(format!("-C{option}"));
        }
    }
    kept
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
