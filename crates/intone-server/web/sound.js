// Sound in the browser: WAV files, decoding for the picture, and the waveform.

/** A mono 16-bit WAV file. */
export function wav(chunks, sampleRate) {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, sampleRate * 2, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...chunks], { type: "audio/wav" });
}

/** The samples of the first channel, or null where this browser cannot decode the file. */
export async function decode(blob) {
  try {
    const context = new OfflineAudioContext(1, 1, 16000);
    const buffer = await context.decodeAudioData(await blob.arrayBuffer());
    return buffer.getChannelData(0);
  } catch {
    return null;
  }
}

/** A canvas whose pixels are those of the screen, cleared. */
export function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  return canvas.getContext("2d");
}

/** The value of a colour variable of the page. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draws lowest and highest sample of each column. */
export function drawWave(canvas, samples) {
  const draw = prepare(canvas);
  const { width, height } = canvas;
  const middle = height / 2;
  draw.fillStyle = colour("--accent");
  const loudest = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  // Quiet recordings are magnified, up to ten times.
  const scale = middle / Math.max(loudest, 0.1);
  for (let x = 0; x < width; x += 1) {
    const from = Math.floor((x * samples.length) / width);
    const to = Math.max(from + 1, Math.floor(((x + 1) * samples.length) / width));
    let low = 0;
    let high = 0;
    for (let i = from; i < to; i += 1) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const top = middle - high * scale;
    draw.fillRect(x, top, 1, Math.max(1, (high - low) * scale));
  }
}
