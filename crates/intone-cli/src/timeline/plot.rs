//! A timeline as a picture: stacked confidences over time, SVG.

use std::fmt::Write as _;
use std::io::{self, Write};

use intone_server::ReadingAnswer;

use super::output::clock;

/// Size of the picture, and of the margins around the chart, pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 34.0;

/// The least distance of two marks on the time axis, pixels.
const MIN_MARK_DISTANCE: f64 = 70.0;

/// The colours of the emotions: Okabe and Ito's, which colour-blind people can tell apart. The others take turns.
const COLOURS: [(&str, &str); 6] = [
    ("angry", "#c8501a"),
    ("disgust", "#0c8a66"),
    ("fear", "#a8588a"),
    ("happy", "#d29a00"),
    ("neutral", "#8b9296"),
    ("sad", "#1f6fb0"),
];

/// All readings of a recording: a picture is drawn when its length is known.
#[derive(Debug)]
pub(super) struct Plot {
    labels: Vec<String>,
    readings: Vec<Column>,
}

/// One reading, in single precision.
#[derive(Debug)]
struct Column {
    start_s: f64,
    end_s: f64,
    /// Nothing where nobody speaks.
    scores: Vec<f32>,
}

impl Plot {
    pub(super) fn new(labels: &[String]) -> Plot {
        Plot { labels: labels.to_vec(), readings: Vec::new() }
    }

    pub(super) fn push(&mut self, answer: &ReadingAnswer) {
        let scores =
            if answer.silence { Vec::new() } else { answer.scores.iter().map(|(_, p)| *p).collect() };
        self.readings.push(Column { start_s: answer.start_s, end_s: answer.end_s, scores });
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.svg().as_bytes())
    }

    fn svg(&self) -> String {
        let duration_s = self.readings.last().map_or(1.0, |reading| reading.end_s.max(1e-3));
        let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let x = |seconds: f64| LEFT + seconds / duration_s * width;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>Confidences over time</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{width}\" height=\"{height}\" fill=\"#f0efec\"/>\n"
        );
        // One path for each class, so that an hour is a file of some hundred kilobytes.
        for (index, label) in self.labels.iter().enumerate() {
            let mut path = String::new();
            for reading in self.readings.iter().filter(|reading| !reading.scores.is_empty()) {
                let below: f32 = reading.scores[..index].iter().sum();
                let top = TOP + height * f64::from(1.0 - below - reading.scores[index]).max(0.0);
                let bottom = TOP + height * f64::from(1.0 - below);
                let (left, right) = (x(reading.start_s), x(reading.end_s));
                // Writing to a string cannot fail.
                let _ = write!(path, "M{left:.2} {top:.1}H{right:.2}V{bottom:.1}H{left:.2}Z");
            }
            let colour = colour(label, index);
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"{colour}\"><title>{}</title></path>",
                escaped(label)
            );
            // The legend, in the order of the stack.
            let y = TOP + height - 16.0 * index as f64 - 12.0;
            let left = WIDTH - RIGHT + 14.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{y}\" width=\"11\" height=\"11\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                left + 17.0,
                y + 10.0,
                escaped(label)
            );
        }
        for share in [0.0, 0.5, 1.0] {
            let y = TOP + height * (1.0 - share);
            let percent = 100.0 * share;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{percent} %</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        let step_s = step(duration_s * MIN_MARK_DISTANCE / width);
        for k in 0..=(duration_s / step_s + 1e-9) as usize {
            let (seconds, y) = (k as f64 * step_s, TOP + height);
            let x = x(seconds);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {y}v5\" stroke=\"#1d2428\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                y + 19.0,
                clock(seconds)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn colour(label: &str, index: usize) -> &'static str {
    let known = COLOURS.iter().find(|(name, _)| *name == label);
    known.unwrap_or(&COLOURS[index % COLOURS.len()]).1
}

/// A time that is easy to read, and at least this long, seconds.
fn step(least_s: f64) -> f64 {
    const STEPS_S: [f64; 16] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
    ];
    let found = STEPS_S.into_iter().find(|step_s| *step_s >= least_s);
    found.unwrap_or_else(|| (least_s / 7_200.0).ceil() * 7_200.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(start_s: f64, scores: &[(&str, f32)]) -> ReadingAnswer {
        ReadingAnswer {
            start_s,
            end_s: start_s + 1.0,
            label: scores.first().map(|(label, _)| (*label).to_owned()),
            scores: scores.iter().map(|(label, p)| ((*label).to_owned(), *p)).collect(),
            silence: scores.is_empty(),
            uncertain: false,
            voice: 1.0,
        }
    }

    #[test]
    fn confidences_are_stacked_over_time_and_gaps_stay_empty() {
        let mut plot = Plot::new(&["sad".into(), "<odd>".into()]);
        plot.push(&reading(0.0, &[("sad", 0.75), ("<odd>", 0.25)]));
        plot.push(&reading(1.0, &[]));
        plot.push(&reading(2.0, &[("sad", 0.5), ("<odd>", 0.5)]));
        let svg = plot.svg();
        // The chart is 806 x 250 pixels from (44, 16) on, and 3 s long.
        let sad = "d=\"M44.00 78.5H312.67V266.0H44.00ZM581.33 141.0H850.00V266.0H581.33Z\" fill=\"#1f6fb0\"";
        let odd = "d=\"M44.00 16.0H312.67V78.5H44.00ZM581.33 16.0H850.00V141.0H581.33Z\" fill=\"#0c8a66\"";
        assert!(svg.contains(sad) && svg.contains(odd), "{svg}");
        assert!(svg.contains("&lt;odd&gt;") && !svg.contains("<odd>"), "{svg}");
        assert!(svg.contains(">0:03.0<") && svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(Plot::new(&["sad".into()]).svg().contains("</svg>"), "no reading at all");
    }

    #[test]
    fn marks_on_the_time_axis_are_few_and_round() {
        assert_eq!(
            [step(0.05), step(0.3), step(3.0), step(50.0), step(5_000.0), step(20_000.0)],
            [0.1, 0.5, 5.0, 60.0, 7_200.0, 21_600.0]
        );
    }
}
