// What came of one recording: a card with the answer, the sound, its pictures and its timeline.

import { picture, recognize, timeline } from "./client.js";
import { decode, drawWave } from "./sound.js";
import { clock, csv, drawStack, element, legend, percent, saver, summary, table, tone } from "./timeline.js";

/** The answer in words, most important first. */
export function verdict(answer) {
  if (answer.silence) {
    return [
      element("span", { className: "word", textContent: "silence" }),
      element("span", { className: "why", textContent: "There is nothing to be heard, so there is no emotion to name." }),
    ];
  }
  const word = element("span", { className: "word", textContent: answer.label });
  word.style.color = "var(--ink)";
  const share = element("span", { className: "share", textContent: percent(answer.scores[answer.label]) });
  if (!answer.uncertain) return [word, share];
  return [
    word,
    share,
    element("span", { className: "badge", textContent: "uncertain" }),
    element("span", { className: "why", textContent: "The model is often wrong when it is this unsure." }),
  ];
}

/** A bar for each emotion. `update(answer)` shows another answer. */
export function bars(labels) {
  const list = element("ul", { className: "bars" });
  list.setAttribute("aria-label", "Confidence in each emotion");
  const rows = labels.map((label) => {
    const fill = element("span", { className: "fill" });
    const value = element("span", { className: "value", textContent: "\u2013" });
    const row = element(
      "li",
      {},
      element("span", { textContent: label }),
      element("span", { className: "track", ariaHidden: "true" }, fill),
      value,
    );
    row.style.setProperty("--tone", `var(${tone(label)})`);
    list.append(row);
    return { label, row, fill, value };
  });
  const update = (answer) => {
    list.classList.toggle("muted", answer.silence);
    for (const { label, row, fill, value } of rows) {
      const share = answer.silence ? 0 : answer.scores[label];
      fill.style.transform = `scaleX(${share})`;
      value.textContent = answer.silence ? "\u2013" : percent(share);
      row.classList.toggle("best", label === answer.label);
    }
  };
  return { list, update };
}

/** Shows a card for a recording at once, and fills it as answers come. Resolves to what there is to be announced. */
export async function show(place, blob, name, model) {
  const title = element("h2", { textContent: name });
  const length = element("span", { className: "length" });
  const card = element("article", { className: "card result" }, element("header", {}, title, length));
  const busy = element(
    "p",
    { className: "busy" },
    element("span", { className: "wheel", ariaHidden: "true" }),
    "Listening to it\u2026",
  );
  card.append(busy);
  place.prepend(card);
  try {
    const limit = model.limits.body_bytes;
    if (blob.size > limit) {
      throw new Error(`The file has ${megabytes(blob.size)}; at most ${megabytes(limit)} are taken.`);
    }
    const answer = await recognize(blob);
    const long = answer.duration_s > model.window.max_s && answer.windows > 1;
    // Without the course over time there is still an answer.
    let [course, missing] = [null, null];
    if (long) await timeline(blob).then((it) => (course = it), (error) => (missing = error));
    length.textContent = `${answer.duration_s.toFixed(1)} s`;
    busy.remove();
    fill(card, answer, course, blob, name);
    if (missing) {
      const text = `How it changes over time could not be found out: ${missing.message}`;
      card.append(element("p", { className: "problem", textContent: text }));
    }
    card.dataset.scores = JSON.stringify(answer.scores);
    return `${name}: ${answer.silence ? "silence" : `${answer.label}, ${percent(answer.scores[answer.label])}`}${answer.uncertain ? ", uncertain" : ""}`;
  } catch (error) {
    busy.remove();
    const problem = element("p", { className: "problem", textContent: `This could not be analysed: ${error.message}` });
    card.append(problem);
    return `${name}: ${problem.textContent}`;
  }
}

function fill(card, answer, course, blob, name) {
  card.append(element("div", { className: "verdict" }, ...verdict(answer)));
  const chart = bars(Object.keys(answer.scores));
  card.append(chart.list);
  // From nothing to their length, where movement is welcome.
  requestAnimationFrame(() => chart.update(answer));
  for (const warning of answer.warnings ?? []) {
    card.append(element("p", { className: "problem", textContent: warning }));
  }
  const sound = player(card, answer, course, blob, name);
  if (course) {
    card.append(table(course, sound.listen));
  }
  const base = name.replace(/\.[^.]*$/, "");
  const tools = element("div", { className: "tools" });
  tools.append(
    saver("Save as JSON", `${base}.json`, "application/json", () => `${JSON.stringify(course ? { ...answer, timeline: course } : answer, null, 2)}\n`),
  );
  if (course) tools.append(saver("Save as CSV", `${base}.csv`, "text/csv", () => csv(course)));
  card.append(tools);
}

/** The sound, and its pictures over the same time. */
function player(card, answer, course, blob, name) {
  const audio = element("audio", { controls: true, preload: "metadata", src: URL.createObjectURL(blob) });
  audio.setAttribute("aria-label", `Play ${name}`);
  const wave = element("canvas", { className: "wave", hidden: true });
  wave.setAttribute("role", "img");
  wave.setAttribute("aria-label", "Waveform");
  const mel = element("img", { className: "mel", alt: "Log-mel spectrogram: time to the right, pitch upwards", hidden: true });
  const head = element("div", { className: "playhead", hidden: true });
  const tracks = element("div", { className: "tracks" }, wave, mel);
  const duration = answer.duration_s;
  const redraw = [];

  if (course) {
    const stack = element("canvas", { className: "stack" });
    stack.setAttribute("role", "img");
    stack.setAttribute("aria-label", `Confidences over time: ${summary(course)}`);
    tracks.append(stack);
    redraw.push(() => drawStack(stack, course.labels, course.readings, 0, duration));
  }
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => element("span", { textContent: clock(share * duration, duration < 60) }));
  tracks.append(element("div", { className: "axis", ariaHidden: "true" }, ...marks), head);
  const scrub = element("input", { type: "range", className: "scrub", min: 0, max: duration, step: 0.1, value: 0 });
  scrub.setAttribute("aria-label", "Moment to hear, seconds");
  card.append(tracks, ...(course ? [scrub, legend(course.labels)] : []), audio);

  const seek = (seconds) => {
    audio.currentTime = Math.max(0, Math.min(duration, seconds));
  };
  const listen = (seconds) => {
    seek(seconds);
    audio.play().catch(() => {});
  };
  const follow = () => {
    head.hidden = audio.currentTime === 0;
    head.style.left = `${(100 * audio.currentTime) / duration}%`;
    scrub.value = audio.currentTime;
    scrub.setAttribute("aria-valuetext", clock(audio.currentTime, true));
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.onplay = follow;
  audio.onseeked = follow;
  audio.onerror = () => {
    audio.replaceWith(element("p", { className: "hint", textContent: "This browser cannot play this kind of file." }));
  };
  scrub.oninput = () => seek(Number(scrub.value));
  tracks.onclick = (event) => {
    const { left, width } = tracks.getBoundingClientRect();
    listen(((event.clientX - left) / width) * duration);
  };

  decode(blob).then((samples) => {
    if (!samples) return;
    wave.hidden = false;
    redraw.push(() => drawWave(wave, samples));
    redraw.at(-1)();
  });
  picture(blob).then(
    (png) => {
      mel.src = URL.createObjectURL(png);
      mel.hidden = false;
    },
    () => {},
  );
  const all = () => redraw.forEach((draw) => draw());
  new ResizeObserver(all).observe(tracks);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  return { listen };
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
