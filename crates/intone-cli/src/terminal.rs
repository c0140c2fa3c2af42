//! What people see: text that is safe to print, columns, bars and colours.

use std::ffi::OsString;
use std::fmt;
use std::io::{IsTerminal, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Text without control characters: a file's name must not move the cursor or change the colours.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Writes a line to standard error. If nobody can read it, there is nobody to tell.
pub(crate) fn complain(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", printable(&line.to_string()));
}

/// `7,442`.
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `7,442 files`.
pub(crate) fn files(n: usize) -> String {
    format!("{} {}", thousands(n), if n == 1 { "file" } else { "files" })
}

/// The number of columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Text in exactly `n` columns: filled up with spaces, or with an ellipsis in place of its beginning (the end of
/// a path says more).
pub(crate) fn column(text: &str, n: usize) -> String {
    let mut shown = String::from(text);
    if width(text) > n {
        let mut room = n.saturating_sub(1);
        let fits = |c: &char| {
            let n_columns = c.width().unwrap_or(0);
            let fits = n_columns <= room;
            room = room.saturating_sub(n_columns);
            fits
        };
        let end: Vec<char> = text.chars().rev().take_while(fits).collect();
        shown = std::iter::once('…').chain(end.into_iter().rev()).collect();
    }
    shown.extend(std::iter::repeat_n(' ', n.saturating_sub(width(&shown))));
    shown
}

/// A horizontal bar of `fraction` of `n` columns, in steps of an eighth of a column, filled up with spaces.
pub(crate) fn bar(fraction: f32, n: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let n_eighths = (fraction.clamp(0.0, 1.0) * (n * 8) as f32).round() as usize;
    let bar = "█".repeat(n_eighths / 8) + EIGHTHS[n_eighths % 8];
    column(&bar, n)
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) colours: bool,
}

/// What a text is, as far as colours are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink<'a> {
    /// A heading.
    Strong,
    /// Something of minor importance.
    Faint,
    /// Something that went wrong.
    Error,
    /// Something that belongs to a class.
    Class(&'a str),
}

impl Style {
    /// As the environment and the kind of standard output have it.
    pub(crate) fn of_stdout() -> Style {
        Style::new(|name| std::env::var_os(name), std::io::stdout().is_terminal())
    }

    /// Colours on a terminal only, and not where the user wants none (<https://no-color.org>).
    fn new(variable: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> Style {
        let wanted = variable("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = variable("TERM").is_none_or(|term| term != "dumb");
        Style { colours: wanted && able && is_terminal }
    }

    pub(crate) fn paint(self, ink: Ink<'_>, text: &str) -> String {
        if !self.colours || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Error => "31",
            Ink::Class(label) => class_colour(label),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The colour of a class: those of the six emotions as Plutchik's wheel has them, cyan for others.
fn class_colour(label: &str) -> &'static str {
    match label {
        "angry" => "31",
        "disgust" => "35",
        "fear" => "32",
        "happy" => "33",
        "sad" => "34",
        "neutral" => "37",
        _ => "36",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 12, 999, 1_000, 7_442, 1_234_567].map(thousands),
            ["0", "12", "999", "1,000", "7,442", "1,234,567"]
        );
        assert_eq!([0, 1, 1_000].map(files), ["0 files", "1 file", "1,000 files"]);
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(printable("a\x1b[31mb\n\u{9b}c\u{7f} é"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd} é");
    }

    #[test]
    fn a_column_is_exactly_as_wide_as_asked() {
        assert_eq!(column("abc", 5), "abc  ");
        assert_eq!(column("abc", 3), "abc");
        assert_eq!(column("folder/file.wav", 9), "…file.wav");
        assert_eq!(column("録音.wav", 8), "録音.wav");
        assert_eq!(column("録音.wav", 6), "….wav ", "half of a wide character does not fit");
        for text in ["", "abc", "録音録音", "e\u{301}e\u{301}e\u{301}"] {
            for n in 1..10 {
                assert_eq!(width(&column(text, n)), n, "{text} in {n}");
            }
        }
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(1.0 / 32.0, 4), "▏   ");
        assert_eq!(bar(31.0 / 32.0, 4), "███▉");
        assert_eq!(bar(f32::NAN, 2), "  ");
        assert_eq!(bar(7.0, 2), "██");
    }

    #[test]
    fn colours_are_for_terminals_whose_users_want_them() {
        for (no_color, term, is_terminal, expected) in [
            (None, None, true, true),
            (None, Some("xterm"), true, true),
            (None, Some("xterm"), false, false),
            (None, Some("dumb"), true, false),
            (Some("1"), Some("xterm"), true, false),
            (Some("0"), Some("xterm"), true, false),
            (Some(""), Some("xterm"), true, true),
        ] {
            let variable = |name: &str| match name {
                "NO_COLOR" => no_color.map(OsString::from),
                "TERM" => term.map(OsString::from),
                other => panic!("{other} is asked for"),
            };
            let style = Style::new(variable, is_terminal);
            assert_eq!(style.colours, expected, "{no_color:?} {term:?} {is_terminal}");
        }
    }

    #[test]
    fn without_colours_text_stays_as_it_is() {
        assert_eq!(Style { colours: false }.paint(Ink::Class("sad"), "sad"), "sad");
        assert_eq!(Style { colours: true }.paint(Ink::Class("sad"), "sad"), "\x1b[34msad\x1b[0m");
        assert_eq!(Style { colours: true }.paint(Ink::Strong, ""), "");
    }
}
