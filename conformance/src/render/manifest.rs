//! A manifest from what a survey has found out, with comments for whoever goes on with it.

use std::fmt::Write as _;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::survey::{Answer, Command, Model, Survey};

/// The manifest of the server `name`, which was started by `command` and found as `survey` tells.
/// `directory` is where it has to be started; none when it starts anywhere.
pub fn manifest(name: &str, command: &Command, survey: &Survey, directory: Option<&str>) -> String {
    let mut text = format!(
        "# Drafted by `forkproof init`, which started this and looked:\n#\n#   {}\n#\n",
        shell_words::join(&command.words).replace('\n', " ")
    );
    text += "# What it could not find out it says in comments. All fields: \
             conformance/targets/README.md\n";
    let _ = writeln!(text, "name = {}", quoted(name));
    text += CLAIMS;
    text += &launch(command, survey, directory);
    text += &stop(survey);
    text += &processes(survey);
    text += &wire(survey);
    text
}

const CLAIMS: &str = "\
# What nothing shows from outside, and is asked of the server only when it is said here:
#   \"startup-errors\", it exits non-zero and names what is wrong when it cannot start
#   \"sigint\", it ends at SIGINT as at SIGTERM · \"sighup\", it survives SIGHUP
#   \"ipv6\" and \"dual-stack\", with options.address and options.any-address
#   `forkproof list` shows what each brings.
claims = []
";

fn launch(command: &Command, survey: &Survey, directory: Option<&str>) -> String {
    let mut text = String::from("\n[launch]\n");
    let (program, arguments) = match command.words.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", [].as_slice()),
    };
    let port = survey.addresses.first().map_or(0, std::net::SocketAddr::port);
    let mut own = arguments.to_vec();
    let mut address = Vec::new();
    let told: &[&str] = match own.iter().any(|word| word.contains("{host}")) {
        true => &["{host}", "{port}"],
        false => &["{address}"],
    };
    while let Some(at) = own.iter().position(|word| told.iter().any(|part| word.contains(part))) {
        // With the option that it belongs to.
        let begin = match at.checked_sub(1) {
            Some(before) if own[before].starts_with('-') && !own[at].starts_with('-') => before,
            _ => at,
        };
        address.extend(own.drain(begin..=at));
    }
    let tells_port = !address.is_empty() || own.iter().any(|word| word.contains("{port}"));
    let digits = port.to_string();
    let named: Vec<usize> = (0..own.len()).filter(|&at| own[at].contains(&digits)).collect();
    let replaced = !tells_port && !named.is_empty();
    for word in &mut own {
        *word = match word.as_str() {
            word if tells_port => braces_kept(word),
            word if replaced => doubled(word).replace(&digits, "{port}"),
            word => doubled(word),
        };
    }
    let _ = writeln!(text, "program = {}", quoted(&doubled(program)));
    let _ = writeln!(text, "arguments = {}", list(&own));
    if let Some(directory) = directory {
        text +=
            "# It did not start in an empty directory, the check's own, so it is started here.\n";
        let _ = writeln!(text, "directory = {}", quoted(directory));
    }
    if !tells_port && !replaced {
        text +=
            "# It was not told its port, so each check gives it a network of its own (Linux).\n";
        let _ = writeln!(text, "port = {port}");
    }
    if survey.background {
        text += "# What was started ended, and another process of it listens.\nbackground = true\n";
    }
    if !address.is_empty() {
        let address: Vec<String> = address.iter().map(|word| braces_kept(word)).collect();
        let _ = writeln!(text, "\n[options]\naddress = {}", list(&address));
    }
    text += "\n[ready]\n# Something of it listens on its port: that needs nothing of the server.\nby = \"port\"\n";
    text
}

fn stop(survey: &Survey) -> String {
    let mut text = String::from("\n[stop]\n");
    let Some(ended) = survey.ended else {
        return text
            + "# Neither SIGTERM nor SIGINT ended it: say what does.\nsignal = \"SIGTERM\"\n";
    };
    let signal = Signal::try_from(ended.signal).map_or("SIGTERM", Signal::as_str);
    if signal != "SIGTERM" {
        text += "# SIGTERM did not end it.\n";
    }
    let _ = writeln!(text, "signal = {}", quoted(signal));
    match ended.status {
        Some(0) => text += "status = 0\n",
        Some(status) => {
            text += "# A service manager takes this for a failure.\n";
            let _ = writeln!(text, "status = {status}");
        }
        None => {}
    }
    if ended.seconds > 5.0 {
        let _ = writeln!(text, "# With a client in it took {:.1} s.", ended.seconds);
    }
    // In halves of a second.
    let limit = ((ended.seconds * 1.5).max(2.0) * 2.0).ceil() / 2.0;
    let _ = writeln!(text, "limit = {limit:.1}");
    if ended.all {
        text += "ends = \"all\"\n";
    } else {
        text += "# With a client in, its process went on: is that meant?\nends = \"daemon\"\n";
    }
    text
}

fn processes(survey: &Survey) -> String {
    let (model, why) = match survey.model {
        Model::One => ("one", "the process that listens serves them itself, or by threads"),
        Model::PerClient => ("per-client", "with a client in there was a process more"),
        Model::Workers => ("workers", "a client is served by a process that was there before"),
    };
    let idle = match survey.idle {
        1 => "one process".to_owned(),
        count => format!("{count} processes"),
    };
    format!("\n[processes]\n# Without clients {idle}; {why}.\nmodel = \"{model}\"\n")
}

fn wire(survey: &Survey) -> String {
    let mut text = String::from("\n[wire]\n");
    let spoken = &survey.spoken;
    if let Some(clients) = survey.clients {
        text += "# With so many clients in that say nothing, one more had no answer.\n";
        let _ = writeln!(text, "clients = {}", clients.max(1));
    }
    let greeting = |text: &mut String| {
        if let Some(greeting) = &spoken.greeting {
            let _ = writeln!(text, "greeting = {}", bytes(greeting));
        }
    };
    match &spoken.answer {
        Some(Answer::Chat { echo, nul }) => {
            text += "# What one client says another one hears.\nkind = \"chat\"\n";
            if !echo {
                text += "echo = false\n";
            }
            if *nul {
                text += "ending-out = \"nul\"\n";
            }
        }
        Some(Answer::Echo) => {
            text += "# A client hears what it says.\nkind = \"echo\"\n";
            greeting(&mut text);
        }
        Some(Answer::Http { status, again }) => {
            text += "kind = \"http\"\n";
            if *status != 200 {
                let _ = writeln!(
                    text,
                    "# What `GET /` had; name a path that is there.\nstatus = {status}"
                );
            }
            if *again {
                text += "# A connection can be asked again.\nagain = \"same\"\n";
            }
        }
        Some(Answer::Line { crlf, response, holds_token, again }) => {
            text += "# A line that it does not know has an answer, which does for most requirements;\n\
                     # a command that it knows is better.\nkind = \"exchange\"\n";
            greeting(&mut text);
            let ending = if *crlf { r"\r\n" } else { r"\n" };
            let _ = writeln!(text, "request = '{{token}}{ending}'");
            match holds_token {
                true => text += "response = '{token}'\n",
                false => {
                    let _ = writeln!(text, "response = {}", bytes(response));
                }
            }
            let again = match again {
                Some(true) => "same",
                Some(false) => "none",
                None => "reconnect",
            };
            let _ = writeln!(text, "again = \"{again}\"");
        }
        None if spoken.greeting.is_some() => {
            text += "# It says this first, and answered neither a line nor a GET. If there is something \
                     that\n# it answers: kind = \"exchange\", request and response.\nkind = \"greeting\"\n";
            greeting(&mut text);
        }
        None => {
            text += "# It says nothing first, and answered neither a line nor a GET. Say what a client \
                     asks,\n# and what the answer holds; \\xNN stands for a byte.\nkind = \"exchange\"\n\
                     request = 'TODO {token}\\r\\n'\nresponse = '{token}'\n";
        }
    }
    text
}

/// Text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

/// A word in which every brace is itself.
fn doubled(word: &str) -> String {
    word.replace('{', "{{").replace('}', "}}")
}

/// A word in which every brace is itself but those of `{port}`, `{host}` and `{address}`.
fn braces_kept(word: &str) -> String {
    ["port", "host", "address"].iter().fold(doubled(word), |word, name| {
        word.replace(&format!("{{{{{name}}}}}"), &format!("{{{name}}}"))
    })
}

/// Bytes as the wire's fields have them.
fn bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\r' => text += r"\r",
            b'\n' => text += r"\n",
            b'\t' => text += r"\t",
            b'\\' => text += r"\\",
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, r"\x{byte:02x}");
            }
        }
    }
    match text.contains('\'') {
        true => quoted(&text),
        false => format!("'{text}'"),
    }
}

/// A name for the server that `command` starts.
pub fn name_of(command: &Command) -> String {
    let words = &command.words;
    let word = match words.iter().position(|word| word == "-m") {
        // An interpreter's module is more telling than the interpreter.
        Some(at) if words.len() > at + 1 => words[at + 1].as_str(),
        _ => words.first().map_or("server", String::as_str),
    };
    let base = Path::new(word).file_name().map_or(word.into(), |name| name.to_string_lossy());
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = base.chars().map(|c| if good(c) { c } else { '-' }).take(64).collect();
    if name.is_empty() { "server".into() } else { name }
}
