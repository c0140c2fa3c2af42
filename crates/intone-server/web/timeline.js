// Confidences over time: a chart, a table, and files to save.

import { colour, prepare } from "./sound.js";

const KNOWN = ["angry", "disgust", "fear", "happy", "neutral", "sad"];

/** The name of an emotion's colour. */
export const tone = (label) => (KNOWN.includes(label) ? `--${label}` : "--other");

export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** `4:05`, or `4:05.3` where tenths matter. */
export function clock(seconds, tenths = false) {
  const all = tenths ? Math.round(seconds * 10) / 10 : Math.round(seconds);
  const minutes = Math.floor(all / 60);
  const rest = all - 60 * minutes;
  return `${minutes}:${tenths ? rest.toFixed(1).padStart(4, "0") : String(rest).padStart(2, "0")}`;
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Draws readings as columns of stacked confidences, from `startS` to `endS`; where nobody speaks there is a line. */
export function drawStack(canvas, labels, readings, startS, endS) {
  const draw = prepare(canvas);
  const { width, height } = canvas;
  const x = (seconds) => ((seconds - startS) / (endS - startS)) * width;
  const soft = colour("--soft");
  const edge = colour("--card");
  const colours = labels.map((label) => colour(tone(label)));
  for (const reading of readings) {
    const left = Math.max(0, Math.floor(x(reading.start_s)));
    const right = Math.min(width, Math.ceil(x(reading.end_s)));
    if (right <= left) continue;
    if (reading.silence) {
      draw.fillStyle = soft;
      draw.fillRect(left, height / 2, right - left, Math.max(1, height / 120));
      continue;
    }
    let bottom = height;
    labels.forEach((label, i) => {
      const size = reading.scores[label] * height;
      draw.fillStyle = colours[i];
      draw.globalAlpha = reading.uncertain ? 0.55 : 1;
      draw.fillRect(left, bottom - size, right - left, size);
      bottom -= size;
      draw.globalAlpha = 1;
      draw.fillStyle = edge;
      // A seam between neighbours, for those who cannot tell their colours apart.
      if (size > 4) draw.fillRect(left, bottom, right - left, Math.max(1, height / 160));
    });
  }
}

export function legend(labels) {
  const items = labels.map((label) => {
    const item = element("li", { textContent: label });
    item.style.setProperty("--tone", `var(${tone(label)})`);
    return item;
  });
  return element("ul", { className: "legend" }, ...items);
}

/** What a timeline says, in a sentence. */
export function summary(timeline) {
  const parts = timeline.spans.map(
    (span) => `${span.label ?? "nobody speaks"} from ${clock(span.start_s)} to ${clock(span.end_s)}`,
  );
  const shown = parts.slice(0, 8).join(", ");
  return parts.length > 8 ? `${shown}, and ${parts.length - 8} more` : shown;
}

/** The readings as a table whose times can be listened to. */
export function table(timeline, listen) {
  const heads = ["From", "Emotion", ...timeline.labels, "Voice"];
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })));
  const rows = timeline.readings.map((reading) => {
    const hear = element("button", { type: "button", textContent: clock(reading.start_s, true) });
    hear.setAttribute("aria-label", `Hear from ${clock(reading.start_s, true)}`);
    hear.onclick = () => listen(reading.start_s);
    const name = reading.label ? `${reading.label}${reading.uncertain ? " (uncertain)" : ""}` : "\u2014";
    const shares = timeline.labels.map((label) => (reading.silence ? "" : percent(reading.scores[label])));
    return element(
      "tr",
      {},
      element("td", {}, hear),
      ...[name, ...shares, percent(reading.voice)].map((text) => element("td", { textContent: text })),
    );
  });
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, made);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "All readings");
  return element("details", {}, element("summary", { textContent: "All readings as a table" }), scroll);
}

/** The readings as CSV, with the columns of `intone timeline --format csv`. */
export function csv(timeline) {
  const field = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const line = (values) => `${values.map(field).join(",")}\n`;
  const head = line(["start_s", "end_s", "label", ...timeline.labels, "silence", "uncertain", "voice"]);
  const rows = timeline.readings.map((reading) =>
    line([
      reading.start_s,
      reading.end_s,
      reading.label,
      ...timeline.labels.map((label) => reading.scores[label]),
      reading.silence,
      reading.uncertain,
      reading.voice,
    ]),
  );
  return head + rows.join("");
}

/** A button that saves a text as a file. */
export function saver(label, name, type, text) {
  const button = element("button", { type: "button", className: "quiet", textContent: label });
  button.onclick = () => {
    const address = URL.createObjectURL(new Blob([text()], { type }));
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  };
  return button;
}
