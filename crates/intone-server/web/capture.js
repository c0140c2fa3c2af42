// Runs in the audio thread: microphone samples become 16-bit ones, in chunks of a twentieth of a second.

const CHUNK_S = 0.05;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunk = new Int16Array(Math.round(sampleRate * CHUNK_S));
    this.filled = 0;
    this.peak = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.send();
      this.running = false;
      this.port.postMessage({ done: true });
    };
  }

  process([channels]) {
    if (!this.running) return false;
    if (!channels || channels.length === 0) return true;
    for (let i = 0; i < channels[0].length; i += 1) {
      let sample = 0;
      for (const channel of channels) sample += channel[i];
      sample /= channels.length;
      this.peak = Math.max(this.peak, Math.abs(sample));
      this.chunk[this.filled] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      this.filled += 1;
      if (this.filled === this.chunk.length) this.send();
    }
    return true;
  }

  send() {
    if (this.filled === 0) return;
    const samples = this.chunk.slice(0, this.filled);
    this.port.postMessage({ samples, peak: this.peak }, [samples.buffer]);
    this.filled = 0;
    this.peak = 0;
  }
}

registerProcessor("capture", Capture);
