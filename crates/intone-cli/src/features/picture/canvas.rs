//! A canvas to draw on: rectangles, text and images, which become a PNG or an SVG file.

use std::io::{self, Write};

use self::raster::Raster;

mod raster;
mod svg;

/// Pixels in a metre and in an inch of paper: a clip of 3 s is 6.5 inches wide, as wide as the text of a page.
const PIXELS_PER_METRE: u32 = 9_449;
const PIXELS_PER_INCH: f64 = 240.0;

/// Height of the digits above the baseline, pixels.
const DIGIT_HEIGHT: isize = 19;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// Where a text stands, as seen from its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Centred below it.
    Below,
    /// To its left, at half the height of the digits.
    LeftOf,
    /// To its right, at half the height of the digits.
    RightOf,
    /// To its right, turned to read upwards, centred on it.
    Upwards,
}

/// What a picture can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    Svg,
}

/// Pixels, `[height, width, 3]`.
#[derive(Debug, Clone)]
pub(super) struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Image {
    pub(super) fn new(width: usize, height: usize, background: Colour) -> Image {
        Image { width, height, pixels: background.repeat(width * height) }
    }

    /// What lies outside is not drawn.
    pub(super) fn set(&mut self, x: usize, y: usize, colour: Colour) {
        if x < self.width && y < self.height {
            self.pixels[(y * self.width + x) * 3..][..3].copy_from_slice(&colour);
        }
    }

    fn write_png(&self, out: impl Write) -> io::Result<()> {
        let mut encoder = png::Encoder::new(out, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu: PIXELS_PER_METRE,
            yppu: PIXELS_PER_METRE,
            unit: png::Unit::Meter,
        }));
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        Ok(writer.finish()?)
    }
}

/// Something that was drawn; coordinates are pixels from the left upper corner.
#[derive(Debug, Clone)]
enum Element {
    Fill { x: usize, y: usize, width: usize, height: usize, colour: Colour },
    Text { x: usize, y: usize, place: Place, text: String },
    Image { x: usize, y: usize, image: Image },
}

/// A white picture, and what was drawn on it, in this order.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    elements: Vec<Element>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, elements: Vec::new() }
    }

    /// A filled rectangle with its left upper corner at (`x`, `y`).
    pub(super) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        self.elements.push(Element::Fill { x, y, width, height, colour });
    }

    /// Lines around a rectangle, outside of it.
    pub(super) fn frame(
        &mut self,
        x: usize,
        y: usize,
        width: usize,
        height: usize,
        line: usize,
        colour: Colour,
    ) {
        let (outer_width, outer_height) = (width + 2 * line, height + 2 * line);
        self.fill(x - line, y - line, outer_width, line, colour);
        self.fill(x - line, y + height, outer_width, line, colour);
        self.fill(x - line, y - line, line, outer_height, colour);
        self.fill(x + width, y - line, line, outer_height, colour);
    }

    /// Black text at `place` of the point (`x`, `y`).
    pub(super) fn text(&mut self, text: &str, x: usize, y: usize, place: Place) {
        self.elements.push(Element::Text { x, y, place, text: text.to_owned() });
    }

    /// An image with its left upper corner at (`x`, `y`).
    pub(super) fn image(&mut self, x: usize, y: usize, image: Image) {
        self.elements.push(Element::Image { x, y, image });
    }

    pub(super) fn write(&self, out: impl Write, format: Format) -> io::Result<()> {
        match format {
            Format::Png => Raster::new(self).0.write_png(out),
            Format::Svg => svg::write(self, out),
        }
    }
}
