//! Why a stranger is not let in. Its receiver's exit status says so to the daemon, which alone
//! knows how many there are and how many to tell of.

use std::fmt;

/// Why a stranger is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    ServerEnds,
    ClosedBeforeKey,
    LostBeforeKey,
    NoKeyInTime,
    WrongKey,
}

/// The first refusal's exit status: apart from those of `sysexits.h` and of shells.
const FIRST: i32 = 32;

impl Refusal {
    const ALL: [Self; 5] = [
        Self::ServerEnds,
        Self::ClosedBeforeKey,
        Self::LostBeforeKey,
        Self::NoKeyInTime,
        Self::WrongKey,
    ];

    /// The receiver's exit status.
    pub(crate) fn status(self) -> i32 {
        FIRST + self as i32
    }

    /// The refusal of which this is the exit status.
    pub(crate) fn from_status(status: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.status() == status)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerEnds => "the server ends",
            Self::ClosedBeforeKey => "closed before the key",
            Self::LostBeforeKey => "connection lost before the key",
            Self::NoKeyInTime => "no key within the timeout",
            Self::WrongKey => "wrong key",
        })
    }
}
