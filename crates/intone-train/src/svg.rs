//! Plots as SVG text: lines, boxes, words, and axes with round numbers. What is drawn depends on the values alone, so
//! that the same values give the same bytes.

use std::fmt::Write;

/// Blue (Okabe and Ito 2008): told apart from orange by colour-blind readers, and in grey.
pub(crate) const BLUE: &str = "#0072B2";
/// Orange of the same palette.
pub(crate) const ORANGE: &str = "#D55E00";
/// Lines that only guide the eye.
pub(crate) const FAINT: &str = "#ddd";
/// Axes.
pub(crate) const INK: &str = "#444";

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    pub(crate) colour: &'static str,
    pub(crate) width: f64,
    /// Lengths of dashes and gaps; empty for a solid line.
    pub(crate) dash: &'static str,
}

impl Stroke {
    pub(crate) const fn solid(colour: &'static str, width: f64) -> Stroke {
        Stroke { colour, width, dash: "" }
    }

    pub(crate) const fn dashed(colour: &'static str, width: f64, dash: &'static str) -> Stroke {
        Stroke { colour, width, dash }
    }
}

impl std::fmt::Display for Stroke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stroke=\"{}\" stroke-width=\"{}\"", self.colour, self.width)?;
        if self.dash.is_empty() { Ok(()) } else { write!(f, " stroke-dasharray=\"{}\"", self.dash) }
    }
}

/// Which point of a text its place is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl std::fmt::Display for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        })
    }
}

/// A picture that is being drawn; coordinates are pixels from the left upper corner.
#[derive(Debug)]
pub(crate) struct Svg {
    text: String,
}

impl Svg {
    /// An empty white picture; `title` is what a screen reader says.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Svg {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"{}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            escape(title)
        );
        Svg { text }
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        self.text_in(x, y, anchor, "#000", text);
    }

    pub(crate) fn text_in(&mut self, x: f64, y: f64, anchor: Anchor, colour: &str, text: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        ));
    }

    /// A text that is read upwards, centred on its point.
    pub(crate) fn text_upwards(&mut self, x: f64, y: f64, text: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\">{text}</text>"
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.put(format_args!("<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" {stroke}/>", from.0, from.1, to.0, to.1));
    }

    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let points = joined(points);
        self.put(format_args!("<polyline points=\"{points}\" fill=\"none\" {stroke}/>"));
    }

    /// A filled shape without an outline; `opacity` in [0, 1].
    pub(crate) fn area(&mut self, points: &[(f64, f64)], colour: &str, opacity: f64) {
        let points = joined(points);
        self.put(format_args!("<polygon points=\"{points}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"));
    }

    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
        ));
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, fill: &str, stroke: Stroke) {
        self.put(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" {stroke}/>"
        ));
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.text, "{element}");
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

/// Where values lie in the picture.
#[derive(Debug, Clone)]
pub(crate) struct Axes {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    /// The values at the left and the right end.
    pub(crate) x_range: (f64, f64),
    /// The values at the bottom and the top.
    pub(crate) y_range: (f64, f64),
}

impl Axes {
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.left + share(value, self.x_range) * (self.right - self.left)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.bottom - share(value, self.y_range) * (self.bottom - self.top)
    }

    pub(crate) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x(x), self.y(y))
    }

    /// Horizontal lines at these values, with their numbers at the left, and the label along the axis.
    pub(crate) fn y_axis(&self, svg: &mut Svg, ticks: &[f64], label: &str) {
        for &tick in ticks {
            let at = self.y(tick);
            svg.line((self.left, at), (self.right, at), Stroke::solid(FAINT, 1.0));
            svg.text(self.left - 6.0, at + 4.0, Anchor::End, &number(tick));
        }
        svg.text_upwards(self.left - 40.0, (self.top + self.bottom) / 2.0, label);
    }

    /// Numbers below the axis at these values, and the label below them.
    pub(crate) fn x_axis(&self, svg: &mut Svg, ticks: &[f64], label: &str) {
        for &tick in ticks {
            let at = self.x(tick);
            svg.line((at, self.bottom), (at, self.bottom + 4.0), Stroke::solid(INK, 1.0));
            svg.text(at, self.bottom + 17.0, Anchor::Middle, &number(tick));
        }
        svg.text((self.left + self.right) / 2.0, self.bottom + 36.0, Anchor::Middle, label);
    }

    /// The left and the lower edge.
    pub(crate) fn edges(&self, svg: &mut Svg) {
        let corners = [(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)];
        svg.polyline(&corners, Stroke::solid(INK, 1.0));
    }
}

fn share(value: f64, (from, to): (f64, f64)) -> f64 {
    if to > from { (value - from) / (to - from) } else { 0.5 }
}

/// The smallest of 1, 2, 5 times a power of ten that divides the range into at most `most` parts.
pub(crate) fn tick_step(range: f64, most: usize) -> f64 {
    let least = (range / most as f64).max(1e-9);
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least)
        .unwrap_or(power)
}

/// Round numbers from the first to the last, at most `most` steps apart.
pub(crate) fn ticks((from, to): (f64, f64), most: usize) -> Vec<f64> {
    let step = tick_step(to - from, most);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// A number with at most two decimals, and a true minus.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.replace('-', "\u{2212}") }
}

/// Text for XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no place for control characters, and nobody means them.
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        for (range, most, expected) in [(2.3, 6, 0.5), (100.0, 6, 20.0), (7.0, 8, 1.0), (0.6, 6, 0.1)] {
            assert!((tick_step(range, most) - expected).abs() < 1e-9, "{range}: {}", tick_step(range, most));
        }
        assert_eq!(ticks((0.0, 100.0), 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks((-30.0, 12.0), 5), [-30.0, -20.0, -10.0, 0.0, 10.0]);
        assert_eq!((number(0.5), number(20.0), number(0.0)), ("0.5".into(), "20".into(), "0".into()));
        assert_eq!((number(-30.0), number(-0.001)), ("\u{2212}30".into(), "0".into()));
    }

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        let mut svg = Svg::new(10.0, 10.0, "a\"b");
        svg.text(0.0, 0.0, Anchor::End, "<script>&'\u{1b}");
        let text = svg.finish();
        assert!(
            text.contains("aria-label=\"a&quot;b\"") && text.contains("&lt;script&gt;&amp;&#39;\u{fffd}")
        );
    }
}
