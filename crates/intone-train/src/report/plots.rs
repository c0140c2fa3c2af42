//! The pictures of a report: in grey they say the same as in colour.

use intone::Emotion;

use super::{Calibration, CoveragePoint, Group, Speaker};
use crate::metrics::Figure;
use crate::robustness::Robustness;
use crate::svg::{Anchor, Axes, BLUE, FAINT, INK, ORANGE, Stroke, Svg, number, ticks};
use crate::training_set::N_CLASSES;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 380.0;

fn axes(x_range: (f64, f64), y_range: (f64, f64)) -> Axes {
    Axes { left: 64.0, right: WIDTH - 20.0, top: 20.0, bottom: HEIGHT - 50.0, x_range, y_range }
}

/// Each row of truth as shares, shaded; the count below its share.
pub(super) fn confusion(
    counts: &[[usize; N_CLASSES]; N_CLASSES],
    rows: &[[Option<Figure>; N_CLASSES]; N_CLASSES],
) -> String {
    const CELL: (f64, f64) = (66.0, 46.0);
    const LEFT: f64 = 104.0;
    const TOP: f64 = 46.0;
    let n = N_CLASSES as f64;
    let (width, height) = (LEFT + n * CELL.0 + 20.0, TOP + n * CELL.1 + 14.0);
    let mut svg = Svg::new(width, height, "Confusion matrix: shares of each intended emotion");
    svg.text(LEFT + n * CELL.0 / 2.0, 16.0, Anchor::Middle, "Answer");
    svg.text_upwards(18.0, TOP + n * CELL.1 / 2.0, "Truth");
    for (truth, emotion) in Emotion::ALL.into_iter().enumerate() {
        let y = TOP + truth as f64 * CELL.1;
        svg.text(LEFT + (truth as f64 + 0.5) * CELL.0, TOP - 8.0, Anchor::Middle, emotion.name());
        svg.text(LEFT - 8.0, y + CELL.1 / 2.0 + 4.0, Anchor::End, emotion.name());
        for answer in 0..N_CLASSES {
            let x = LEFT + answer as f64 * CELL.0;
            let share = rows[truth][answer].map(|figure| figure.value);
            let shade = 255 - (share.unwrap_or_default() * 205.0).round() as u8;
            svg.rect((x, y), CELL, &format!("rgb({shade},{shade},{shade})"));
            let ink = if shade < 140 { "#fff" } else { "#000" };
            let middle = x + CELL.0 / 2.0;
            let percent =
                share.map_or_else(|| "\u{2013}".to_owned(), |share| format!("{:.0} %", 100.0 * share));
            svg.text_in(middle, y + 20.0, Anchor::Middle, ink, &percent);
            svg.text_in(middle, y + 36.0, Anchor::Middle, ink, &format!("({})", counts[truth][answer]));
        }
    }
    let (right, bottom) = (LEFT + n * CELL.0, TOP + n * CELL.1);
    let corners = [(LEFT, TOP), (right, TOP), (right, bottom), (LEFT, bottom), (LEFT, TOP)];
    svg.polyline(&corners, Stroke::solid(INK, 1.0));
    svg.finish()
}

/// Accuracy against confidence, with the number of clips below.
pub(super) fn reliability(bins: &[Calibration]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT + 70.0, "Reliability diagram: accuracy against confidence");
    let axes = axes((0.0, 100.0), (0.0, 100.0));
    let round = ticks((0.0, 100.0), 5);
    axes.y_axis(&mut svg, &round, "Accuracy, %");
    svg.line(axes.at(0.0, 0.0), axes.at(100.0, 100.0), Stroke::dashed(INK, 1.0, "4 3"));
    svg.text(axes.x(22.0), axes.y(26.0) - 4.0, Anchor::End, "calibrated");
    for bin in bins {
        let (x, y) = axes.at(100.0 * bin.confidence, 100.0 * bin.accuracy.value);
        whisker(&mut svg, x, &bin.accuracy, &axes);
        svg.dot((x, y), 4.0, BLUE, Stroke::solid("#fff", 1.0));
    }
    let points: Vec<_> =
        bins.iter().map(|bin| axes.at(100.0 * bin.confidence, 100.0 * bin.accuracy.value)).collect();
    svg.polyline(&points, Stroke::solid(BLUE, 1.8));
    axes.edges(&mut svg);
    // Numbers of clips, on an axis of their own.
    let most = bins.iter().map(|bin| bin.n).max().unwrap_or(1) as f64;
    let below = Axes { top: axes.bottom + 14.0, bottom: axes.bottom + 64.0, y_range: (0.0, most), ..axes };
    for bin in bins {
        let (left, right) = (below.x(100.0 * bin.from) + 1.0, below.x(100.0 * bin.to) - 1.0);
        let top = below.y(bin.n as f64);
        svg.rect((left, top), (right - left, below.bottom - top), "#888");
    }
    svg.text(below.left - 6.0, below.top + 8.0, Anchor::End, &format!("{most:.0}"));
    svg.text_upwards(below.left - 40.0, (below.top + below.bottom) / 2.0, "Clips");
    below.edges(&mut svg);
    below.x_axis(&mut svg, &round, "Confidence, %");
    svg.finish()
}

fn whisker(svg: &mut Svg, x: f64, figure: &Figure, axes: &Axes) {
    if figure.has_interval() {
        let ends = [(x, axes.y(100.0 * figure.low)), (x, axes.y(100.0 * figure.high))];
        svg.line(ends[0], ends[1], Stroke::solid(BLUE, 1.0));
    }
}

/// Accuracy of the most confident answers, and its interval as a band.
pub(super) fn coverage(points: &[CoveragePoint]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT, "Accuracy against coverage");
    let lowest = points.iter().flat_map(|p| [p.accuracy.value, p.accuracy.low]).filter(|v| v.is_finite());
    let floor = (lowest.fold(1.0, f64::min) * 10.0).floor() * 10.0;
    let axes = axes((0.0, 100.0), (floor.min(90.0), 100.0));
    axes.y_axis(&mut svg, &ticks(axes.y_range, 6), "Accuracy of the answers, %");
    if points.iter().all(|point| point.accuracy.has_interval()) {
        let edge = |p: &CoveragePoint, value: f64| axes.at(100.0 * p.coverage, 100.0 * value);
        let upper = points.iter().map(|p| edge(p, p.accuracy.high));
        let lower = points.iter().rev().map(|p| edge(p, p.accuracy.low));
        svg.area(&upper.chain(lower).collect::<Vec<_>>(), BLUE, 0.18);
    }
    let line: Vec<_> = points.iter().map(|p| axes.at(100.0 * p.coverage, 100.0 * p.accuracy.value)).collect();
    svg.polyline(&line, Stroke::solid(BLUE, 1.8));
    axes.edges(&mut svg);
    axes.x_axis(&mut svg, &ticks((0.0, 100.0), 5), "Coverage: share of clips that is answered, %");
    svg.finish()
}

/// Each speaker's UAR, from the worst to the best.
pub(super) fn speakers(speakers: &[Speaker], uar: &Figure) -> String {
    let mut sorted: Vec<&Speaker> = speakers.iter().collect();
    sorted.sort_by(|a, b| a.uar.total_cmp(&b.uar).then_with(|| a.speaker.cmp(&b.speaker)));
    let mut svg = Svg::new(WIDTH, HEIGHT, "UAR of each speaker");
    let axes = axes((0.0, sorted.len() as f64 + 1.0), (0.0, 100.0));
    axes.y_axis(&mut svg, &ticks((0.0, 100.0), 5), "UAR, %");
    let mean = axes.y(100.0 * uar.value);
    svg.line((axes.left, mean), (axes.right, mean), Stroke::dashed(ORANGE, 1.2, "5 3"));
    svg.text(axes.left + 4.0, mean - 5.0, Anchor::Start, "all clips");
    for (place, speaker) in (1..).zip(&sorted) {
        let at = axes.at(f64::from(place), 100.0 * speaker.uar);
        svg.dot(at, 3.5, BLUE, Stroke::solid("#fff", 0.8));
    }
    axes.edges(&mut svg);
    let whole: Vec<f64> =
        ticks(axes.x_range, 6).into_iter().filter(|t| t.fract() == 0.0 && *t > 0.0).collect();
    axes.x_axis(&mut svg, &whole, "Speakers, from the worst to the best");
    svg.finish()
}

/// Figures with their intervals, one below the other: `(name, figure, percent)`.
pub(super) fn forest(title: &str, label: &str, rows: &[(String, Figure)], line: Option<f64>) -> String {
    const ROW: f64 = 24.0;
    const NAMES: f64 = 190.0;
    let height = 20.0 + ROW * rows.len() as f64 + 50.0;
    let values = rows.iter().flat_map(|(_, f)| [f.value, f.low, f.high]).filter(|v| v.is_finite());
    let (low, high) = values.chain(line).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let range = (100.0 * low, 100.0 * high.max(low + 0.02));
    let margin = 0.06 * (range.1 - range.0);
    let axes = Axes {
        left: NAMES,
        right: WIDTH + 100.0,
        top: 12.0,
        bottom: height - 46.0,
        x_range: (range.0 - margin, range.1 + margin),
        y_range: (0.0, 1.0),
    };
    let mut svg = Svg::new(WIDTH + 120.0, height, title);
    let marks = ticks(axes.x_range, 8);
    for &mark in &marks {
        svg.line((axes.x(mark), axes.top), (axes.x(mark), axes.bottom), Stroke::solid(FAINT, 1.0));
    }
    if let Some(line) = line {
        let x = axes.x(100.0 * line);
        svg.line((x, axes.top), (x, axes.bottom), Stroke::dashed(ORANGE, 1.2, "5 3"));
    }
    for (place, (name, figure)) in rows.iter().enumerate() {
        let y = axes.top + (place as f64 + 0.5) * ROW;
        svg.text(axes.left - 10.0, y + 4.0, Anchor::End, &shortened(name));
        if figure.has_interval() {
            let ends = [axes.x(100.0 * figure.low), axes.x(100.0 * figure.high)];
            svg.line((ends[0], y), (ends[1], y), Stroke::solid(BLUE, 2.0));
        }
        svg.dot((axes.x(100.0 * figure.value), y), 4.0, BLUE, Stroke::solid("#fff", 1.0));
    }
    axes.edges(&mut svg);
    axes.x_axis(&mut svg, &marks, label);
    svg.finish()
}

/// The groups of one property.
pub(super) fn groups(by: &str, groups: &[Group], uar: &Figure) -> String {
    let rows: Vec<_> = groups.iter().map(|group| (group.name.clone(), group.uar)).collect();
    forest(&format!("UAR by {by}"), "UAR, %", &rows, Some(uar.value))
}

/// A small panel for each way of changing clips, all on the same scale.
pub(super) fn robustness(robustness: &Robustness) -> String {
    const COLUMNS: usize = 3;
    const PANEL: (f64, f64) = (300.0, 190.0);
    let n_rows = robustness.kinds.len().div_ceil(COLUMNS);
    let mut svg = Svg::new(COLUMNS as f64 * PANEL.0, n_rows as f64 * PANEL.1, "UAR of changed clips");
    let highs = robustness.kinds.iter().flat_map(|kind| &kind.levels).flat_map(|l| [l.uar.value, l.uar.high]);
    let most = highs.filter(|v| v.is_finite()).fold(robustness.clean.value, f64::max);
    let ceiling = (most * 10.0).ceil() * 10.0;
    for (place, kind) in robustness.kinds.iter().enumerate() {
        let (left, top) = ((place % COLUMNS) as f64 * PANEL.0, (place / COLUMNS) as f64 * PANEL.1);
        let axes = Axes {
            left: left + 58.0,
            right: left + PANEL.0 - 14.0,
            top: top + 26.0,
            bottom: top + PANEL.1 - 46.0,
            x_range: (0.5, kind.levels.len() as f64 + 0.5),
            y_range: (0.0, ceiling),
        };
        axes.y_axis(&mut svg, &ticks(axes.y_range, 4), "UAR, %");
        let clean = axes.y(100.0 * robustness.clean.value);
        svg.line((axes.left, clean), (axes.right, clean), Stroke::dashed(ORANGE, 1.2, "5 3"));
        let mut points = Vec::new();
        for (at, level) in (1..).zip(&kind.levels) {
            let point = axes.at(f64::from(at), 100.0 * level.uar.value);
            whisker(&mut svg, point.0, &level.uar, &axes);
            svg.text(point.0, axes.bottom + 16.0, Anchor::Middle, &number(level.level));
            points.push(point);
        }
        svg.polyline(&points, Stroke::solid(BLUE, 1.8));
        points.iter().for_each(|&point| svg.dot(point, 3.5, BLUE, Stroke::solid("#fff", 0.8)));
        axes.edges(&mut svg);
        svg.text(axes.left, axes.top - 10.0, Anchor::Start, &kind.name);
        let unit = kind.unit.split(" (").next().unwrap_or_default();
        svg.text((axes.left + axes.right) / 2.0, axes.bottom + 33.0, Anchor::Middle, unit);
    }
    svg.finish()
}

/// A long name's beginning.
fn shortened(name: &str) -> String {
    const MAX: usize = 26;
    if name.chars().count() <= MAX {
        return name.to_owned();
    }
    name.chars().take(MAX - 1).chain(['\u{2026}']).collect()
}
