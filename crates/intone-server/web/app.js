// The page: where the speech comes from, and where the answers go.

import { ServiceError, currentToken, model as askModel, useToken } from "./client.js";
import { setUpLive } from "./live.js";
import { Microphone, showLevel } from "./microphone.js";
import { show } from "./result.js";
import { wav } from "./sound.js";
import { clock, element, percent } from "./timeline.js";

const id = (name) => document.getElementById(name);

/** The longest recording that is made here, seconds. */
const RECORD_LIMIT_S = 120;

const LOCAL = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

let model = null;
let live = null;

function announce(text) {
  id("announce").textContent = text;
}

// Tabs, with the keys that one expects of them.

const tabs = ["upload", "record", "live"].map((name) => ({ tab: id(`tab-${name}`), panel: id(`panel-${name}`) }));

function choose(chosen) {
  for (const { tab, panel } of tabs) {
    const is = tab === chosen;
    tab.setAttribute("aria-selected", String(is));
    tab.tabIndex = is ? 0 : -1;
    panel.hidden = !is;
  }
  id("empty").hidden = chosen === id("tab-live") || id("results").hasChildNodes();
  if (chosen !== id("tab-live")) live?.leave();
  if (chosen !== id("tab-record")) stopRecording();
}

tabs.forEach(({ tab }, i) => {
  tab.onclick = () => choose(tab);
  tab.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : step && (i + step + tabs.length) % tabs.length;
    if (to === undefined) return;
    event.preventDefault();
    choose(tabs[to].tab);
    tabs[to].tab.focus();
  };
});

// Recordings wait for each other, so that the first answers come soon.

let queue = Promise.resolve();

function analyse(blob, name) {
  id("empty").hidden = true;
  queue = queue.then(async () => {
    if (!model) await connect();
    if (model) announce(await show(id("results"), blob, name, model));
  });
  return queue;
}

// Upload.

id("choose").onclick = () => id("files").click();
id("files").onchange = () => {
  for (const file of id("files").files) analyse(file, file.name);
  id("files").value = "";
};
const drop = id("drop");
const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
// Anywhere on the page: a file that misses the box must not replace the page.
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  drop.classList.remove("over");
  choose(id("tab-upload"));
  for (const file of event.dataTransfer.files) analyse(file, file.name);
});

// Record.

let recording = null;
let recorded = 0;

function recordProblem(message) {
  id("record-problem").textContent = message ?? "";
  id("record-problem").hidden = !message;
}

async function startRecording() {
  recordProblem(null);
  id("record").disabled = true;
  const now = { chunks: [], samples: 0 };
  try {
    now.microphone = await Microphone.open(
      (samples, peak) => {
        now.chunks.push(samples);
        now.samples += samples.length;
        const seconds = now.samples / (now.microphone?.sampleRate ?? 48000);
        showLevel(id("record-meter"), peak);
        id("record-time").textContent = clock(Math.floor(seconds));
        if (seconds >= RECORD_LIMIT_S && recording === now) stopRecording();
      },
      () => stopRecording(),
    );
    recording = now;
    id("record").setAttribute("aria-pressed", "true");
    id("record-text").textContent = "Stop";
  } catch (error) {
    recordProblem(error.message);
  }
  id("record").disabled = false;
}

async function stopRecording() {
  const now = recording;
  if (!now) return;
  recording = null;
  id("record").setAttribute("aria-pressed", "false");
  id("record-text").textContent = "Record";
  await now.microphone.close();
  showLevel(id("record-meter"), 0);
  id("record-time").textContent = "0:00";
  if (now.samples === 0) return recordProblem("The microphone gave no sound.");
  recorded += 1;
  await analyse(wav(now.chunks, now.microphone.sampleRate), `Recording ${recorded}.wav`);
}

id("record").onclick = () => (recording ? stopRecording() : startRecording());
id("record-limit").textContent = clock(RECORD_LIMIT_S);

// The model.

/** Whose clips a result is of, by how its names begin in the model file: what is shown is the first that is there. */
const SIDES = [
  ["test", "On unseen voices", ""],
  ["folds", "On unseen voices", "; the answers are of models of the same recipe, trained without these voices"],
  ["validation", "On validation voices", "; training was steered by these voices, which flatters"],
];

/** What the model file says of its results: a title, and the figures. */
function figures(scores) {
  for (const [side, title, remark] of SIDES) {
    const known = [["accuracy", "accuracy"], ["uar", "mean recall of the emotions"]]
      .filter(([key]) => scores[`${side}_${key}`] >= 0 && scores[`${side}_${key}`] <= 1)
      .map(([key, name]) => {
        const [low, high] = [scores[`${side}_${key}_low`], scores[`${side}_${key}_high`]];
        const range = low >= 0 && high <= 1 ? ` (95 % interval ${Math.round(100 * low)} to ${Math.round(100 * high)} %)` : "";
        return `${name} ${percent(scores[`${side}_${key}`])}${range}`;
      });
    const [clips, speakers] = [scores[`${side}_clips`], scores[`${side}_speakers`]];
    const number = clips > 0 && speakers > 0 ? `; ${count(clips, "clip")} of ${count(speakers, "speaker")}` : "";
    if (known.length) return [title, known.join(", ") + number + remark];
  }
  return ["Results", "the model file says nothing about them"];
}

const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

function about() {
  const { scores, corpora } = model.provenance;
  const list = element("dl");
  const row = (name, value) => value && list.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  row("Emotions", model.labels.join(", "));
  row("Network", model.architecture === "encoder" ? "Whisper\u2019s encoder with a head for emotions" : "convolutional network over log-mel pictures");
  row("Learned from", corpora.map((corpus) => `${corpus.name} (${corpus.clips.toLocaleString("en")} clips)`).join(", "));
  row(...figures(scores));
  row("By chance", percent(1 / model.labels.length));
  row("Licence", model.provenance.licence);
  id("about").replaceChildren(list);
  id("version").textContent = model.version;
  const { body_bytes: bytes, duration_s: seconds } = model.limits;
  id("limits").textContent = `; up to ${Math.round(bytes / 1e6)} MB and ${Math.round(seconds / 60)} minutes each`;
}

async function connect() {
  try {
    model = await askModel();
  } catch (error) {
    const wanted = error instanceof ServiceError && error.code === "unauthorized";
    id("token-form").hidden = !wanted;
    if (wanted && currentToken()) id("token-hint").textContent = "That was not the right one.";
    id("about").replaceChildren(element("p", { className: "problem", textContent: wanted ? "The service tells more once it has its token." : error.message }));
    return;
  }
  id("token-form").hidden = true;
  about();
  live ??= setUpLive(model, announce);
}

id("token-form").onsubmit = (event) => {
  event.preventDefault();
  useToken(id("token").value);
  connect();
};

id("where").textContent = LOCAL ? "Runs on this machine. Nothing leaves it." : `Runs on ${location.host}, which keeps nothing.`;
id("live-privacy").textContent = LOCAL
  ? "The sound goes to the program on this machine and no further; nothing is kept."
  : `The sound is sent to ${location.host} while you speak; nothing is kept there.`;
connect();
