//! The exit statuses: the numbers, in one place.

/// The exit statuses of `forkproof`, all its commands. Scripts rely on the numbers.
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
