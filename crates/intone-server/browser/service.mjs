// What the tests share: the real program, recordings, and a real browser.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

export const PROGRAM = process.env.INTONE ?? join(ROOT, "target/debug/intone");
export const sample = (name) => join(ROOT, "samples", `${name}.wav`);

/** Where the browser is; undefined where there is none. */
export const CHROMIUM = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path && existsSync(path),
);

/** Starts the program on a port of its own; resolves when it listens. */
export async function serve(...args) {
  const child = spawn(PROGRAM, ["serve", "--port", "0", "--quiet", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  const address = await new Promise((resolve, reject) => {
    child.stdout.on("data", (data) => {
      text += data;
      const found = /http:\/\/\S+/.exec(text);
      if (found) resolve(found[0]);
    });
    child.once("exit", (code) => reject(new Error(`the program ended with ${code}: ${text}`)));
  });
  const stop = () =>
    new Promise((resolve) => {
      child.once("exit", resolve);
      child.kill("SIGTERM");
    });
  return { address, stop, pid: child.pid };
}

/** What `intone predict` says of a file. */
export function predict(path) {
  return JSON.parse(execFileSync(PROGRAM, ["predict", "--format", "jsonl", path], { encoding: "utf8" }));
}

/** The samples of a 16-bit mono WAV file as `samples/make.sh` writes them, and their rate. */
export function readWav(path) {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 12;
  let rate = 0;
  while (at + 8 <= bytes.length) {
    const name = bytes.toString("latin1", at, at + 4);
    const length = view.getUint32(at + 4, true);
    if (name === "fmt ") rate = view.getUint32(at + 12, true);
    if (name === "data") return { rate, pcm: bytes.subarray(at + 8, at + 8 + length) };
    at += 8 + length + (length % 2);
  }
  throw new Error(`${path}: no data`);
}

export function wav(rate, pcm) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0, "latin1");
  header.writeUInt32LE(36 + pcm.length, 4);
  header.write("WAVEfmt ", 8, "latin1");
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}

/** A folder for the time of the tests, with a longer recording in it: all samples one after the other, pauses between. */
export function place() {
  const folder = mkdtempSync(join(tmpdir(), "intone-"));
  const parts = ["hello", "rain", "station", "leave"].map((name) => readWav(sample(name)));
  const { rate } = parts[0];
  const pause = Buffer.alloc(rate * 2 * 3);
  const pcm = Buffer.concat(parts.flatMap((part) => [part.pcm, pause]));
  const long = join(folder, "conversation.wav");
  writeFileSync(long, wav(rate, pcm));
  const voice = join(folder, "voice.wav");
  writeFileSync(voice, wav(rate, Buffer.concat(parts.map((part) => part.pcm))));
  const text = join(folder, "notes.txt");
  writeFileSync(text, "This is no recording.\n");
  return { folder, long, voice, text, pcm, rate, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
