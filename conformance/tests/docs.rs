//! The commands of the book and of the README are run as they stand there.
//!
//! A fenced block whose language is `console` is a session: lines that begin with `$ ` are commands,
//! the lines after each are what it prints. A command ends with status 0, or as its comment
//! `# exit status N` says. In what it prints `…` stands for anything, a line of it alone for any
//! lines, and every number for any number. What is not run says why, after the language:
//! `console not-run: REASON`.
//!
//! The blocks of a chapter share a directory, in which `my-server.c` lies and the program it makes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};

/// A command, and what is said of it.
struct Step {
    line: usize,
    command: String,
    printed: Vec<String>,
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let mut files = vec![root.join("README.md")];
    let chapters = std::fs::read_dir(root.join("conformance/docs/src")).expect("the book");
    files.extend(chapters.map(|entry| entry.expect("an entry").path()));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let mut trials = vec![
        Trial::test("every_chapter_is_in_the_summary", every_chapter_is_in_the_summary),
        Trial::test("the_readme_fits_on_a_screen_or_three", the_readme_is_short),
    ];
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a chapter");
        if let Err(why) = steps(&text) {
            trials.push(Trial::test(name, move || Err(why.into())));
            continue;
        }
        trials.push(Trial::test(name, move || chapter(&file, &text)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs a chapter's commands, each after the other.
fn chapter(file: &Path, text: &str) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = prepare(dir.path())?;
    for step in steps(text)? {
        let output = Command::new("sh")
            .args(["-c", &step.command])
            .current_dir(dir.path())
            .env("PATH", &path)
            .env("HOME", dir.path())
            .env_remove("SUDO_UID")
            .output()?;
        let place = format!("{}:{}: $ {}", file.display(), step.line, step.command);
        judge(&step, &output).map_err(|why| {
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            format!("{place}\n{why}\n--- it printed:\n{said}{complained}")
        })?;
    }
    Ok(())
}

/// A directory as the book has it, and the PATH on which it finds `forkproof`.
fn prepare(dir: &Path) -> Result<String, Failed> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/my-server.c");
    std::fs::copy(&source, dir.join("my-server.c"))?;
    let built = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-o", "my-server", "my-server.c"])
        .current_dir(dir)
        .output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned().into());
    }
    let programs: PathBuf = dir.join(".programs");
    std::fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_forkproof"), programs.join("forkproof"))?;
    Ok(format!("{}:{}", programs.display(), std::env::var("PATH")?))
}

/// The commands of the blocks that are run.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut block: Option<bool> = None;
    for (at, line) in text.lines().enumerate() {
        let line_number = at + 1;
        match (block, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let words = language.trim();
                let known = match words.strip_prefix("console") {
                    None => Some(false),
                    Some("") => Some(true),
                    Some(why) => {
                        why.strip_prefix(" not-run: ").filter(|why| !why.is_empty()).map(|_| false)
                    }
                };
                block = Some(known.ok_or(format!("line {line_number}: `{words}`?"))?);
            }
            (Some(_), Some(_)) => block = None,
            (Some(true), None) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    line: line_number,
                    command: command.to_owned(),
                    printed: Vec::new(),
                }),
                (None, Some(step)) => step.printed.push(line.to_owned()),
                (None, None) => return Err(format!("line {line_number}: no command before it")),
            },
            (Some(false) | None, None) => {}
        }
    }
    Ok(steps)
}

/// Whether a command ended and printed as it stands there.
fn judge(step: &Step, output: &Output) -> Result<(), String> {
    let expected = step.command.split("# exit status ").nth(1).map_or(Ok(0), |status| {
        status.trim().parse::<i32>().map_err(|error| format!("exit status {status}: {error}"))
    })?;
    if output.status.code() != Some(expected) {
        return Err(format!("it ended with {}, not with {expected}", output.status));
    }
    // Where nothing is shown, nothing is said.
    if step.printed.is_empty() {
        return Ok(());
    }
    let text = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // A remark about the machine is none about the commands.
    let slow = "This machine is slow: ";
    let printed: Vec<&str> = text.lines().filter(|line| !line.starts_with(slow)).collect();
    let shown: Vec<&str> = step.printed.iter().map(String::as_str).collect();
    if lines_match(&shown, &printed) { Ok(()) } else { Err("it prints something else".into()) }
}

/// Whether `printed` is what is shown; a line of `…` alone stands for any number of lines.
fn lines_match(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(next, others)| line_matches(first, next) && lines_match(rest, others)),
    }
}

/// Whether a line is as shown, whatever its numbers and its white space are.
fn line_matches(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (plain(shown), plain(printed));
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part.trim()) else { return false };
        rest = &rest[at + part.trim().len()..];
        last = part;
    }
    // What follows the last … may be anything.
    rest.trim().is_empty() || (shown.contains('…') && last.trim().is_empty())
}

/// With `#` for each number, and one space between words.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        let mut in_number = false;
        for c in word.chars() {
            let continues = in_number && c == '.';
            if !c.is_ascii_digit() && !continues {
                plain.push(c);
            } else if !in_number {
                plain.push('#');
            }
            in_number = c.is_ascii_digit() || continues;
        }
    }
    plain
}

fn every_chapter_is_in_the_summary() -> Result<(), Failed> {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
    let summary = std::fs::read_to_string(book.join("SUMMARY.md"))?;
    for entry in std::fs::read_dir(&book)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "SUMMARY.md" && !summary.contains(&format!("({name})"))
        {
            return Err(format!("{name} is not in SUMMARY.md").into());
        }
    }
    Ok(())
}

/// Whoever meets the project reads to the end of it.
fn the_readme_is_short() -> Result<(), Failed> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))?;
    let lines = readme.lines().count();
    if lines > 120 {
        return Err(format!("README.md has {lines} lines: the book has room").into());
    }
    for command in ["$ cargo run --release -- run ", "$ cargo test --workspace "] {
        if !readme.lines().take(15).any(|line| line.starts_with(command)) {
            return Err(format!("`{command}` is not at the top of README.md").into());
        }
    }
    Ok(())
}
