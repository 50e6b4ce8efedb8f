//! GET by curl(1): HTTPS, and plain HTTP on this host alone. Redirects are checked one by one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use settings::printable;

use crate::catalogue::address;
use crate::error::{Error, Result};
use crate::platform;

/// How servers are talked to.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// How long a name's resolution, and a connection with TLS, may take.
    pub(crate) connect: Duration,
    /// How long a server may send nothing.
    pub(crate) idle: Duration,
    /// A PEM file of the authorities that are believed, instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer, or one that breaks off: another try may help.
    Broken(String),
    /// The server sends no rest of a file.
    NoRest,
    /// An answer that is of no use, or a redirect that is not followed.
    Useless { url: String, why: String },
    /// What came cannot be written.
    Unwritten(String),
    /// There is nobody to ask.
    Other(Error),
}

const REDIRECTS: usize = 8;

/// Asks for `url`. What curl writes to its standard output is returned; `meanwhile` is shown it so
/// far, with the URL that redirects have led to. `more` are further options.
pub(super) fn get(
    url: &str,
    more: &[OsString],
    network: &Network,
    meanwhile: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> std::result::Result<Vec<u8>, Failure> {
    let curl = platform::program("curl").map_err(Failure::Other)?;
    let mut asked = url.to_owned();
    let mut from: Option<String> = None;
    for _ in 0..=REDIRECTS {
        let useless = |why: String| Failure::Useless { url: asked.clone(), why };
        address::check(&asked, from.as_deref())
            .map_err(|why| useless(format!("refused: {why}")))?;
        let mut command = Command::new(&curl);
        command.args(arguments(&asked, more, network));
        let said = platform::tool(&mut command, &mut |output| meanwhile(&asked, output))
            .map_err(Failure::Other)?;
        meanwhile(&asked, &said.output).map_err(Failure::Other)?;
        let mut output = said.output;
        let (status, redirect) = take_last_line(&mut output);
        if !redirect.is_empty() {
            from = Some(std::mem::replace(&mut asked, redirect));
            continue;
        }
        let words = || words(&said.errors);
        return Err(match (said.status.code(), status) {
            (Some(0), 200 | 206) => return Ok(output),
            // Nothing is missing, as it seems: the digest decides.
            (Some(0 | 22), 416) => return Ok(output),
            (Some(0), 300..400) => {
                useless(format!("HTTP status {status} without a usable Location"))
            }
            // CURLE_HTTP_RETURNED_ERROR and so on: curl(1), "EXIT CODES".
            (Some(0 | 22), _) => useless(format!("HTTP status {status}")),
            (Some(23), _) => Failure::Unwritten(words()),
            (Some(28), _) if said.errors.contains("too slow") => {
                Failure::Broken(format!("nothing came for {} s", network.idle.as_secs()))
            }
            (Some(28), _) => {
                Failure::Broken(format!("no connection within {} s", network.connect.as_secs()))
            }
            (Some(33), _) => Failure::NoRest,
            (Some(63), _) => useless("it is larger than it may be".into()),
            (Some(77), _) => Failure::Other(Error::Usage(match &network.ca_file {
                Some(file) => format!("{}: {}", file.display(), words()),
                None => words(),
            })),
            (Some(_), _) => Failure::Broken(words()),
            (None, _) => {
                Failure::Broken(format!("curl: {}", platform::say_how_it_ended(said.status)))
            }
        });
    }
    Err(Failure::Useless { url: url.to_owned(), why: format!("more than {REDIRECTS} redirects") })
}

/// curl's command line. The URL has been checked.
fn arguments(url: &str, more: &[OsString], network: &Network) -> Vec<OsString> {
    let seconds = |time: Duration| time.as_secs().max(1).to_string();
    let plain = url.starts_with("http:");
    let mut words: Vec<OsString> = [
        // No configuration but this. It counts only in the first place.
        "--disable",
        "--silent",
        "--show-error",
        "--fail",
        "--globoff",
        "--no-buffer",
        "--tlsv1.2",
        "--proto",
        if plain { "=http" } else { "=https" },
        // Redirects are not followed, but told; and their bodies are not taken for the file.
        "--location",
        "--max-redirs",
        "0",
        "--connect-timeout",
        &seconds(network.connect),
        "--speed-limit",
        "1",
        "--speed-time",
        &seconds(network.idle),
        "--user-agent",
        concat!("forkproof/", env!("CARGO_PKG_VERSION")),
        "--write-out",
        r"\n%{http_code} %{redirect_url}",
    ]
    .map(OsString::from)
    .into();
    if plain {
        // This host: a proxy would look for it elsewhere.
        words.extend(["--noproxy", "*"].map(OsString::from));
    }
    if let Some(file) = &network.ca_file {
        words.extend(["--cacert".into(), file.into()]);
    }
    words.extend_from_slice(more);
    words.extend(["--", url].map(OsString::from));
    words
}

/// Takes what `--write-out` appended: the status, and where a redirect leads.
fn take_last_line(output: &mut Vec<u8>) -> (u16, String) {
    let start = output.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = String::from_utf8_lossy(&output[start..]).into_owned();
    output.truncate(start.saturating_sub(1));
    let (status, redirect) = line.split_once(' ').unwrap_or((&line, ""));
    (status.parse().unwrap_or(0), redirect.to_owned())
}

/// curl's error without its name and its number.
fn words(errors: &str) -> String {
    let line = errors.lines().next_back().unwrap_or_default();
    let line = line.strip_prefix("curl: (").and_then(|rest| rest.split_once(") ")).map(|p| p.1);
    printable(line.unwrap_or(errors))
}

/// From what `--dump-header` wrote so far: the status and the body's length, once a file's head is
/// whole. Heads of informational answers and of redirects are passed over.
pub(super) fn file_head(output: &[u8]) -> Option<(u16, Option<u64>)> {
    let text = String::from_utf8_lossy(output);
    let (heads, _unfinished) = text.rsplit_once("\r\n\r\n")?;
    heads.split("\r\n\r\n").find_map(|head| {
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        matches!(status, 200 | 206).then_some((status, length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ca_file: Option<&str>) -> Network {
        let seconds = Duration::from_secs;
        Network { connect: seconds(30), idle: seconds(60), ca_file: ca_file.map(PathBuf::from) }
    }

    fn line(url: &str, network: &Network) -> String {
        let words = arguments(url, &["--output".into(), "part".into()], network);
        words.iter().map(|word| word.to_string_lossy() + " ").collect()
    }

    #[test]
    fn https_is_demanded_of_curl_and_its_settings_are_not_asked() {
        let line = line("https://example.org/a[1-9]", &network(Some("ca.pem")));
        assert!(line.starts_with("--disable "), "{line}");
        assert!(line.ends_with(" --output part -- https://example.org/a[1-9] "), "{line}");
        for words in [
            " --proto =https ",
            " --tlsv1.2 ",
            " --fail ",
            " --globoff ",
            " --location --max-redirs 0 ",
            " --connect-timeout 30 --speed-limit 1 --speed-time 60 ",
            " --cacert ca.pem ",
        ] {
            assert!(line.contains(words), "`{words}` is not in {line}");
        }
        assert!(!line.contains("insecure"), "{line}");
    }

    #[test]
    fn plain_http_goes_past_proxies() {
        let line = line("http://127.0.0.1:8080/a", &network(None));
        assert!(line.contains(" --proto =http ") && line.contains(" --noproxy * "), "{line}");
    }

    #[test]
    fn what_curl_appends_is_taken_off() {
        for (output, rest, expected) in [
            ("body\nof lines\n\n200 ", "body\nof lines\n", (200, "")),
            ("\n302 https://example.org/a b", "", (302, "https://example.org/a b")),
            ("", "", (0, "")),
        ] {
            let mut bytes = output.as_bytes().to_vec();
            let (status, redirect) = take_last_line(&mut bytes);
            assert_eq!((status, redirect.as_str()), expected);
            assert_eq!(bytes, rest.as_bytes());
        }
    }

    #[test]
    fn the_head_of_a_file() {
        let early = "HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n\r\n";
        let head = "HTTP/2 206 \r\ncontent-length: 12\r\netag: \"a\"\r\n";
        assert_eq!(file_head(b""), None);
        assert_eq!(file_head(format!("{early}{head}").as_bytes()), None);
        assert_eq!(file_head(format!("{early}{head}\r\n").as_bytes()), Some((206, Some(12))));
        assert_eq!(file_head(b"HTTP/1.1 200 OK\r\n\r\n\n200 "), Some((200, None)));
    }
}
