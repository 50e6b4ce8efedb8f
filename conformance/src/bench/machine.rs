//! The machine that is measured on.

use serde::Serialize;

use super::statistics::Summary;
use crate::platform;

/// What the figures depend on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name, if it is told.
    pub processor: Option<String>,
    /// Who chooses its frequency, if that is told.
    pub governor: Option<String>,
    /// What others used of the machine meanwhile, in percent of all its processors.
    pub others_percent: Option<Summary>,
}

impl Machine {
    /// This one; `others` is what others used of it, a figure of each measurement.
    pub fn this(others: impl Iterator<Item = Option<f64>>) -> Self {
        Self {
            processor: platform::processor_model(),
            governor: platform::governor(),
            others_percent: Summary::of_all(others),
        }
    }
}
