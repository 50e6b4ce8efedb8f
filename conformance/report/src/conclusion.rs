//! What a run as a whole comes to.

use serde::{Deserialize, Serialize};

use crate::exit_status::ExitStatus;
use crate::verdict::{Level, Verdict};

/// What a run as a whole came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Every requirement that was checked holds, or fails as the baseline expects.
    Conformant,
    /// A requirement failed, or the baseline expects a failure in vain.
    NotConformant,
    /// Nothing failed, but not everything that was to be checked was.
    NoVerdict,
}

impl Conclusion {
    /// Decides, here and nowhere else, what the verdicts mean for the whole.
    pub fn of(verdicts: &[(Verdict, Level)], interrupted: bool) -> Self {
        let any = |wanted| verdicts.iter().any(|(verdict, _)| *verdict == wanted);
        let failed = verdicts.iter().any(|(verdict, level)| match verdict {
            // Informative requirements are reported, and never fail a run.
            Verdict::Fail => *level != Level::May,
            // Here it is the baseline that is wrong, whatever the requirement's level.
            Verdict::Xpass => true,
            Verdict::Pass
            | Verdict::Unsupported
            | Verdict::NotRun
            | Verdict::Error
            | Verdict::Blocked
            | Verdict::Xfail => false,
        });
        if interrupted {
            Self::NoVerdict
        } else if failed {
            Self::NotConformant
        } else if any(Verdict::Error)
            || any(Verdict::Blocked)
            || !(any(Verdict::Pass) || any(Verdict::Xfail))
        {
            Self::NoVerdict
        } else {
            Self::Conformant
        }
    }

    /// Of several runs: a failure anywhere outweighs a missing verdict.
    pub fn of_all(conclusions: impl IntoIterator<Item = Self>) -> Self {
        let gravity = |conclusion: &Self| match conclusion {
            Self::Conformant => 0,
            Self::NoVerdict => 1,
            Self::NotConformant => 2,
        };
        conclusions.into_iter().max_by_key(gravity).unwrap_or(Self::NoVerdict)
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Conformant => "conformant",
            Self::NotConformant => "not conformant",
            Self::NoVerdict => "no verdict",
        }
    }

    /// How a program ends that has this to say.
    pub fn exit_status(self) -> ExitStatus {
        match self {
            Self::Conformant => ExitStatus::Conformant,
            Self::NotConformant => ExitStatus::NotConformant,
            Self::NoVerdict => ExitStatus::NoVerdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[(Verdict::Pass, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::NotRun, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Fail, Level::Should)], Conclusion::NotConformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Fail, Level::May)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Xfail, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Xfail, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Xpass, Level::Must)], Conclusion::NotConformant)]
    // The baseline is stale whatever the level.
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Xpass, Level::May)], Conclusion::NotConformant)]
    #[case(&[(Verdict::Xfail, Level::Must), (Verdict::Error, Level::Must)], Conclusion::NoVerdict)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Blocked, Level::Must)], Conclusion::NoVerdict)]
    #[case(&[(Verdict::Fail, Level::Must), (Verdict::Blocked, Level::Must)], Conclusion::NotConformant)]
    #[case(&[(Verdict::NotRun, Level::Must)], Conclusion::NoVerdict)]
    #[case(&[], Conclusion::NoVerdict)]
    fn what_verdicts_mean_for_the_whole(
        #[case] verdicts: &[(Verdict, Level)],
        #[case] expected: Conclusion,
    ) {
        assert_eq!(Conclusion::of(verdicts, false), expected);
        assert_eq!(Conclusion::of(verdicts, true), Conclusion::NoVerdict);
    }
}
