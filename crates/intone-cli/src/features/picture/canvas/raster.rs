//! A canvas as pixels.

use std::io;
use std::sync::LazyLock;

use super::{Canvas, Colour, DIGIT_HEIGHT, Element, Image, Place};

/// A canvas whose elements were drawn. What lies outside is not drawn.
pub(super) struct Raster(pub(super) Image);

impl Raster {
    pub(super) fn new(canvas: &Canvas) -> Raster {
        let mut raster = Raster(Image::new(canvas.width, canvas.height, [255; 3]));
        for element in &canvas.elements {
            match element {
                &Element::Fill { x, y, width, height, colour } => raster.fill(x, y, width, height, colour),
                Element::Text { x, y, place, text } => raster.text(text, *x, *y, *place),
                Element::Image { x, y, image } => raster.image(*x, *y, image),
            }
        }
        raster
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        for y in y..(y + height).min(self.0.height) {
            for x in x..(x + width).min(self.0.width) {
                self.0.set(x, y, colour);
            }
        }
    }

    fn image(&mut self, x: usize, y: usize, image: &Image) {
        for (row, pixels) in image.pixels.chunks_exact(image.width.max(1) * 3).enumerate() {
            for (column, &colour) in pixels.as_chunks().0.iter().enumerate() {
                self.0.set(x + column, y + row, colour);
            }
        }
    }

    fn text(&mut self, text: &str, x: usize, y: usize, place: Place) {
        let (x, y, length) = (x as isize, y as isize, text.chars().map(advance).sum::<isize>());
        // The beginning of the baseline.
        let (mut x, mut y) = match place {
            Place::Below => (x - length / 2, y + DIGIT_HEIGHT),
            Place::LeftOf => (x - length, y + DIGIT_HEIGHT / 2),
            Place::RightOf => (x, y + DIGIT_HEIGHT / 2),
            Place::Upwards => (x + DIGIT_HEIGHT, y + length / 2),
        };
        for character in text.chars() {
            let upwards = place == Place::Upwards;
            for_each_pixel_of(character, |dx, dy, ink| {
                let (dx, dy) = if upwards { (dy, -dx) } else { (dx, dy) };
                self.darken(x + dx, y + dy, ink);
            });
            if upwards {
                y -= advance(character)
            } else {
                x += advance(character)
            };
        }
    }

    fn darken(&mut self, x: isize, y: isize, ink: u8) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.0.width && y < self.0.height {
            for part in &mut self.0.pixels[(y * self.0.width + x) * 3..][..3] {
                *part = (u16::from(*part) * u16::from(255 - ink) / 255) as u8;
            }
        }
    }
}

// The font: DejaVu Sans 2.37 at 26 pixels, drawn by reference/label_font.py, which describes the layout.
static FONT: &[u8] = include_bytes!("../font.png");
const CELL_WIDTH: usize = 32;
const CELL_HEIGHT: usize = 34;
const CELLS_IN_A_ROW: usize = 16;
const CELL_MARGIN: isize = 2;
const CELL_BASELINE: isize = 26;
/// Advance widths, pixels.
const ADVANCES: [u8; 96] = [
    8, 10, 12, 22, 17, 25, 20, 7, 10, 10, 13, 22, 8, 9, 8, 9, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 9, 9,
    22, 22, 22, 14, 26, 18, 18, 18, 20, 16, 15, 20, 20, 8, 8, 17, 14, 22, 19, 20, 16, 20, 18, 16, 16, 19, 18,
    26, 18, 16, 18, 10, 9, 10, 22, 13, 13, 16, 16, 14, 16, 16, 9, 16, 16, 7, 7, 15, 7, 25, 16, 16, 16, 16,
    11, 14, 10, 16, 15, 21, 15, 15, 14, 17, 9, 17, 22, 22,
];

/// Where a character stands in the font; what it does not have is shown as a question mark.
fn cell(character: char) -> usize {
    match character {
        ' '..='~' => character as usize - ' ' as usize,
        '\u{2212}' => ADVANCES.len() - 1,
        _ => cell('?'),
    }
}

fn advance(character: char) -> isize {
    isize::from(ADVANCES[cell(character)])
}

/// Calls `draw(dx, dy, ink)` for each pixel of a glyph that has ink; (0, 0) is the beginning of its baseline.
fn for_each_pixel_of(character: char, mut draw: impl FnMut(isize, isize, u8)) {
    let (left, top) =
        (cell(character) % CELLS_IN_A_ROW * CELL_WIDTH, cell(character) / CELLS_IN_A_ROW * CELL_HEIGHT);
    for y in 0..CELL_HEIGHT {
        for x in 0..CELL_WIDTH {
            let ink = GLYPHS[(top + y) * CELLS_IN_A_ROW * CELL_WIDTH + left + x];
            if ink > 0 {
                draw(x as isize - CELL_MARGIN, y as isize - CELL_BASELINE, ink);
            }
        }
    }
}

/// The pixels of the font, 255 for ink.
static GLYPHS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut reader =
        png::Decoder::new(io::Cursor::new(FONT)).read_info().expect("the embedded font is a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("the embedded font is small")];
    reader.next_frame(&mut pixels).expect("the embedded font is whole");
    pixels
});

#[cfg(test)]
mod tests {
    use super::*;

    /// The box around the ink: left, top, right, bottom.
    fn ink_box(image: &Image) -> [usize; 4] {
        let inked: Vec<(usize, usize)> = (0..image.width * image.height)
            .filter(|i| image.pixels[i * 3] < 128)
            .map(|i| (i % image.width, i / image.width))
            .collect();
        let (xs, ys) = (|| inked.iter().map(|p| p.0), || inked.iter().map(|p| p.1));
        [xs().min().unwrap(), ys().min().unwrap(), xs().max().unwrap(), ys().max().unwrap()]
    }

    #[test]
    fn text_stands_where_it_should() {
        assert_eq!(GLYPHS.len(), 96 * CELL_WIDTH * CELL_HEIGHT);
        for (place, middle) in [
            (Place::Below, [100, 110]),
            (Place::LeftOf, [66, 100]),
            (Place::RightOf, [134, 100]),
            (Place::Upwards, [110, 100]),
        ] {
            let mut canvas = Canvas::new(200, 200);
            canvas.text("8008", 100, 100, place);
            let [left, top, right, bottom] = ink_box(&Raster::new(&canvas).0);
            let (width, height) = (right - left + 1, bottom - top + 1);
            let (along, across) = if place == Place::Upwards { (height, width) } else { (width, height) };
            assert!(
                (60..=68).contains(&along) && (18..=20).contains(&across),
                "{place:?}: {along} x {across}"
            );
            for (got, want) in [(left + right) / 2, (top + bottom) / 2].into_iter().zip(middle) {
                assert!(usize::abs_diff(got, want) <= 2, "{place:?}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let mut canvas = Canvas::new(10, 10);
        canvas.text("WWW", 5, 5, Place::LeftOf);
        canvas.text("WWW", 5, 5, Place::Upwards);
        canvas.fill(8, 8, 100, 100, [0; 3]);
        let Raster(image) = Raster::new(&canvas);
        assert_eq!(image.pixels.len(), 300);
        assert_eq!(image.pixels[297..], [0; 3]);
    }
}
