// The microphone, analysed while one speaks.

import { openStream } from "./client.js";
import { Microphone, showLevel } from "./microphone.js";
import { bars, verdict } from "./result.js";
import { drawStack, element, legend } from "./timeline.js";

const HOP_S = 0.5;
const SHOWN_S = 60;

/** The most often that a screen reader hears of a new emotion, milliseconds. */
const ANNOUNCE_MS = 4000;

export function setUpLive(model, announce) {
  const id = (name) => document.getElementById(name);
  const button = id("live");
  const meter = id("live-meter");
  const status = id("live-status");
  const problem = id("live-problem");
  const view = id("live-view");
  const chart = bars(model.labels);
  const strip = element("canvas");
  strip.setAttribute("role", "img");
  id("live-bars").append(chart.list);
  const ends = [`${SHOWN_S} s ago`, "now"].map((text) => element("span", { textContent: text }));
  const axis = element("div", { className: "axis", ariaHidden: "true" }, ...ends);
  id("live-strip").append(strip, axis, legend(model.labels));
  let session = null;

  const say = (text) => {
    status.textContent = text;
  };
  const fail = (message) => {
    problem.textContent = message;
    problem.hidden = false;
  };
  const showButton = (running) => {
    button.setAttribute("aria-pressed", String(running));
    id("live-text").textContent = running ? "Stop listening" : "Start listening";
  };

  async function start() {
    problem.hidden = true;
    button.disabled = true;
    say("Opening the microphone\u2026");
    const now = { readings: [], sent: 0, sentAt: [], announced: 0, label: undefined };
    try {
      now.microphone = await Microphone.open(
        (samples, peak) => push(now, samples, peak),
        () => stop("The microphone is gone."),
      );
    } catch (error) {
      say("Not listening.");
      fail(error.message);
      button.disabled = false;
      return;
    }
    session = now;
    now.stream = openStream(
      { sample_rate: now.microphone.sampleRate, hop: HOP_S, smoothing: HOP_S },
      (message) => take(now, message),
      (error) => {
        now.over?.();
        if (error && session === now) stop(error.message);
      },
    );
    showButton(true);
    button.disabled = false;
    view.hidden = false;
    id("live-verdict").replaceChildren(element("span", { className: "why", textContent: "Speak; the first answer needs a few seconds of sound." }));
    draw(now);
    say("Listening\u2026");
  }

  async function stop(message) {
    const now = session;
    if (!now) return;
    session = null;
    button.disabled = true;
    showButton(false);
    say("Stopping\u2026");
    const over = new Promise((resolve) => {
      now.over = resolve;
      setTimeout(resolve, 3000);
    });
    await now.microphone.close();
    now.stream.finish();
    if (!message) await over;
    showLevel(meter, 0);
    say("Not listening.");
    if (message) fail(message);
    button.disabled = false;
  }

  function push(now, samples, peak) {
    showLevel(meter, peak);
    if (!now.stream) return;
    now.stream.push(samples.buffer);
    now.sent += samples.length;
    now.sentAt.push([now.sent / now.microphone.sampleRate, performance.now()]);
    if (now.sentAt.length > 400) now.sentAt.shift();
  }

  function take(now, message) {
    if (message.type === "ready") {
      now.windowS = message.window_s;
      return;
    }
    now.readings.push(message);
    while (now.readings[0].end_s < message.end_s - SHOWN_S) now.readings.shift();
    measure(now, message);
    id("live-verdict").replaceChildren(...(message.silence ? quiet() : verdict(message)));
    chart.update(message);
    draw(now);
    if (session === now) say(`Listening: ${Math.floor(now.sent / now.microphone.sampleRate)} s`);
    const time = performance.now();
    if (message.label !== now.label && time - now.announced > ANNOUNCE_MS) {
      announce(message.label ?? "Nobody speaks");
      now.announced = time;
      now.label = message.label;
    }
  }

  /** How long after the end of its window a reading is shown, as a measure of the browser's performance tools. */
  function measure(now, reading) {
    const knownS = reading.end_s + (now.windowS - HOP_S) / 2;
    const sent = now.sentAt.find(([seconds]) => seconds >= knownS);
    if (sent) performance.measure("intone-live-lag", { start: sent[1], end: performance.now() });
  }

  function draw(now) {
    // The present is at the right.
    const end = now.readings.at(-1)?.end_s ?? SHOWN_S;
    drawStack(strip, model.labels, now.readings, end - SHOWN_S, end);
    const latest = now.readings.at(-1);
    strip.setAttribute("aria-label", `The last minute; now ${latest?.label ?? "nobody speaks"}`);
  }

  button.onclick = () => (session ? stop() : start());
  return { leave: () => stop() };
}

function quiet() {
  return [
    element("span", { className: "word", textContent: "nobody speaks" }),
  ];
}
