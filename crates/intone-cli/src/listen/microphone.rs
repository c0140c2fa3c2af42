//! The default microphone of the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, bail};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{FromSample, Sample, SampleFormat, SizedSample, StreamConfig};
use intone::SampleRate;

/// Blocks that may wait while a window is looked at: some seconds, whatever the device's blocks are.
const N_WAITING: usize = 512;

/// A microphone that is open.
pub(super) struct Microphone {
    pub(super) sample_rate: SampleRate,
    /// Mono samples, full scale 1, as the device delivers them; an error ends them.
    pub(super) blocks: Receiver<Result<Vec<f32>, String>>,
    /// Closes the device when it is dropped.
    _stream: cpal::Stream,
}

impl Microphone {
    /// Opens it at its own sample rate.
    pub(super) fn open() -> anyhow::Result<Microphone> {
        let device = cpal::default_host().default_input_device().context("no microphone was found")?;
        let config = device.default_input_config().context("asking the microphone for its format")?;
        let (sender, blocks) = sync_channel(N_WAITING);
        let format = config.sample_format();
        let config: StreamConfig = config.into();
        let sample_rate = SampleRate(config.sample_rate);
        let stream = match format {
            SampleFormat::F32 => build::<f32>(&device, config, sender),
            SampleFormat::I16 => build::<i16>(&device, config, sender),
            SampleFormat::I32 => build::<i32>(&device, config, sender),
            SampleFormat::U16 => build::<u16>(&device, config, sender),
            other => bail!("the microphone delivers {other}; expected f32, i16, i32 or u16"),
        };
        let stream = stream.context("opening the microphone")?;
        stream.play().context("starting the microphone")?;
        Ok(Microphone { sample_rate, blocks, _stream: stream })
    }
}

/// Becomes true at Ctrl-C.
pub(super) fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot catch Ctrl-C")?;
    Ok(stopped)
}

fn build<T>(
    device: &cpal::Device,
    config: StreamConfig,
    sender: SyncSender<Result<Vec<f32>, String>>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let n_channels = usize::from(config.channels).max(1);
    let failed = sender.clone();
    let take = move |samples: &[T], _: &cpal::InputCallbackInfo| {
        let mix = |frame: &[T]| frame.iter().map(|x| f32::from_sample(*x)).sum::<f32>() / n_channels as f32;
        // The device's thread must not wait: what finds no room is lost, as it would be in the device.
        let _ = sender.try_send(Ok(samples.chunks_exact(n_channels).map(mix).collect()));
    };
    device.build_input_stream(
        config,
        take,
        move |error| {
            // A block that came late is no reason to end.
            if !matches!(error.kind(), cpal::ErrorKind::Xrun | cpal::ErrorKind::RealtimeDenied) {
                let _ = failed.try_send(Err(error.to_string()));
            }
        },
        None,
    )
}
