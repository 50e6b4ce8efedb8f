//! A figure over something that is counted, as the coordinates of an SVG picture.
//!
//! The template draws it with classes, so that the page's style gives it colours for light and dark,
//! which a library's fixed colours would not.

use serde::Serialize;

use super::figure::digits;

/// A point: where it is on the horizontal axis, the figure, and the figure's interval.
pub(super) type Measured = (usize, f64, Option<[f64; 2]>);

/// The style of pages with plots and tables of figures.
pub(super) const STYLE: &str = include_str!("../../templates/plots.css");
/// The macros that draw them.
pub(super) const TEMPLATE: &str = include_str!("../../templates/plots.html");

/// As many colours and marks as the style of pages with plots has.
pub(super) const COLOURS: usize = 10;

/// What a picture shows.
pub(super) struct Words {
    /// Where links go.
    pub(super) anchor: String,
    /// What it is of.
    pub(super) title: String,
    /// What the vertical axis counts.
    pub(super) unit: &'static str,
    /// What the horizontal axis counts, which is logarithmic; or names for 1, 2, 3, ….
    pub(super) across: Across,
}

/// See [`Words::across`].
#[derive(Clone, Copy)]
pub(super) enum Across {
    /// What is counted.
    Count(&'static str),
    /// What the names stand for, and the names.
    Names(&'static str, &'static [&'static str]),
}

/// Of the picture, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// A picture.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub(super) anchor: String,
    pub(super) title: String,
    /// What the vertical axis counts.
    unit: &'static str,
    /// What the horizontal axis counts.
    counted: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Place and label.
    across: Vec<(f64, String)>,
    up: Vec<(f64, String)>,
    series: Vec<Series>,
}

#[derive(Debug, Serialize)]
struct Series {
    name: String,
    /// Which colour and which mark.
    number: usize,
    /// `x,y x,y …`
    line: String,
    marks: Vec<Mark>,
}

#[derive(Debug, Serialize)]
struct Mark {
    x: f64,
    y: f64,
    /// Ends of the interval.
    low: Option<f64>,
    high: Option<f64>,
    words: String,
}

/// Draws the series, each with its name; none when there is nothing to draw. The vertical axis is
/// logarithmic.
pub(super) fn plot(words: Words, series: &[(usize, String, Vec<Measured>)]) -> Option<Plot> {
    let Words { anchor, title, unit, across } = words;
    let points = || series.iter().flat_map(|(_, _, points)| points);
    let values = points().flat_map(|(_, value, interval)| {
        interval.unwrap_or([*value; 2]).into_iter().chain([*value]).filter(|value| *value > 0.0)
    });
    let (low, high) = values.fold(None, |range: Option<(f64, f64)>, value| {
        Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    })?;
    let (low, high) = (bound(low, f64::floor), bound(high, f64::ceil));
    let high = if high > low { high } else { high * 10.0 };
    let mut counts: Vec<usize> = points().map(|(count, ..)| *count).collect();
    counts.sort_unstable();
    counts.dedup();
    let (first, last) = (*counts.first()? as f64, *counts.last()? as f64);

    let right = WIDTH - RIGHT;
    let bottom = HEIGHT - BOTTOM;
    let x = |count: usize| match last > first {
        // A little off the axes, so that no mark lies on them.
        true => {
            let share = match across {
                Across::Count(_) => (count as f64 / first).ln() / (last / first).ln(),
                Across::Names(..) => (count as f64 - first) / (last - first),
            };
            round(LEFT + 18.0 + share * (right - LEFT - 36.0))
        }
        false => round((LEFT + right) / 2.0),
    };
    let y = |value: f64| {
        let value = value.clamp(low, high);
        round(bottom - (value / low).ln() / (high / low).ln() * (bottom - TOP))
    };
    let drawn = series.iter().map(|(number, name, points)| {
        let marks: Vec<Mark> = points
            .iter()
            .filter(|(_, value, _)| *value > 0.0)
            .map(|(count, value, interval)| Mark {
                x: x(*count),
                y: y(*value),
                low: interval.map(|[low, _]| y(low)),
                high: interval.map(|[_, high]| y(high)),
                words: format!("{name}, {}: {} {unit}", across.label(*count), digits(*value)),
            })
            .collect();
        let line: Vec<String> = marks.iter().map(|mark| format!("{},{}", mark.x, mark.y)).collect();
        Series { name: name.clone(), number: *number, line: line.join(" "), marks }
    });
    Some(Plot {
        anchor,
        title,
        unit,
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right,
        top: TOP,
        bottom,
        counted: across.title(),
        across: counts.iter().map(|&count| (x(count), across.label(count))).collect(),
        up: ticks(low, high).into_iter().map(|value| (y(value), label(value))).collect(),
        series: drawn.collect(),
    })
}

impl Across {
    fn title(self) -> &'static str {
        match self {
            Self::Count(title) | Self::Names(title, _) => title,
        }
    }

    fn label(self, count: usize) -> String {
        match self {
            Self::Names(_, names) if (1..=names.len()).contains(&count) => names[count - 1].into(),
            _ => count.to_string(),
        }
    }
}

/// The next of 1, 2, 5, 10, … in that direction.
fn bound(value: f64, towards: fn(f64) -> f64) -> f64 {
    let is_up = towards(0.5) > 0.5;
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    let near = 1e-9 * value;
    let found = match is_up {
        true => steps.into_iter().find(|step| *step >= value - near),
        false => steps.into_iter().rev().find(|step| *step <= value + near),
    };
    found.unwrap_or(value)
}

/// 1, 2, 5, 10, … from `low` to `high`; powers of ten alone when there are many.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    const MANY: f64 = 2.5;
    let decades = (high / low).log10();
    let steps: &[f64] = if decades > MANY { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let within = |value: &f64| *value >= low * 0.999 && *value <= high * 1.001;
    (first..=last)
        .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
        .filter(within)
        .collect()
}

fn label(value: f64) -> String {
    match value {
        large if large >= 1e6 => format!("{} M", large / 1e6),
        large if large >= 1e4 => format!("{} k", large / 1e3),
        // As few digits as it takes.
        small => format!("{}", (small * 1e6).round() / 1e6),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(across: Across) -> Words {
        Words { anchor: "a".into(), title: "b".into(), unit: "ms", across }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(bound(3.7, f64::floor), 2.0);
        assert_eq!(bound(3.7, f64::ceil), 5.0);
        assert_eq!(bound(5.0, f64::ceil), 5.0);
        assert_eq!(bound(0.07, f64::floor), 0.05);
        assert_eq!(ticks(0.5, 20.0), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(ticks(1.0, 1e4), [1.0, 10.0, 100.0, 1e3, 1e4]);
        assert_eq!([0.05, 2000.0, 2e4, 5e6].map(label), ["0.05", "2000", "20 k", "5 M"]);
    }

    #[test]
    fn more_is_higher_and_further_right() {
        let points = vec![(1, 2.0, Some([1.0, 3.0])), (64, 100.0, None)];
        let plot = plot(words(Across::Count("c")), &[(0, "fork".into(), points)]).unwrap();
        let marks = &plot.series[0].marks;
        assert!(marks[0].x < marks[1].x && marks[0].y > marks[1].y, "{marks:?}");
        assert!(marks[0].low.unwrap() > marks[0].y && marks[0].y > marks[0].high.unwrap());
        assert!(marks.iter().all(|mark| (TOP..=HEIGHT).contains(&mark.y)), "{marks:?}");
    }

    #[test]
    fn nothing_is_not_drawn() {
        let of = |points| plot(words(Across::Count("c")), &[(0, "fork".into(), points)]);
        assert!(of(Vec::new()).is_none());
        assert!(of(vec![(1, 0.0, None)]).is_none());
    }

    #[test]
    fn names_stand_in_equal_distances() {
        let across = Across::Names("share", &["50 %", "90 %", "99 %"]);
        let points = vec![(1, 1.0, None), (2, 2.0, None), (3, 4.0, None)];
        let plot = plot(words(across), &[(0, "fork".into(), points)]).unwrap();
        let labels: Vec<&str> = plot.across.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["50 %", "90 %", "99 %"]);
        let [a, b, c] = [0, 1, 2].map(|at| plot.across[at].0);
        assert!((b - a - (c - b)).abs() < 0.2, "{a} {b} {c}");
        assert_eq!(plot.series[0].marks[1].words, "fork, 90 %: 2.00 ms");
    }
}
