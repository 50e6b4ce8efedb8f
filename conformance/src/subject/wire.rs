//! What a server speaks: how a client is let in, what it asks, and how it knows the answer.
//!
//! | kind | a client is served when |
//! |---|---|
//! | `chat` | it hears the line that it said, as all others do |
//! | `echo` | it hears the line that it said |
//! | `exchange` | its request has the response that the manifest tells |
//! | `http` | its GET has the status that the manifest tells, and the whole body is there |
//! | `greeting` | the server has said its greeting |

use std::num::NonZeroU16;

use serde::de::{IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::words::{KeyLength, Seconds};

/// What a server speaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Wire {
    /// How a client and the server talk.
    pub kind: Kind,
    /// What the server says first, to everyone who connects.
    pub greeting: Option<Bytes>,
    /// With `kind = "exchange"`: what a client asks; `{token}` is a new word each time.
    pub request: Option<Bytes>,
    /// With `kind = "exchange"`: what the answer holds; it may hold `{token}`.
    pub response: Option<Bytes>,
    /// With `kind = "exchange"`: where an answer ends; with the line of the response when missing.
    pub until: Option<Until>,
    /// Whether a connection can be asked again.
    pub again: Option<Again>,
    /// With `kind = "http"`: what to GET; `/` when missing.
    pub path: Option<Bytes>,
    /// With `kind = "http"`: the status that a GET has; 200 when missing.
    pub status: Option<u16>,
    /// How many clients it serves at a time, if that is fewer than 200: larger crowds are made
    /// smaller.
    pub clients: Option<NonZeroU16>,
    /// How many bytes of key a client sends first; 0 for none.
    pub key: KeyLength,
    /// After how many seconds a client is closed whose key is not there.
    pub auth_timeout: Option<Seconds>,
    /// With `kind = "chat"` or `"echo"`: what ends a message from a client.
    pub ending_in: Ending,
    /// With `kind = "chat"` or `"echo"`: what ends a message to a client.
    pub ending_out: Ending,
    /// With `kind = "chat"`: how many lines of the log a new client is sent first.
    pub replay: u16,
    /// With `kind = "chat"`: whether speakers hear themselves.
    pub echo: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            kind: Kind::Chat,
            greeting: None,
            request: None,
            response: None,
            until: None,
            again: None,
            path: None,
            status: None,
            clients: None,
            key: KeyLength(0),
            auth_timeout: None,
            ending_in: Ending::Newline,
            ending_out: Ending::Newline,
            replay: 0,
            echo: true,
        }
    }
}

/// See [`Wire::kind`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What one client says all hear.
    #[default]
    Chat,
    /// What a client says comes back to it.
    Echo,
    /// A request has a response.
    Exchange,
    /// HTTP/1.1 (RFC 9112).
    Http,
    /// The server says its greeting, and nothing more is asked of it.
    Greeting,
}

/// See [`Wire::again`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// The same connection can be asked again.
    Same,
    /// The server closes it after its answer.
    Reconnect,
    /// It stays open, but cannot be asked again.
    None,
}

/// Where an answer ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Until {
    /// At a place that has a name.
    Place(Place),
    /// After this many bytes.
    Length(u32),
    /// With these bytes.
    Mark(Mark),
}

/// See [`Until::Mark`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The bytes.
    pub bytes: Bytes,
}

/// By hand, so that a mistake within is told and not only that no form fits.
impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Until;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "\"match\", \"line\", \"blank-line\", \"close\", a number of bytes, or { bytes = TEXT }",
                )
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Until, E> {
                Place::deserialize(word.into_deserializer()).map(Until::Place)
            }

            fn visit_u64<E: serde::de::Error>(self, length: u64) -> Result<Until, E> {
                match u32::try_from(length) {
                    Ok(length) if length > 0 => Ok(Until::Length(length)),
                    _ => Err(E::custom("an answer has 1 to 4294967295 bytes")),
                }
            }

            fn visit_i64<E: serde::de::Error>(self, length: i64) -> Result<Until, E> {
                self.visit_u64(u64::try_from(length).unwrap_or(0))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Until, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(table)).map(Until::Mark)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// See [`Until::Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// With the response itself.
    Match,
    /// With the line in which the response ends.
    Line,
    /// With an empty line.
    BlankLine,
    /// With the connection.
    Close,
}

/// What ends a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// A newline, which belongs to it.
    #[default]
    Newline,
    /// A NUL byte instead of the newline.
    Nul,
    /// Nothing: bytes are passed on as they come.
    Nothing,
}

/// Bytes, as text with escapes: `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN`. `{token}` stands for a word
/// that is new each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(String);

/// What stands for a word that is new each time.
const TOKEN: &str = "{token}";

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty text, where bytes to send or to wait for are wanted".into());
        }
        unescaped(&text)?;
        Ok(Self(text))
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl Bytes {
    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `{token}` stands in it.
    pub fn has_token(&self) -> bool {
        self.0.contains(TOKEN)
    }

    /// The bytes, with `token` in its place.
    pub fn with(&self, token: &str) -> Vec<u8> {
        // It was read when it was made.
        unescaped(&self.0.replace(TOKEN, token)).unwrap_or_default()
    }
}

/// The bytes that `text` stands for.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let (byte, length) = match escape.bytes().next() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'0') => (0, 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => match escape.get(1..3).map(|digits| u8::from_str_radix(digits, 16)) {
                Some(Ok(byte)) => (byte, 3),
                _ => return Err("`\\x` is followed by two hexadecimal digits".into()),
            },
            _ => {
                return Err(
                    "an unknown escape: there are \\r, \\n, \\t, \\0, \\\\ and \\xNN".into()
                );
            }
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

impl Wire {
    /// Whether a connection can be asked again.
    pub fn again(&self) -> Again {
        match self.kind {
            Kind::Chat | Kind::Echo => Again::Same,
            Kind::Greeting => Again::None,
            Kind::Exchange => self.again.unwrap_or(Again::Same),
            Kind::Http => self.again.unwrap_or(Again::Reconnect),
        }
    }

    /// Whether clients say lines, which come back to them at least.
    pub fn has_lines(&self) -> bool {
        matches!(self.kind, Kind::Chat | Kind::Echo)
    }

    /// Whether speakers hear themselves.
    pub fn comes_back(&self) -> bool {
        match self.kind {
            Kind::Chat => self.echo,
            Kind::Echo => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn bytes(text: &str) -> Result<Bytes, String> {
        Bytes::try_from(text.to_owned())
    }

    #[rstest]
    #[case(r"PING {token}\r\n", b"PING abc\r\n")]
    #[case(r"\x00\x08\xff", b"\x00\x08\xff")]
    #[case(r"a\\n\t\0", b"a\\n\t\0")]
    #[case("ü\r\n", "ü\r\n".as_bytes())]
    fn escapes_are_read(#[case] text: &str, #[case] expected: &[u8]) {
        assert_eq!(bytes(text).unwrap().with("abc"), expected);
    }

    #[rstest]
    #[case(r"\q", "an unknown escape")]
    #[case(r"at the end \", "an unknown escape")]
    #[case(r"\x0", "two hexadecimal digits")]
    #[case(r"\xü0", "two hexadecimal digits")]
    #[case("", "an empty text")]
    fn what_is_no_escape_is_told(#[case] text: &str, #[case] expected: &str) {
        let mistake = bytes(text).unwrap_err();
        assert!(mistake.contains(expected), "{mistake}");
    }
}
