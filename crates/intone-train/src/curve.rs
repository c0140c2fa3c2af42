//! `curve.svg`: how loss and accuracy went, epoch by epoch.

use std::fmt::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::run_log::Epoch;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// Dark blue and orange (Okabe and Ito 2008): told apart by colour-blind readers, and in grey; the dash helps too.
const TRAINING: (&str, &str) = ("#0072B2", "5 3");
const VALIDATION: (&str, &str) = ("#D55E00", "none");

/// Writes the curves of a run as one SVG picture with two panels; the best epoch is marked.
///
/// # Errors
/// What the operating system says.
pub fn write_curve(rows: &[Epoch], best_epoch: usize, path: &Path) -> Result<()> {
    std::fs::write(path, curve(rows, best_epoch)).map_err(Error::io(path))
}

/// The picture, as text.
pub fn curve(rows: &[Epoch], best_epoch: usize) -> String {
    let loss = Panel {
        title: "Cross-entropy, nats",
        training: rows.iter().map(|row| row.train_loss).collect(),
        validation: rows.iter().map(|row| row.validation_loss).collect(),
        floor: 0.0,
    };
    let accuracy = Panel {
        title: "Accuracy, %",
        training: rows.iter().map(|row| 100.0 * row.train_accuracy).collect(),
        validation: rows.iter().map(|row| 100.0 * row.validation_accuracy).collect(),
        floor: 0.0,
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"Loss and accuracy by epoch\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * WIDTH
    );
    loss.draw(&mut svg, 0.0, best_epoch);
    accuracy.draw(&mut svg, WIDTH, best_epoch);
    svg.push_str("</svg>\n");
    svg
}

struct Panel {
    title: &'static str,
    training: Vec<f64>,
    validation: Vec<f64>,
    floor: f64,
}

impl Panel {
    fn draw(&self, svg: &mut String, offset: f64, best_epoch: usize) {
        let n = self.training.len().max(2);
        let top = self.training.iter().chain(&self.validation).copied().fold(self.floor, f64::max);
        let step = tick_step(top - self.floor, 6);
        let ceiling = self.floor + ((top - self.floor) / step).ceil().max(1.0) * step;
        let x = |epoch: f64| offset + LEFT + (epoch - 1.0) / (n as f64 - 1.0) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| {
            HEIGHT - BOTTOM - (value - self.floor) / (ceiling - self.floor) * (HEIGHT - TOP - BOTTOM)
        };
        let (left, right, bottom) = (x(1.0), x(n as f64), y(self.floor));
        let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
        };
        text(left, TOP - 14.0, "start", self.title);
        text((left + right) / 2.0, HEIGHT - 8.0, "middle", "Epoch");
        let mut value = self.floor;
        while value <= ceiling + step / 2.0 {
            text(left - 6.0, y(value) + 4.0, "end", &number(value));
            value += step;
        }
        let epoch_step = tick_step(n as f64 - 1.0, 8).max(1.0);
        let mut epoch = epoch_step;
        while epoch <= n as f64 {
            text(x(epoch), bottom + 16.0, "middle", &number(epoch));
            epoch += epoch_step;
        }
        let mut value = self.floor;
        while value <= ceiling + step / 2.0 {
            let at = y(value);
            let _ = writeln!(svg, "<path d=\"M{left:.1} {at:.1}H{right:.1}\" stroke=\"#ddd\"/>");
            value += step;
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {TOP}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"#444\"/>"
        );
        if best_epoch >= 1 {
            let at = x(best_epoch as f64);
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {TOP}V{bottom:.1}\" stroke=\"#777\" stroke-dasharray=\"1 3\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#555\">best: {best_epoch}</text>",
                at + 4.0,
                bottom - 6.0
            );
        }
        let legend = [("training", &self.training, TRAINING), ("validation", &self.validation, VALIDATION)];
        for (i, (name, values, (colour, dash))) in legend.into_iter().enumerate() {
            let points: Vec<String> = (1..)
                .zip(values)
                .map(|(epoch, v)| format!("{:.1},{:.1}", x(f64::from(epoch)), y(*v)))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" \
                 stroke-dasharray=\"{dash}\"/>",
                points.join(" ")
            );
            let at = right - 170.0 + 86.0 * i as f64;
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {:.1}h20\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-dasharray=\"{dash}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                TOP - 18.0,
                at + 24.0,
                TOP - 14.0
            );
        }
    }
}

/// The smallest of 1, 2, 5 times a power of ten that divides the range into at most `most` parts.
fn tick_step(range: f64, most: usize) -> f64 {
    let least = (range / most as f64).max(1e-9);
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least)
        .unwrap_or(power)
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        for (range, most, expected) in [(2.3, 6, 0.5), (100.0, 6, 20.0), (7.0, 8, 1.0), (0.6, 6, 0.1)] {
            assert!((tick_step(range, most) - expected).abs() < 1e-9, "{range}: {}", tick_step(range, most));
        }
        assert_eq!((number(0.5), number(20.0), number(0.0)), ("0.5".into(), "20".into(), "0".into()));
    }

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
        let lines: Vec<&str> = svg.lines().filter(|line| line.starts_with("<polyline")).collect();
        assert_eq!(lines.len(), 4);
        for line in lines {
            let points = line.split('"').nth(1).unwrap().split(' ').map(|p| p.split_once(',').unwrap());
            let points: Vec<(f64, f64)> =
                points.map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).collect();
            assert_eq!(points.len(), 7);
            assert!(
                points.iter().all(|(x, y)| (0.0..2.0 * WIDTH).contains(x) && (TOP - 0.1..HEIGHT).contains(y))
            );
        }
        assert!(svg.contains("best: 3"));
        assert!(curve(&[row(1)], 1).contains("polyline"), "a run of one epoch has a picture too");
    }
}
