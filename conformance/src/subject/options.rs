//! The arguments for what a check may want of a server.

use serde::de::{
    MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::template::Template;

/// The arguments for what a check may want. An empty list: nothing need be said for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// To listen on `{address}`, once for each.
    #[serde(default)]
    pub address: Option<Words>,
    /// How many addresses it can be told; any number when missing.
    #[serde(default)]
    pub addresses: Option<std::num::NonZeroU8>,
    /// To listen on the default addresses, on port `{port}`.
    #[serde(default)]
    pub any_address: Option<Words>,
    /// To send `{lines}` lines of the log first.
    #[serde(default)]
    pub replay: Option<Words>,
    /// To go into the background.
    #[serde(default)]
    pub daemon: Option<Words>,
    /// To write messages to standard error.
    #[serde(default)]
    pub stderr: Option<Words>,
    /// To write messages to the system's log.
    #[serde(default)]
    pub syslog: Option<Words>,
    /// To become `{user}`.
    #[serde(default)]
    pub user: Option<Words>,
    /// To serve `{number}` clients at most.
    #[serde(default)]
    pub max_clients: Option<Words>,
    /// To read the configuration file `{config}`.
    #[serde(default)]
    pub config: Option<Words>,
    /// To make `{ready-file}` when it listens.
    #[serde(default)]
    pub ready_file: Option<Words>,
    /// To serve on the listening sockets that it is handed, `LISTEN_FDS` of them from descriptor 3 on.
    #[serde(default)]
    pub activation: Option<Words>,
}

/// Arguments that say something.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Words {
    /// They come after all others.
    Added(Vec<Template>),
    /// They take the place of others.
    Instead(Instead),
}

/// See [`Words::Instead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Instead {
    /// Arguments of `launch.arguments`, one after the other there.
    pub instead_of: Vec<Template>,
    /// What stands in their place.
    #[serde(default)]
    pub arguments: Vec<Template>,
}

impl Words {
    /// The arguments themselves.
    pub fn arguments(&self) -> &[Template] {
        match self {
            Self::Added(arguments) => arguments,
            Self::Instead(instead) => &instead.arguments,
        }
    }

    /// Where in `arguments` those begin whose place these take; none when they take none.
    pub fn place_in(&self, arguments: &[Template]) -> Option<usize> {
        let Self::Instead(Instead { instead_of, .. }) = self else { return None };
        arguments.windows(instead_of.len().max(1)).position(|part| part == instead_of)
    }
}

/// By hand, so that a mistake within is told and not only that neither form fits.
impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Words;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of arguments, or { instead-of = [...], arguments = [...] }")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Words, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Words::Added)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Words, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(table)).map(Words::Instead)
            }
        }

        deserializer.deserialize_any(Either)
    }
}
