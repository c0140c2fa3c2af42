// The page in a real browser, served by the real program.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";

import { CHROMIUM, place, predict, sample, serve } from "./service.mjs";

const missing = CHROMIUM || process.env.CI ? false : "skipped: no chromium is installed; CHROMIUM names one elsewhere";
if (missing) {
  console.log(missing);
  process.exit(0);
}
const { chromium } = await import("playwright-core");
const { default: axe } = await import("axe-core");

/** The most that a live reading is late on a machine that has nothing else to do, milliseconds after the end of its window. */
const LAG_MS = 300;

/** Screenshots of each state are left here where it is set. */
const SHOTS = process.env.SHOTS;

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let files;
let service;
let browser;
let problems = [];

before(async () => {
  files = place();
  service = await serve();
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      ...ARGS,
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
      `--use-file-for-fake-audio-capture=${files.voice}`,
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
});

after(async () => {
  await browser?.close();
  await service?.stop();
  files?.remove();
});

/** A fresh page whose every complaint fails the test. */
async function open(options = {}, { address = service.address, from = browser } = {}) {
  const context = await from.newContext({ viewport: { width: 1100, height: 900 }, permissions: ["microphone"], ...options });
  const page = await context.newPage();
  problems = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    if (!/^(blob:|data:)/.test(request.url()) && new URL(request.url()).host !== new URL(address).host) {
      problems.push(`a request to ${request.url()}`);
    }
  });
  await page.goto(address);
  return page;
}

async function close(page) {
  await page.context().close();
  assert.deepEqual(problems, []);
}

async function upload(page, ...paths) {
  const n = await page.locator(".result").count();
  await page.setInputFiles("#files", paths);
  await page.locator(".result .verdict, .result .problem").nth(n + paths.length - 1).waitFor();
}

/** Serious findings of axe. */
async function check(page, state) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], state);
}

async function fits(page, state) {
  const { inner, scroll } = await page.evaluate(() => ({ inner: innerWidth, scroll: document.scrollingElement.scrollWidth }));
  assert.ok(scroll <= inner, `${state}: ${scroll} pixels in a window of ${inner}`);
}

test("an upload is scored as by intone predict, at all lengths", async () => {
  const page = await open();
  const paths = [sample("hello"), sample("rain"), files.long];
  await upload(page, ...paths);
  for (const path of paths) {
    const card = page.locator(".result", { has: page.getByRole("heading", { name: basename(path), exact: true }) });
    const scores = JSON.parse(await card.getAttribute("data-scores"));
    const expected = predict(path);
    assert.deepEqual(scores, expected.scores, path);
    const word = await card.locator(".verdict .word").textContent();
    assert.equal(word, expected.silence ? "silence" : expected.label);
    assert.equal(await card.locator(".badge").count(), expected.uncertain ? 1 : 0);
    assert.equal(await card.locator(".bars li").count(), Object.keys(expected.scores).length);
    await card.locator(".mel").waitFor();
    await card.locator(".wave").waitFor();
  }
  await close(page);
});

test("a long recording has a timeline to look at, to hear and to save", async () => {
  const page = await open();
  await upload(page, files.long);
  const card = page.locator(".result");
  const label = await card.locator("canvas.stack").getAttribute("aria-label");
  assert.match(label, /nobody speaks from/, "the pauses are gaps");
  await card.getByText("All readings as a table").click();
  const rows = await card.locator("tbody tr").count();
  assert.ok(rows > 10, `${rows} rows`);
  await card.locator("tbody tr").nth(4).getByRole("button").click();
  await page.waitForFunction(() => document.querySelector("audio").currentTime > 3);
  await card.locator(".tracks").click({ position: { x: 20, y: 20 } });
  await page.waitForFunction(() => document.querySelector("audio").currentTime < 3);

  const [csv] = await Promise.all([page.waitForEvent("download"), card.getByRole("button", { name: "Save as CSV" }).click()]);
  assert.equal(csv.suggestedFilename(), "conversation.csv");
  const lines = readFileSync(await csv.path(), "utf8").trim().split("\n");
  assert.equal(lines.length, rows + 1);
  assert.match(lines[0], /^start_s,end_s,label,.*,silence,uncertain,voice$/);
  const [json] = await Promise.all([page.waitForEvent("download"), card.getByRole("button", { name: "Save as JSON" }).click()]);
  const saved = JSON.parse(readFileSync(await json.path(), "utf8"));
  assert.equal(saved.timeline.readings.length, rows);
  assert.deepEqual(saved.scores, predict(files.long).scores);
  await close(page);
});

test("what is no recording is refused with a reason, wherever it is dropped", async () => {
  const page = await open();
  const transfer = await page.evaluateHandle((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], "<img src=x onerror=alert(1)>.txt", { type: "text/plain" }));
    return data;
  }, readFileSync(files.text, "utf8"));
  await page.dispatchEvent("footer", "dragover", { dataTransfer: transfer });
  assert.ok(await page.locator("#drop.over").count(), "the box says that it would take it");
  await page.dispatchEvent("footer", "drop", { dataTransfer: transfer });
  await page.locator(".result .problem").waitFor();
  assert.match(await page.locator(".result .problem").textContent(), /could not be analysed/);
  assert.equal(await page.locator(".result h2").textContent(), "<img src=x onerror=alert(1)>.txt");
  assert.equal(await page.locator(".result img").count(), 0);
  // The browser notes each answer that is an error; this one is as it should be.
  problems = problems.filter((text) => !/status of 422/.test(text));
  await close(page);
});

test("the microphone is recorded, played back and analysed", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Record" }).click();
  await page.getByRole("button", { name: "Record", exact: true }).click();
  await page.waitForFunction(() => document.getElementById("record-time").textContent === "0:02");
  assert.ok(Number(await page.locator("#record-meter").getAttribute("aria-valuenow")) > 0, "the meter moves");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.locator(".result .bars").waitFor();
  assert.notEqual(await page.locator(".result .word").textContent(), "silence");
  const seconds = parseFloat(await page.locator(".result .length").textContent());
  assert.ok(seconds >= 2 && seconds < 6, `${seconds} s`);
  await close(page);
});

test("live readings follow the voice", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Live" }).click();
  await page.getByRole("button", { name: "Start listening" }).click();
  await page.locator("#live-verdict .word").waitFor();
  await page.waitForFunction(() => performance.getEntriesByName("intone-live-lag").length >= 8);
  const lags = await page.evaluate(() => performance.getEntriesByName("intone-live-lag").map(({ duration }) => duration));
  const sorted = [...lags].sort((a, b) => a - b);
  console.log(`live readings come ${sorted.map((lag) => lag.toFixed(0)).join(", ")} ms after their windows`);
  // How late they are on a busy machine is no property of the page; how early they can be is.
  assert.ok(sorted[0] < LAG_MS, `the earliest of ${lags}`);
  if (SHOTS) await page.screenshot({ path: join(SHOTS, "live-running.png"), fullPage: true });
  await page.getByRole("button", { name: "Stop listening" }).click();
  await page.locator("#live:enabled", { hasText: "Start listening" }).waitFor();
  await page.getByText("Not listening.").waitFor();
  assert.equal(await page.locator("#live-problem").isVisible(), false);
  const text = await page.locator("#live-privacy").textContent();
  assert.match(text, /no further/);
  await close(page);
});

test("without a microphone the page says what to do", async () => {
  const deaf = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
  const page = await open({ permissions: [] }, { from: deaf });
  await page.getByRole("tab", { name: "Record" }).click();
  await page.getByRole("button", { name: "Record", exact: true }).click();
  await page.locator("#record-problem").waitFor();
  assert.match(await page.locator("#record-problem").textContent(), /microphone/i);
  await page.getByRole("tab", { name: "Live" }).click();
  await page.getByRole("button", { name: "Start listening" }).click();
  await page.locator("#live-problem").waitFor();
  await check(page, "no microphone");
  if (SHOTS) await page.screenshot({ path: join(SHOTS, "no-microphone.png"), fullPage: true });
  await close(page);
  await deaf.close();
});

test("everything can be done with the keyboard", async () => {
  const page = await open();
  // Asked for this early, because until the browser knows that somebody waits, it opens no chooser that a test sees.
  const chooser = page.waitForEvent("filechooser");
  chooser.catch(() => {});
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to content");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "tab-upload");
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(), "tab-record");
  assert.ok(await page.locator("#panel-record").isVisible());
  await page.keyboard.press("End");
  assert.equal(await focused(), "tab-live");
  await page.keyboard.press("Home");
  assert.equal(await focused(), "tab-upload");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "choose");
  await page.keyboard.press("Enter");
  await (await chooser).setFiles(files.long);
  await page.locator(".scrub").waitFor();
  await page.locator(".scrub").focus();
  for (let n = 0; n < 30; n += 1) await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => document.querySelector("audio").currentTime > 2);
  await page.locator("summary").focus();
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("tbody tr").first().isVisible());
  await close(page);
});

test("a service with a token asks for it", async () => {
  const locked = await serve("--token", "correct horse");
  const page = await open({}, { address: locked.address });
  await page.locator("#token").waitFor();
  await check(page, "token");
  await page.fill("#token", "battery");
  await page.keyboard.press("Enter");
  await page.getByText("That was not the right one.").waitFor();
  await page.fill("#token", "correct horse");
  await page.keyboard.press("Enter");
  await page.locator("#about dl").waitFor();
  await upload(page, sample("hello"));
  assert.equal(await page.locator(".result .bars").count(), 1);
  problems = problems.filter((text) => !/status of 401/.test(text));
  await close(page);
  await locked.stop();
});

test("the page says whose voices its results are of", async () => {
  const page = await open();
  /** Title and text of the results, where the model file has these scores; without any, its own. */
  const shown = async (scores) => {
    await page.unroute("**/v1/model");
    await page.route("**/v1/model", async (route) => {
      const response = await route.fetch();
      const model = await response.json();
      if (scores) model.provenance.scores = scores;
      await route.fulfill({ response, json: model });
    });
    await page.reload();
    await page.locator("#about dl").waitFor();
    const rows = await page.locator("#about dt").evaluateAll((titles) => titles.map((dt) => [dt.textContent, dt.nextElementSibling.textContent]));
    return rows[rows.findIndex(([title]) => title === "By chance") - 1];
  };
  const test = { test_accuracy: 0.712, test_uar: 0.705, test_uar_low: 0.684, test_uar_high: 0.731, test_clips: 1234, test_speakers: 20 };
  const folds = { folds_accuracy: 0.756, folds_accuracy_low: 0.736, folds_accuracy_high: 0.778, folds_clips: 5929, folds_speakers: 80 };
  const validation = { validation_accuracy: 0.92, validation_clips: 88, validation_speakers: 1 };
  assert.deepEqual(await shown({ ...validation, ...folds, ...test }), [
    "On unseen voices",
    "accuracy 71 %, mean recall of the emotions 71 % (95 % interval 68 to 73 %); 1,234 clips of 20 speakers",
  ]);
  assert.deepEqual(await shown({ ...validation, ...folds }), [
    "On unseen voices",
    "accuracy 76 % (95 % interval 74 to 78 %); 5,929 clips of 80 speakers; the answers are of models of the same recipe, trained without these voices",
  ]);
  assert.deepEqual(await shown(validation), [
    "On validation voices",
    "accuracy 92 %; 88 clips of 1 speaker; training was steered by these voices, which flatters",
  ]);
  assert.deepEqual(await shown({}), ["Results", "the model file says nothing about them"]);

  const { provenance } = await (await fetch(`${service.address}/v1/model`)).json();
  const side = ["test", "folds", "validation"].find((name) => `${name}_accuracy` in provenance.scores);
  const [title, text] = await shown(null);
  assert.equal(title === "On unseen voices", side !== "validation", `${title}, where the model has ${side}`);
  assert.ok(text.startsWith(`accuracy ${(100 * provenance.scores[`${side}_accuracy`]).toFixed(0)} %`), text);
  assert.ok(text.includes(`; ${provenance.scores[`${side}_clips`].toLocaleString("en")} clips of `), text);
  await close(page);
});

test("each state is legible, at each width, in both themes, and for assistive technology", async () => {
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
  const refused = join(files.folder, "notes.txt");
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [320, 768, 1280]) {
      const page = await open({ viewport: { width, height: 900 }, colorScheme, reducedMotion: "reduce" });
      await page.locator("#about dl").waitFor();
      const state = async (name) => {
        await fits(page, `${name}, ${colorScheme}, ${width}`);
        if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}-${colorScheme}-${width}.png`), fullPage: true });
        if (width !== 768) await check(page, `${name}, ${colorScheme}, ${width}`);
      };
      await state("empty");
      await upload(page, sample("hello"), files.long, refused);
      await page.locator(".mel").nth(1).waitFor();
      await page.getByText("All readings as a table").first().click();
      await state("results");
      await page.getByRole("tab", { name: "Record" }).click();
      await state("record");
      await page.getByRole("tab", { name: "Live" }).click();
      await state("live");
      await page.goto(`${service.address}/api`);
      await page.locator("#Answer").waitFor();
      await state("api");
      problems = problems.filter((text) => !/status of 422/.test(text));
      await close(page);
    }
  }
});
