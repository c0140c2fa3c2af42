//! `curve.svg`: how loss and accuracy went, epoch by epoch.

use std::path::Path;

use crate::error::{Error, Result};
use crate::run_log::Epoch;
use crate::svg::{Anchor, Axes, BLUE, ORANGE, Stroke, Svg, tick_step, ticks};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;

/// The dash tells them apart too.
const TRAINING: Stroke = Stroke::dashed(BLUE, 1.8, "5 3");
const VALIDATION: Stroke = Stroke::solid(ORANGE, 1.8);

/// Writes the curves of a run as one SVG picture with two panels; the epoch that is kept is marked.
///
/// # Errors
/// What the operating system says.
pub fn write_curve(rows: &[Epoch], kept_epoch: usize, path: &Path) -> Result<()> {
    std::fs::write(path, curve(rows, kept_epoch)).map_err(Error::io(path))
}

/// The picture, as text.
pub fn curve(rows: &[Epoch], kept_epoch: usize) -> String {
    let mut svg = Svg::new(2.0 * WIDTH, HEIGHT, "Loss and accuracy by epoch");
    let both = |of: fn(&Epoch) -> [f64; 2]| -> [Vec<f64>; 2] {
        [0, 1].map(|side| rows.iter().map(|row| of(row)[side]).collect())
    };
    let losses = both(|row| [row.train_loss, row.validation_loss]);
    let accuracies = both(|row| [100.0 * row.train_accuracy, 100.0 * row.validation_accuracy]);
    panel(&mut svg, 0.0, "Cross-entropy, nats", &losses, kept_epoch);
    panel(&mut svg, WIDTH, "Accuracy, %", &accuracies, kept_epoch);
    svg.finish()
}

/// One panel, from the left edge `offset` on: the values of training and validation.
fn panel(svg: &mut Svg, offset: f64, label: &str, values: &[Vec<f64>; 2], kept_epoch: usize) {
    let n = values[0].len().max(2) as f64;
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let step = tick_step(most, 6);
    let axes = Axes {
        left: offset + 62.0,
        right: offset + WIDTH - 16.0,
        top: 34.0,
        bottom: HEIGHT - 46.0,
        x_range: (1.0, n),
        y_range: (0.0, (most / step).ceil().max(1.0) * step),
    };
    axes.y_axis(svg, &ticks(axes.y_range, 6), label);
    let epochs = ticks(axes.x_range, 8).into_iter().filter(|epoch| epoch.fract() == 0.0);
    axes.x_axis(svg, &epochs.collect::<Vec<_>>(), "Epoch");
    axes.edges(svg);
    if kept_epoch >= 1 {
        let at = axes.x(kept_epoch as f64);
        svg.line((at, axes.top), (at, axes.bottom), Stroke::dashed("#777", 1.0, "1 3"));
        // On that side of its line where there is room.
        let (beside, anchor) = if at < (axes.left + axes.right) / 2.0 {
            (at + 4.0, Anchor::Start)
        } else {
            (at - 4.0, Anchor::End)
        };
        svg.text_in(beside, axes.bottom - 6.0, anchor, "#555", &format!("kept: {kept_epoch}"));
    }
    for (i, (name, stroke)) in [("training", TRAINING), ("validation", VALIDATION)].into_iter().enumerate() {
        let points: Vec<_> =
            (1..).zip(&values[i]).map(|(epoch, value)| axes.at(f64::from(epoch), *value)).collect();
        svg.polyline(&points, stroke);
        let at = axes.right - 170.0 + 86.0 * i as f64;
        svg.line((at, axes.top - 18.0), (at + 20.0, axes.top - 18.0), stroke);
        svg.text(at + 24.0, axes.top - 14.0, Anchor::Start, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_a_point_inside_the_picture() {
        let row = |epoch: usize| Epoch {
            epoch,
            train_loss: 2.0 / epoch as f64,
            train_accuracy: 0.1 * epoch as f64,
            validation_loss: 1.0,
            validation_accuracy: 0.4,
            validation_uar: 0.4,
            seconds: 1.0,
        };
        let svg = curve(&(1..=7).map(row).collect::<Vec<_>>(), 3);
        let is_curve =
            |line: &&str| line.starts_with("<polyline") && [BLUE, ORANGE].iter().any(|c| line.contains(c));
        let lines: Vec<&str> = svg.lines().filter(is_curve).collect();
        assert_eq!(lines.len(), 4);
        for line in lines {
            let points = line.split('"').nth(1).unwrap().split(' ').map(|p| p.split_once(',').unwrap());
            let points: Vec<(f64, f64)> =
                points.map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).collect();
            assert_eq!(points.len(), 7);
            assert!(points.iter().all(|(x, y)| (0.0..2.0 * WIDTH).contains(x) && (33.9..HEIGHT).contains(y)));
        }
        let label_of = |svg: &str, epoch: usize| {
            let label = svg.lines().find(|line| line.contains(&format!("kept: {epoch}"))).unwrap();
            label.to_owned()
        };
        assert!(label_of(&svg, 3).contains("text-anchor=\"start\""), "{svg}");
        let last = curve(&(1..=7).map(row).collect::<Vec<_>>(), 7);
        assert!(label_of(&last, 7).contains("text-anchor=\"end\""), "{last}");
        assert!(curve(&[row(1)], 1).contains("polyline"), "a run of one epoch has a picture too");
    }
}
