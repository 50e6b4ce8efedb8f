//! What a run as a whole comes to, and how a program says so when it ends.

use serde::{Deserialize, Serialize};

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
            | Verdict::Xfail => false,
        });
        if interrupted {
            Self::NoVerdict
        } else if failed {
            Self::NotConformant
        } else if any(Verdict::Error) || !(any(Verdict::Pass) || any(Verdict::Xfail)) {
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

/// The exit statuses of every command, in one place. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0: everything that was checked holds; of other commands: it is done.
    Conformant,
    /// 1: a requirement failed, or the baseline is stale; of `diff`: something differs.
    NotConformant,
    /// 2: the command line, or a file that it names, is wrong.
    Usage,
    /// 3: the harness or its surroundings failed, or the run was interrupted.
    NoVerdict,
    /// 4: nothing was selected.
    NothingSelected,
}

impl ExitStatus {
    /// Of several runs, the first of these speaks for all.
    const WORST_FIRST: [Self; 5] = [
        Self::NoVerdict,
        Self::Usage,
        Self::NothingSelected,
        Self::NotConformant,
        Self::Conformant,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Conformant => 0,
            Self::NotConformant => 1,
            Self::Usage => 2,
            Self::NoVerdict => 3,
            Self::NothingSelected => 4,
        }
    }

    /// The status that `code` stands for, if it is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::WORST_FIRST.into_iter().find(|status| status.code() == code)
    }

    /// The one that speaks for all of `statuses`; of none, that all is well.
    pub fn worst(statuses: impl IntoIterator<Item = Self>) -> Self {
        let rank = |status: &Self| Self::WORST_FIRST.iter().position(|known| known == status);
        statuses.into_iter().min_by_key(rank).unwrap_or(Self::Conformant)
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
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
    #[case(&[(Verdict::NotRun, Level::Must)], Conclusion::NoVerdict)]
    #[case(&[], Conclusion::NoVerdict)]
    fn what_verdicts_mean_for_the_whole(
        #[case] verdicts: &[(Verdict, Level)],
        #[case] expected: Conclusion,
    ) {
        assert_eq!(Conclusion::of(verdicts, false), expected);
        assert_eq!(Conclusion::of(verdicts, true), Conclusion::NoVerdict);
    }

    #[rstest]
    #[case(&[], 0)]
    #[case(&[0, 1, 0], 1)]
    #[case(&[1, 4], 4)]
    #[case(&[4, 2], 2)]
    #[case(&[1, 3, 2], 3)]
    fn the_worst_status_speaks_for_all(#[case] codes: &[u8], #[case] worst: u8) {
        let statuses = codes.iter().map(|&code| ExitStatus::from_code(code).unwrap());
        assert_eq!(ExitStatus::worst(statuses).code(), worst);
    }

    #[test]
    fn numbers_and_statuses_are_one_to_one() {
        for status in ExitStatus::WORST_FIRST {
            assert_eq!(ExitStatus::from_code(status.code()), Some(status));
        }
        assert_eq!(ExitStatus::from_code(137), None);
    }
}
