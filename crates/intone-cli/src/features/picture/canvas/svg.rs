//! A canvas as SVG: shapes and text stay what they are, images are embedded as PNG.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Canvas, Colour, DIGIT_HEIGHT, Element, PIXELS_PER_INCH, Place};

/// Height of the font, as large as that of the raster.
const FONT_SIZE: usize = 26;

pub(super) fn write(canvas: &Canvas, mut out: impl Write) -> io::Result<()> {
    let (width, height) = (canvas.width, canvas.height);
    let inches = |pixels: usize| pixels as f64 / PIXELS_PER_INCH;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.3}in\" height=\"{:.3}in\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"{FONT_SIZE}\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>",
        inches(width),
        inches(height)
    )?;
    for element in &canvas.elements {
        match element {
            &Element::Fill { x, y, width, height, colour } => {
                let [red, green, blue]: Colour = colour;
                writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"#{red:02x}{green:02x}{blue:02x}\"/>"
                )?;
            }
            Element::Text { x, y, place, text } => {
                write_text(&mut out, text, (*x as isize, *y as isize), *place)?
            }
            Element::Image { x, y, image } => {
                let mut png = Vec::new();
                image.write_png(&mut png)?;
                writeln!(
                    out,
                    "<image x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" href=\"data:image/png;base64,{}\"/>",
                    image.width,
                    image.height,
                    STANDARD.encode(png)
                )?;
            }
        }
    }
    writeln!(out, "</svg>")
}

fn write_text(out: &mut impl Write, text: &str, (x, y): (isize, isize), place: Place) -> io::Result<()> {
    let (anchor, x, y, turned) = match place {
        Place::Below => ("middle", x, y + DIGIT_HEIGHT, ""),
        Place::LeftOf => ("end", x, y + DIGIT_HEIGHT / 2, ""),
        Place::RightOf => ("start", x, y + DIGIT_HEIGHT / 2, ""),
        Place::Upwards => ("middle", x + DIGIT_HEIGHT, y, " rotate(-90)"),
    };
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(out, "<text transform=\"translate({x} {y}){turned}\" text-anchor=\"{anchor}\">{text}</text>")
}
