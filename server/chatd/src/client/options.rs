//! What the user asked for: arguments, then the environment, then the configuration file.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser};
use nix::unistd::{User, getuid};
use serde::Deserialize;

use super::display;
use super::failure::{Exit, Failure};

const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: NonZeroU16 = NonZeroU16::new(7722).unwrap();
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const AFTER_HELP: &str = "\
At a terminal, what you type is edited and sent line by line, and the chat appears above it; \
control characters that others sent are shown, not obeyed. Empty lines are not sent. /help and \
/quit are commands; //TEXT sends /TEXT. Several lines that are pasted are sent when you say yes. \
Ctrl-R looks for what you entered before. A lost connection is made again, after 1 s, 2 s, 4 s and \
so on (not with --once). Names have colours unless NO_COLOR is set. Ctrl-D leaves, Ctrl-C leaves at once.

In a pipe, each line of standard input is sent as `USERNAME: LINE`, and nothing is printed \
unless --print is given or standard input is a terminal. After the last line the client waits \
until the server has sent every line back and closed: status 0 means that the server took them \
all. Control characters are made visible here too, and lines are printed once they are whole; \
--raw prints the server's bytes as they come.

Names prove nothing: everybody who has the key can send any line under any name.

Examples:
  echo 'Tea is ready' | chat      say one thing
  chat --listen | grep -i tea     follow the chat, from its last lines on
  chat --print </dev/null         only read the last lines

Configuration: chat/config.toml in $XDG_CONFIG_HOME (~/.config), if it is there, with any of
  host, port, username, key-file, connect-timeout, timeout
A key-file in it is relative to the configuration file. Arguments win over the environment, and \
the environment wins over the file.

Exit status:
  0    done: every line was taken, you left, or the reader of standard output did
  1    standard input or output failed
  2    wrong arguments, configuration or key file
  3    cannot connect
  4    closed before the server sent a byte: most likely the key was refused
  5    the connection was lost or timed out; the last lines may not have been taken
  130  Ctrl-C";

/// Talk in a chat served by chatd
#[derive(Parser)]
#[command(name = "chat", version, after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,

    /// Another configuration file
    #[arg(short, long, value_name = "FILE", env = "CHAT_CONFIG")]
    config: Option<PathBuf>,

    /// Send nothing; print the chat until the server closes or Ctrl-C
    #[arg(short, long)]
    listen: bool,

    /// In a pipe, print what arrives: the last lines, other people's and your own
    #[arg(long, conflicts_with = "listen")]
    print: bool,

    /// At a terminal, exit when the connection is lost instead of reconnecting
    #[arg(long)]
    once: bool,

    /// At a terminal, show when each line arrived; lines replayed when you join show the time you
    /// joined
    #[arg(long)]
    times: bool,

    /// Bytes as they are: send standard input without a username, and print what arrives with the
    /// control characters that others put in it
    #[arg(long)]
    raw: bool,
}

/// What both the arguments and the configuration file can say.
#[derive(Args, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// The server's name or address; all addresses of a name are tried [default: localhost]
    #[arg(long, env = "CHAT_HOST")]
    host: Option<String>,

    /// The server's TCP port [default: 7722]
    #[arg(short, long, env = "CHAT_PORT", value_parser = parse_port)]
    port: Option<NonZeroU16>,

    /// Your name in the chat [default: $USER, or your login name]
    #[arg(short, long, env = "CHAT_USERNAME")]
    username: Option<Username>,

    /// The file with the server's key, exactly 128 bytes, for its owner only (mode 0600) [default:
    /// `key` in the directory of the configuration file]
    #[arg(short, long, value_name = "FILE", env = "CHAT_KEY_FILE")]
    key_file: Option<PathBuf>,

    /// How long to try to connect [default: 10]
    #[arg(long, value_name = "SECONDS")]
    connect_timeout: Option<Seconds>,

    /// How long the server may make no progress with what was sent [default: 10]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<Seconds>,
}

fn parse_port(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse().map_err(|_| "a port is a number from 1 to 65535")
}

/// The environment variable that holds the value clap complains about, if one does: clap names
/// only the argument.
pub(super) fn variable_to_blame(error: &clap::Error) -> Option<String> {
    let ContextValue::String(argument) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let ContextValue::String(value) = error.get(ContextKind::InvalidValue)? else {
        return None;
    };
    let name = argument.split(' ').next()?.strip_prefix("--")?;
    let command = Arguments::command();
    let blamed = command.get_arguments().find(|known| known.get_long() == Some(name))?;
    let variable = blamed.get_env()?.to_str()?;
    (std::env::var_os(variable)? == value.as_str()).then(|| variable.to_owned())
}

/// Everything decided.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) username: Username,
    pub(super) key_file: PathBuf,
    pub(super) listen: bool,
    pub(super) print: bool,
    pub(super) raw: bool,
    pub(super) times: bool,
    pub(super) once: bool,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

impl Options {
    pub(super) fn resolve(arguments: Arguments) -> Result<Self, Failure> {
        let Arguments { settings: given, config, listen, print, once, times, raw } = arguments;
        let asked_for = config.is_some();
        // Without a home directory there is no default file, which is no error.
        let directory = configuration_directory();
        let file = config.or_else(|| Some(directory.as_ref()?.join("config.toml")));
        let configured = match &file {
            Some(path) => match settings::read::<Settings>(path) {
                Err(error) if error.is_missing_file() && !asked_for => Settings::default(),
                other => other.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?,
            },
            None => Settings::default(),
        };

        let configured_key = configured.key_file.map(|key| {
            let base = file.as_deref().and_then(Path::parent);
            base.unwrap_or(Path::new("")).join(key)
        });
        let key_file =
            given.key_file.or(configured_key).or_else(|| Some(directory?.join("key"))).ok_or_else(
                || Failure::new(Exit::Usage, "no key file: name one with --key-file FILE"),
            )?;
        let username = match given.username.or(configured.username) {
            Some(username) => username,
            None if listen || raw => Username::unused(),
            None => Username::of_this_user()?,
        };
        let seconds = |given: Option<Seconds>, configured: Option<Seconds>| {
            given.or(configured).map_or(DEFAULT_TIMEOUT, |Seconds(duration)| duration)
        };
        Ok(Self {
            host: given.host.or(configured.host).unwrap_or_else(|| DEFAULT_HOST.to_owned()),
            port: given.port.or(configured.port).unwrap_or(DEFAULT_PORT).get(),
            username,
            key_file,
            listen,
            print,
            raw,
            times,
            once,
            connect_timeout: seconds(given.connect_timeout, configured.connect_timeout),
            timeout: seconds(given.timeout, configured.timeout),
        })
    }
}

/// Where the configuration file is.
fn configuration_directory() -> Option<PathBuf> {
    settings::base_directory("XDG_CONFIG_HOME", ".config").map(|base| base.join("chat"))
}

/// A name to put before each line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Username(String);

impl Username {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// For a client that sends no name.
    fn unused() -> Self {
        Self(String::new())
    }

    fn of_this_user() -> Result<Self, Failure> {
        let name = std::env::var("USER")
            .ok()
            .filter(|name| !name.is_empty())
            .or_else(|| Some(User::from_uid(getuid()).ok()??.name));
        let fix = "say --username NAME";
        match name.map(Self::try_from) {
            Some(Ok(username)) => Ok(username),
            Some(Err(error)) => Err(Failure::new(
                Exit::Usage,
                format!("your login name does not serve here: {error}; {fix}"),
            )),
            None => Err(Failure::new(Exit::Usage, format!("you have no login name: {fix}"))),
        }
    }
}

impl TryFrom<String> for Username {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.trim().is_empty() {
            Err("a username is not empty")
        } else if name.contains(char::is_control) {
            Err("a username has no line breaks or other control characters")
        } else if name.contains(display::turns) {
            Err("a username has no marks that change the direction of text")
        } else {
            Ok(Self(name))
        }
    }
}

impl FromStr for Username {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::try_from(name.to_owned())
    }
}

/// A time in seconds, with decimals if need be; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(Duration);

const NOT_SECONDS: &str = "a time is a number of seconds above 0, as 10 or 0.5";

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        if seconds.is_nan() {
            return Err(NOT_SECONDS);
        }
        // A day is for ever, and keeps the sums with points in time from overflowing.
        match Duration::try_from_secs_f64(seconds.min(86_400.0)) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(NOT_SECONDS),
        }
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.parse::<f64>().map_err(|_| NOT_SECONDS)?)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10", Some(Duration::from_secs(10)))]
    #[case("0.25", Some(Duration::from_millis(250)))]
    #[case("inf", Some(Duration::from_secs(86_400)))]
    #[case("0", None)]
    #[case("-1", None)]
    #[case("ten", None)]
    fn times(#[case] text: &str, #[case] expected: Option<Duration>) {
        assert_eq!(text.parse().ok(), expected.map(Seconds));
    }

    #[test]
    fn not_a_number_is_no_time() {
        assert!(Seconds::try_from(f64::NAN).is_err());
    }

    #[rstest]
    #[case("bob", true)]
    #[case("Bob the Builder", true)]
    #[case("bob: x", true)]
    #[case("", false)]
    #[case("  ", false)]
    #[case("bob\nroot", false)]
    #[case("bob\u{1b}[1m", false)]
    #[case("bob\u{9b}1m", false)]
    #[case("\u{202e}bob", false)]
    #[case("bob\u{2066}", false)]
    #[case("bob\u{200f}", false)]
    #[case("bob\u{2028}", false)]
    #[case("žofie", true)]
    #[case("علي", true)]
    fn usernames(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(name.parse::<Username>().is_ok(), valid);
    }
}
