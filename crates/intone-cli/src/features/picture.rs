//! A log-mel spectrogram as a picture for a paper: axes in seconds and hertz, a bar for the colours.

use std::io::{self, Write};

use intone::features::{FrontEnd, LogMel};

pub(crate) use self::canvas::Format;
use self::canvas::{Canvas, Colour, Image, Place};
use self::magma::MAGMA;

mod canvas;
mod magma;

/// Height of the spectrogram; the reference's 128 bands get 4 pixels each.
const PLOT_HEIGHT: usize = 512;
/// Width of the spectrogram: 3 s get 1,200 pixels; a short clip is not drawn narrower than this, a long one not
/// wider.
const PIXELS_PER_SECOND: f64 = 400.0;
const MIN_PLOT_WIDTH: usize = 800;
const MAX_PLOT_WIDTH: usize = 2_400;
/// Room around the spectrogram, for the axes and, at the right, for the bar.
const LEFT: usize = 150;
const RIGHT: usize = 220;
const TOP: usize = 24;
const BOTTOM: usize = 100;
/// The bar's distance from the spectrogram and its width.
const BAR_GAP: usize = 36;
const BAR_WIDTH: usize = 28;
/// Thickness of axes and marks, length of the marks, distance of their labels.
const LINE: usize = 2;
const MARK: usize = 9;
const LABEL_GAP: usize = 8;
/// The least distance of two marks on the time axis.
const MIN_MARK_DISTANCE: f64 = 150.0;
const BLACK: Colour = [0; 3];

/// Frequencies worth a mark: octaves, where the scale is logarithmic.
const MARKS_HZ: [f64; 11] =
    [0.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0, 32_000.0, 64_000.0, 128_000.0];

/// Writes the spectrogram of a clip of `duration_s` seconds as PNG.
pub(super) fn write(
    out: impl Write,
    log_mel: &LogMel,
    front_end: &FrontEnd,
    duration_s: f64,
) -> io::Result<()> {
    let plot = Plot::new(log_mel, front_end, duration_s);
    let mut canvas = plot.with_axes(plot.spectrogram(front_end.top_db));
    colour_bar(&mut canvas, LEFT + plot.width + BAR_GAP, front_end.top_db);
    canvas.write(out, Format::Png)
}

/// Writes the spectrogram in grey with evidence over it, `[n_mels, n_frames]`, row-major: orange where it is above 0, blue
/// where it is below, the stronger the farther from 0. Orange is the lighter one, so that grey prints tell them apart.
pub(crate) fn write_evidence(
    out: impl Write,
    log_mel: &LogMel,
    evidence: &[f32],
    front_end: &FrontEnd,
    duration_s: f64,
    format: Format,
) -> io::Result<()> {
    let plot = Plot::new(log_mel, front_end, duration_s);
    let n_frames = log_mel.n_frames();
    let most = evidence.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let db = log_mel.relative_db();
    let mut image = Image::new(plot.width, PLOT_HEIGHT, BLACK);
    for y in 0..PLOT_HEIGHT {
        let band = plot.bands.at_height(PLOT_HEIGHT - 1 - y);
        for x in 0..plot.width {
            let at = band * n_frames + plot.frame_at(x);
            let shade = (1.0 + db[at] / front_end.top_db).clamp(0.0, 1.0);
            image.set(x, y, tinted(shade, evidence[at] / most));
        }
    }
    let mut canvas = plot.with_axes(image);
    evidence_bar(&mut canvas, LEFT + plot.width + BAR_GAP, most);
    canvas.write(out, format)
}

/// A shade of grey, in [0, 1], with evidence over it, in [-1, 1].
fn tinted(shade: f32, evidence: f32) -> Colour {
    /// Orange and blue (Okabe and Ito 2008).
    const FOR: [f32; 3] = [255.0, 176.0, 40.0];
    const AGAINST: [f32; 3] = [0.0, 82.0, 178.0];
    let grey = 60.0 + 140.0 * shade;
    let (tint, share) = if evidence > 0.0 { (FOR, evidence) } else { (AGAINST, -evidence) };
    let share = 0.85 * share.min(1.0);
    // The spectrogram stays to be seen under the strongest evidence.
    tint.map(|tint| (grey * (1.0 - share) + tint * (0.6 + 0.4 * shade) * share).clamp(0.0, 255.0) as u8)
}

/// All colours, from that of 0 at the bottom to that of 1 at the top.
fn bar(canvas: &mut Canvas, x: usize, colour: impl Fn(f32) -> Colour) {
    let mut image = Image::new(BAR_WIDTH, PLOT_HEIGHT, BLACK);
    for y in 0..PLOT_HEIGHT {
        let colour = colour(1.0 - (y as f32 + 0.5) / PLOT_HEIGHT as f32);
        (0..BAR_WIDTH).for_each(|x| image.set(x, y, colour));
    }
    canvas.image(x, TOP, image);
    canvas.frame(x, TOP, BAR_WIDTH, PLOT_HEIGHT, LINE, BLACK);
}

/// From the evidence against, at the bottom, to that for the answer.
fn evidence_bar(canvas: &mut Canvas, x: usize, most: f32) {
    bar(canvas, x, |share| tinted(0.5, 2.0 * share - 1.0));
    let (step, n_decimals) = nice_step(f64::from(most) / 3.0);
    let n_steps = (f64::from(most) / step * (1.0 + 1e-6)) as i32;
    for i in -n_steps..=n_steps {
        let share = 0.5 - 0.5 * f64::from(i) * step / f64::from(most);
        let y = TOP + (share * PLOT_HEIGHT as f64).round() as usize;
        let right = x + BAR_WIDTH + LINE;
        canvas.fill(right, y - LINE / 2, MARK, LINE, BLACK);
        let sign = if i < 0 { "\u{2212}" } else { "" };
        let value = f64::from(i.abs()) * step;
        canvas.text(&format!("{sign}{value:.n_decimals$}"), right + MARK + LABEL_GAP, y, Place::RightOf);
    }
    let right = x + BAR_WIDTH + RIGHT - BAR_GAP - BAR_WIDTH;
    canvas.text("Evidence (nats of log-odds)", right - 46, TOP + PLOT_HEIGHT / 2, Place::Upwards);
}

/// Where a clip's spectrogram lies in the picture.
struct Plot<'a> {
    log_mel: &'a LogMel,
    front_end: &'a FrontEnd,
    bands: Bands,
    duration_s: f64,
    /// Pixels.
    width: usize,
    frames_per_pixel: f64,
}

impl<'a> Plot<'a> {
    fn new(log_mel: &'a LogMel, front_end: &'a FrontEnd, duration_s: f64) -> Plot<'a> {
        let hop_s = front_end.frames_s(1);
        // A clip of a few samples still has one frame to be seen.
        let duration_s = duration_s.max(hop_s);
        let width = ((duration_s * PIXELS_PER_SECOND) as usize).clamp(MIN_PLOT_WIDTH, MAX_PLOT_WIDTH);
        let frames_per_pixel = duration_s / hop_s / width as f64;
        Plot { log_mel, front_end, bands: Bands::new(front_end), duration_s, width, frames_per_pixel }
    }

    /// The frame that a pixel shows: frames are centred on their time.
    fn frame_at(&self, x: usize) -> usize {
        ((x as f64 * self.frames_per_pixel + 0.5) as usize).min(self.log_mel.n_frames() - 1)
    }

    fn spectrogram(&self, top_db: f32) -> Image {
        let rows: Vec<usize> = (0..PLOT_HEIGHT).map(|y| self.bands.at_height(PLOT_HEIGHT - 1 - y)).collect();
        let (n_mels, n_frames) = (self.log_mel.n_mels(), self.log_mel.n_frames());
        let mut image = Image::new(self.width, PLOT_HEIGHT, BLACK);
        let mut column = vec![0.0; n_mels];
        let data = self.log_mel.relative_db();
        for x in 0..self.width {
            // Where several frames fall on one pixel, it shows their maximum: a short sound in a long recording stays
            // visible.
            let first = self.frame_at(x);
            let frames = first..=self.frame_at(x + 1).saturating_sub(1).max(first);
            for (mel, value) in column.iter_mut().enumerate() {
                let row = &data[mel * n_frames..][..n_frames];
                *value = row[frames.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            }
            for (y, &row) in rows.iter().enumerate() {
                image.set(x, y, colour(column[row], top_db));
            }
        }
        image
    }

    /// A picture of this image, in a frame and with axes.
    fn with_axes(&self, image: Image) -> Canvas {
        let mut canvas = Canvas::new(LEFT + self.width + RIGHT, TOP + PLOT_HEIGHT + BOTTOM);
        canvas.image(LEFT, TOP, image);
        canvas.frame(LEFT, TOP, self.width, PLOT_HEIGHT, LINE, BLACK);
        time_axis(&mut canvas, self.width, self.duration_s);
        let (low, high) = (f64::from(self.front_end.fmin_hz), f64::from(self.front_end.fmax_hz));
        frequency_axis(&mut canvas, &self.bands, low, high);
        canvas
    }
}

fn time_axis(canvas: &mut Canvas, width: usize, duration_s: f64) {
    let (step, n_decimals) = nice_step(duration_s * MIN_MARK_DISTANCE / width as f64);
    let y = TOP + PLOT_HEIGHT;
    for i in 0..=(duration_s / step * (1.0 + 1e-9)) as usize {
        let x = LEFT + (i as f64 * step / duration_s * width as f64).round() as usize;
        canvas.fill(x - LINE / 2, y, LINE, LINE + MARK, BLACK);
        let label = format!("{:.n_decimals$}", i as f64 * step);
        canvas.text(&label, x, y + LINE + MARK + LABEL_GAP, Place::Below);
    }
    canvas.text("Time (s)", LEFT + width / 2, TOP + PLOT_HEIGHT + BOTTOM - 38, Place::Below);
}

fn frequency_axis(canvas: &mut Canvas, bands: &Bands, fmin_hz: f64, fmax_hz: f64) {
    for hz in MARKS_HZ.into_iter().filter(|hz| (fmin_hz..=fmax_hz).contains(hz)) {
        let y = TOP + ((1.0 - bands.height_of(hz)) * PLOT_HEIGHT as f64).round() as usize;
        canvas.fill(LEFT - LINE - MARK, y - LINE / 2, LINE + MARK, LINE, BLACK);
        canvas.text(&hz.to_string(), LEFT - LINE - MARK - LABEL_GAP, y, Place::LeftOf);
    }
    canvas.text("Mel frequency (Hz)", 12, TOP + PLOT_HEIGHT / 2, Place::Upwards);
}

fn colour_bar(canvas: &mut Canvas, x: usize, top_db: f32) {
    bar(canvas, x, |share| colour(top_db * (share - 1.0), top_db));
    let (step, n_decimals) = nice_step(f64::from(top_db) / 6.0);
    for i in 0..=(f64::from(top_db) / step * (1.0 + 1e-6)) as usize {
        let below = i as f64 * step;
        let y = TOP + (below / f64::from(top_db) * PLOT_HEIGHT as f64).round() as usize;
        let right = x + BAR_WIDTH + LINE;
        canvas.fill(right, y - LINE / 2, MARK, LINE, BLACK);
        let minus = if i == 0 { "" } else { "\u{2212}" };
        canvas.text(&format!("{minus}{below:.n_decimals$}"), right + MARK + LABEL_GAP, y, Place::RightOf);
    }
    let right = x + BAR_WIDTH + RIGHT - BAR_GAP - BAR_WIDTH;
    canvas.text("Power relative to peak (dB)", right - 46, TOP + PLOT_HEIGHT / 2, Place::Upwards);
}

fn colour(db: f32, top_db: f32) -> Colour {
    let shade = (1.0 + db / top_db).clamp(0.0, 1.0);
    let [_, red, green, blue] = MAGMA[(shade * (MAGMA.len() - 1) as f32).round() as usize].to_be_bytes();
    [red, green, blue]
}

/// The smallest of 1, 2 or 5 times a power of ten that is at least `step`, and the decimals to write it with.
fn nice_step(step: f64) -> (f64, usize) {
    let exponent = step.log10().floor() as i32;
    let unit = 10f64.powi(exponent);
    let (factor, exponent) = [(1.0, exponent), (2.0, exponent), (5.0, exponent), (10.0, exponent + 1)]
        .into_iter()
        .find(|(factor, _)| factor * unit >= step * (1.0 - 1e-9))
        .unwrap_or((10.0, exponent + 1));
    (factor * unit, (-exponent).max(0) as usize)
}

/// Where bands and frequencies lie on the vertical axis, which runs from `fmin_hz` to `fmax_hz` evenly in mel.
struct Bands {
    corners_hz: Vec<f64>,
}

impl Bands {
    fn new(front_end: &FrontEnd) -> Bands {
        Bands { corners_hz: front_end.mel_corners_hz() }
    }

    /// The height of a frequency, 0 at the bottom and 1 at the top.
    fn height_of(&self, hz: f64) -> f64 {
        let last = self.corners_hz.len() - 1;
        let above = self.corners_hz.partition_point(|&corner| corner <= hz).clamp(1, last);
        let (low, high) = (self.corners_hz[above - 1], self.corners_hz[above]);
        ((above - 1) as f64 + (hz - low) / (high - low)) / last as f64
    }

    /// The band whose centre is nearest to a height in pixels. Band `m` is centred on corner `m + 1`.
    fn at_height(&self, pixels: usize) -> usize {
        let n_gaps = self.corners_hz.len() - 1;
        let corner = (pixels as f64 + 0.5) / PLOT_HEIGHT as f64 * n_gaps as f64;
        (corner - 0.5).max(0.0).min((n_gaps - 2) as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use intone::features::Extractor;

    use super::*;

    fn pixels(log_mel: &LogMel, front_end: &FrontEnd, duration_s: f64) -> (usize, usize, Vec<u8>) {
        let mut file = Vec::new();
        write(&mut file, log_mel, front_end, duration_s).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        (info.width as usize, info.height as usize, pixels)
    }

    #[test]
    fn a_tone_is_bright_where_the_axes_say_it_is() {
        let front_end = FrontEnd::reference();
        // 2 kHz in the second half of two seconds.
        let tone = |n: usize| (std::f32::consts::TAU * 2_000.0 * n as f32 / 22_050.0).sin();
        let samples: Vec<f32> = (0..44_100).map(|n| if n < 22_050 { 0.0 } else { tone(n) }).collect();
        let log_mel = Extractor::new(&front_end).unwrap().log_mel(&samples);
        let (width, height, pixels) = pixels(&log_mel, &front_end, 2.0);
        assert_eq!((width, height), (LEFT + 800 + RIGHT, TOP + PLOT_HEIGHT + BOTTOM));
        let brightness = |x: usize, y: usize| {
            pixels[(y * width + x) * 3..][..3].iter().map(|&c| u32::from(c)).sum::<u32>()
        };
        let y = TOP + ((1.0 - Bands::new(&front_end).height_of(2_000.0)) * 512.0) as usize;
        assert!(brightness(LEFT + 600, y) > 500, "the tone: {}", brightness(LEFT + 600, y));
        assert!(brightness(LEFT + 200, y) < 30, "before the tone");
        assert!(brightness(LEFT + 600, y - 100) < 200, "above the tone");
        assert!(brightness(LEFT + 600, y + 100) < 200, "below the tone");
        // Axes: the marks at 0 s, at 2 s and at 2 kHz; the margin between marks and labels is empty.
        let below = TOP + PLOT_HEIGHT + LINE + MARK / 2;
        for (x, y) in [(LEFT, below), (LEFT + 800, below), (LEFT - MARK / 2 - LINE, y)] {
            assert_eq!(brightness(x, y), 0, "{x}, {y}");
        }
        assert_eq!(brightness(1, 1), 3 * 255);
    }

    #[test]
    fn clips_of_any_length_can_be_drawn() {
        let front_end = FrontEnd::reference();
        let extractor = Extractor::new(&front_end).unwrap();
        for n_samples in [0, 1, 300, 66_150, 22_050 * 60] {
            let log_mel = extractor.log_mel(&vec![0.0; n_samples]);
            let (width, _, _) = pixels(&log_mel, &front_end, n_samples as f64 / 22_050.0);
            assert!((LEFT + 800 + RIGHT..=LEFT + 2_400 + RIGHT).contains(&width), "{n_samples}: {width}");
        }
    }

    #[test]
    fn steps_are_round_numbers() {
        for (step, want) in [
            (0.3, (0.5, 1)),
            (0.5, (0.5, 1)),
            (0.06, (0.1, 1)),
            (13.3, (20.0, 0)),
            (0.0019, (0.002, 3)),
            (3_000.0, (5_000.0, 0)),
        ] {
            let got = nice_step(step);
            assert!((got.0 - want.0).abs() < 1e-9 * want.0 && got.1 == want.1, "{step}: {got:?}");
        }
    }

    #[test]
    fn heights_are_even_in_mel() {
        let bands = Bands::new(&FrontEnd::reference());
        assert_eq!(bands.height_of(0.0), 0.0);
        assert_eq!(bands.height_of(11_025.0), 1.0);
        // Slaney's scale: 1 kHz is 15 mel; 11,025 Hz are 15 + 27 ln(11.025) / ln(6.4) = 49.91.
        assert!((bands.height_of(1_000.0) - 15.0 / 49.911).abs() < 1e-3);
        assert_eq!((bands.at_height(0), bands.at_height(511)), (0, 127));
    }
}
