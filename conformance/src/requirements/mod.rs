//! The requirements, one file per area: the code of `signals/handler-persists` is in `signals.rs`.

mod signals;

use crate::catalogue::Requirement;

/// The areas, in the order in which they are shown.
pub const AREAS: &[&[Requirement]] = &[signals::REQUIREMENTS];
