// The microphone: samples and loudness while it is open.

/** What a person can do about each way in which a microphone fails. */
const REASONS = {
  NotAllowedError: "The microphone is not allowed. Allow it in the browser's settings for this page, and try again.",
  NotFoundError: "No microphone was found. Connect one, and try again.",
  NotReadableError: "The microphone cannot be opened. Another program may be using it.",
};

export class Microphone {
  /** Opens it. `onSamples(Int16Array, peak)` gets each chunk, `onLost()` is called when the device goes away. */
  static async open(onSamples, onLost) {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error("This browser gives no microphone to this page: it needs https, or an address on this machine.");
    }
    let media;
    try {
      // The voice as it is: processing for telephony changes what emotions are heard by.
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      media = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The microphone cannot be opened: ${error.message}`);
    }
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule("/assets/capture.js");
      await context.resume();
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      await context.close();
      throw new Error(`The sound cannot be read: ${error.message}`);
    }
    return new Microphone(media, context, onSamples, onLost);
  }

  constructor(media, context, onSamples, onLost) {
    this.media = media;
    this.context = context;
    this.sampleRate = context.sampleRate;
    this.node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => {
      if (data.done) this.flushed?.();
      else onSamples(data.samples, data.peak);
    };
    context.createMediaStreamSource(media).connect(this.node);
    media.getAudioTracks()[0].onended = onLost;
  }

  /** Closes it, after the last samples were given out. */
  async close() {
    const flushed = new Promise((resolve) => {
      this.flushed = resolve;
      setTimeout(resolve, 500);
    });
    this.node.port.postMessage("stop");
    await flushed;
    this.media.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }
}

/** Shows a peak, 0 to 1, on a meter whose left end is 60 dB below full scale. */
export function showLevel(meter, peak) {
  const db = 20 * Math.log10(Math.max(peak, 1e-6));
  const share = Math.max(0, Math.min(1, 1 + db / 60));
  meter.firstElementChild.style.transform = `scaleX(${share.toFixed(3)})`;
  meter.classList.toggle("hot", peak > 0.98);
  meter.setAttribute("aria-valuenow", Math.round(100 * share));
}
