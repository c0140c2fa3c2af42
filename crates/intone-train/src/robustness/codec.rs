//! Coding at a low rate and decoding, by programs that may be installed.

use std::path::Path;
use std::process::Command;

use intone::audio::{Audio, SampleRate};

use super::audio;
use crate::error::{Error, Result};

/// What is missing of these programs, as a sentence; `None` where all are there.
pub(super) fn missing(programs: &[&str]) -> Option<String> {
    let folders: Vec<_> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let there =
        |program: &str| folders.iter().any(|folder: &std::path::PathBuf| folder.join(program).is_file());
    let absent: Vec<&str> = programs.iter().copied().filter(|program| !there(program)).collect();
    if absent.is_empty() { None } else { Some(format!("{} is not installed", absent.join(" and "))) }
}

/// MP3 of `kbps` kilobits a second, and back.
pub(super) fn mp3(samples: &[f32], rate: SampleRate, kbps: u32) -> Result<Audio> {
    let dir = Folder::with(samples, rate)?;
    let (wav, mp3) = (dir.path("in.wav"), dir.path("out.mp3"));
    run("lame", &["--quiet", "-m", "m", "-b", &kbps.to_string(), &wav, &mp3])?;
    Ok(Audio::open(mp3)?)
}

/// Opus of `kbps` kilobits a second, and back.
pub(super) fn opus(samples: &[f32], rate: SampleRate, kbps: u32) -> Result<Audio> {
    let dir = Folder::with(samples, rate)?;
    let (wav, opus, back) = (dir.path("in.wav"), dir.path("out.opus"), dir.path("back.wav"));
    run("opusenc", &["--quiet", "--hard-cbr", "--bitrate", &kbps.to_string(), &wav, &opus])?;
    run("opusdec", &["--quiet", &opus, &back])?;
    Ok(Audio::open(back)?)
}

/// A folder with the recording as 16-bit WAV at 16 kHz, a rate that all codecs take.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(samples: &[f32], rate: SampleRate) -> Result<Folder> {
        let dir = tempfile::tempdir().map_err(Error::io(Path::new("a temporary folder")))?;
        let folder = Folder(dir);
        let wide = audio(samples.to_vec(), rate)?.resample(SampleRate(16_000))?;
        let path = folder.0.path().join("in.wav");
        std::fs::write(&path, wav(wide.samples(), 16_000)).map_err(Error::io(&path))?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let path = Path::new(program);
    let output = Command::new(program).args(arguments).output().map_err(Error::io(path))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::io(path)(std::io::Error::other(format!("{}: {said}", output.status))))
}

/// The bytes of a mono WAV file of 16 bits.
fn wav(samples: &[f32], rate_hz: u32) -> Vec<u8> {
    let n_bytes = 2 * samples.len() as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + n_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((2 * rate_hz).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(n_bytes.to_le_bytes());
    let sample = |x: &f32| ((x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).to_le_bytes();
    bytes.extend(samples.iter().flat_map(sample));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_give_back_the_recording_nearly() {
        let rate = SampleRate(16_000);
        let tone: Vec<f32> = (0..16_000).map(|i| 0.3 * (i as f32 * 0.17).sin()).collect();
        type Coder = fn(&[f32], SampleRate, u32) -> Result<Audio>;
        let coders = [(&["lame"][..], mp3 as Coder), (&["opusenc", "opusdec"], opus)];
        for (programs, coder) in coders {
            if let Some(why) = missing(programs) {
                println!("skipped: {why}");
                continue;
            }
            let back = coder(&tone, rate, 16).unwrap();
            assert!((back.duration_s() - 1.0).abs() < 0.15, "{programs:?}: {} s", back.duration_s());
            let power = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
            assert!((power(back.samples()) / power(&tone) - 1.0).abs() < 0.5, "{programs:?}");
            assert_ne!(back.samples(), &tone[..]);
        }
        assert_eq!(missing(&["no-such-codec"]).unwrap(), "no-such-codec is not installed");
    }
}
