//! The log-mel spectrogram of a recording, as a picture.

use std::io;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use intone::audio::Resampler;
use intone::features::{Extractor, Frames, FrontEnd};
use intone::{AudioStream, SampleRate};

use crate::audio::{on_upload, parameters, refuse};
use crate::error::{Code, ErrorAnswer, Failure};
use crate::pool::Wanted;
use crate::state::Service;
use crate::types::NoQuery;

/// The widest picture, pixels; a longer recording has several frames in a column.
const MAX_COLUMNS: usize = 2_048;

/// The log-mel picture of a recording.
///
/// The whole of it, silent ends too. Grey, one row for each mel band with the lowest at the bottom, one column for each frame
/// or, where there are more than 2,048, for several: their maximum. White is the recording's peak, black `top_db` below it
/// or less.
#[utoipa::path(
    post, path = "/v1/log-mel", tag = "recordings",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "the recording"),
    responses(
        (status = 200, description = "the picture", body = Vec<u8>, content_type = "image/png"),
        (status = "4XX", description = "the request or the recording cannot be used", body = ErrorAnswer),
        (status = 503, description = "too much to do, or it took too long", body = ErrorAnswer),
    )
)]
pub(crate) async fn log_mel(
    State(app): State<Service>,
    query: Result<Query<NoQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Failure> {
    if let Err(failure) = parameters(query) {
        return refuse(&app, request, failure).await;
    }
    let png = on_upload(&app, request, |app, stream, wanted| {
        let front_end = &app.recognizer.meta().front_end;
        let limit_s = app.options.limits.duration_s;
        let columns = columns(front_end, stream, limit_s, wanted)?;
        png(&columns, front_end).map_err(|error| Failure::new(Code::Internal, error.to_string()))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

fn columns(
    front_end: &FrontEnd,
    audio: &mut AudioStream,
    limit_s: f64,
    wanted: &Wanted,
) -> Result<Columns, Failure> {
    let failed = |error: intone::Error| Failure::of_audio(&error);
    let rate = SampleRate(front_end.sample_rate_hz);
    let mut resampler = Resampler::new(audio.sample_rate(), rate).map_err(failed)?;
    let mut stream = Extractor::new(front_end).map_err(failed)?.stream();
    let mut frames = Frames::new(front_end.n_mels);
    let mut columns = Columns::new(front_end.n_mels);
    let (mut samples, mut n_samples) = (Vec::new(), 0);
    while let Some(chunk) = audio.next_chunk().map_err(failed)? {
        n_samples += chunk.len();
        samples.clear();
        resampler.push(chunk, &mut samples);
        stream.push(&samples, &mut frames);
        columns.take(&mut frames);
        let duration_s = n_samples as f64 / f64::from(audio.sample_rate().0);
        if duration_s > limit_s || !wanted.still() {
            let message = format!("expected at most {limit_s} s of audio, got more");
            return Err(Failure::new(Code::AudioTooLong, message));
        }
    }
    samples.clear();
    resampler.finish(&mut samples);
    stream.push(&samples, &mut frames);
    stream.finish_unpadded(&mut frames);
    columns.take(&mut frames);
    Ok(columns)
}

/// Columns of a picture whose width is bounded: when there are too many, every two become one.
struct Columns {
    n_mels: usize,
    /// `[n, n_mels]`, dB.
    values: Vec<f32>,
    /// Frames in a column, and in the last one.
    per_column: usize,
    n_in_last: usize,
}

impl Columns {
    fn new(n_mels: usize) -> Columns {
        Columns { n_mels, values: Vec::new(), per_column: 1, n_in_last: 1 }
    }

    /// Takes frames in, and forgets them.
    fn take(&mut self, frames: &mut Frames) {
        for frame in frames.values().chunks_exact(self.n_mels) {
            if self.n_in_last < self.per_column {
                let start = self.values.len() - self.n_mels;
                louder(&mut self.values[start..], frame);
                self.n_in_last += 1;
                continue;
            }
            if self.values.len() == MAX_COLUMNS * self.n_mels {
                self.halve();
            }
            self.values.extend_from_slice(frame);
            self.n_in_last = 1;
        }
        frames.drop_before(frames.range().end);
    }

    fn halve(&mut self) {
        let pairs = self.values.chunks_exact(2 * self.n_mels).flat_map(|pair| {
            let (first, second) = pair.split_at(self.n_mels);
            first.iter().zip(second).map(|(a, b)| a.max(*b))
        });
        self.values = pairs.collect();
        self.per_column *= 2;
    }
}

fn louder(column: &mut [f32], frame: &[f32]) {
    column.iter_mut().zip(frame).for_each(|(a, b)| *a = a.max(*b));
}

fn png(columns: &Columns, front_end: &FrontEnd) -> io::Result<Vec<u8>> {
    let (n_mels, n_columns) = (columns.n_mels, columns.values.len() / columns.n_mels);
    let peak_db = columns.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let grey = |db: f32| (255.0 * (1.0 + (db - peak_db) / front_end.top_db).clamp(0.0, 1.0)) as u8;
    let mut pixels = Vec::with_capacity(columns.values.len());
    for mel in (0..n_mels).rev() {
        pixels.extend(columns.values.iter().skip(mel).step_by(n_mels).map(|&db| grey(db)));
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, n_columns as u32, n_mels as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_recording_has_several_frames_in_a_column_and_no_peak_is_lost() {
        let mut columns = Columns::new(2);
        let n = 5 * MAX_COLUMNS + 3;
        for t in 0..n {
            let loud = if t == n / 2 { 9.0 } else { 0.0 };
            columns.take(&mut Frames::from_values(2, vec![loud, -(t as f32)]).unwrap());
        }
        assert_eq!(columns.per_column, 8);
        let column = n / 2 / 8;
        let (low, high): (Vec<f32>, Vec<f32>) =
            columns.values.chunks(2).map(|column| (column[0], column[1])).unzip();
        assert_eq!(low.len(), n.div_ceil(8));
        assert!(low.iter().enumerate().all(|(i, &x)| (x == 9.0) == (i == column)));
        assert!(
            high.iter().enumerate().all(|(i, &x)| x == -(i as f32) * 8.0),
            "the maximum of each eight frames"
        );
    }
}
