//! What several rounds say together.

use serde::{Deserialize, Serialize};

/// A figure of several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The 95 % interval of the median, by bootstrap; none of a single round.
    pub interval: Option<[f64; 2]>,
    /// The mean.
    pub mean: f64,
    /// Standard deviation over mean; none of a single round, or when the mean is 0.
    pub variation: Option<f64>,
}

/// How often the rounds are drawn anew.
const RESAMPLES: usize = 4000;
/// The same rounds have the same interval, on any machine.
const SEED: u64 = 0x666f_726b;

impl Summary {
    /// Of these; none of no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let is_several = values.len() > 1;
        let variation = (is_several && mean != 0.0).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt() / mean
        });
        let interval = is_several.then(|| bootstrap(values));
        Some(Self { median: median(&mut values.to_vec()), interval, mean, variation })
    }

    /// Of those that are there; none unless all are.
    pub fn of_all(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        Self::of(&values.collect::<Option<Vec<f64>>>()?)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn bootstrap(values: &[f64]) -> [f64; 2] {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut drawn = vec![0.0; values.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.fill_with(|| values[random.usize(..values.len())]);
            median(&mut drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    [medians[RESAMPLES / 40], medians[RESAMPLES - 1 - RESAMPLES / 40]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_mean_and_variation() {
        let summary = Summary::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((summary.median, summary.mean), (2.5, 2.5));
        // The standard deviation of these is the root of 5/3.
        assert!((summary.variation.unwrap() - (5.0_f64 / 3.0).sqrt() / 2.5).abs() < 1e-12);
        let one = Summary::of(&[7.0]).unwrap();
        assert_eq!((one.median, one.interval, one.variation), (7.0, None, None));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of_all([Some(1.0), None].into_iter()), None);
    }

    #[test]
    fn an_interval_holds_the_median_and_ignores_one_outlier() {
        let values = [10.0, 10.1, 9.9, 10.2, 9.8, 10.0, 10.1, 9.9, 10.0, 90.0];
        let summary = Summary::of(&values).unwrap();
        let [low, high] = summary.interval.unwrap();
        assert!(low <= summary.median && summary.median <= high, "{summary:?}");
        assert!(9.8 <= low && high <= 10.2, "{summary:?}");
        assert_eq!(Summary::of(&values), Some(summary), "the same every time");
    }
}
