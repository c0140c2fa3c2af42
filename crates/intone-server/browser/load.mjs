// The service under load, on the loopback interface: node load.mjs [seconds]. Ends with 1 where a promise is broken.
//
// 200 clients at once, good and bad, beside connections that say nothing, that trickle, and that break off; then half an hour of
// audio through a stream, as fast as fifty times real time.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import WebSocket from "ws";

import { PROGRAM, place, sample, serve, wav } from "./service.mjs";

const N_CLIENTS = 200;
const SECONDS = Number(process.argv[2] ?? 30);
const STREAM_S = 1800;
const SPEED = 50;

const files = place();

// Start-up and first byte: the median of nine starts.
const starts = [];
const bytes = [];
for (let n = 0; n < 9; n += 1) {
  const before = performance.now();
  const fresh = await serve();
  const there = performance.now();
  const at = new URL(fresh.address);
  await new Promise((resolve, reject) => {
    http.get({ hostname: at.hostname, port: at.port, path: "/" }, (response) => response.once("data", resolve).resume()).on("error", reject);
  });
  starts.push(there - before);
  bytes.push(performance.now() - there);
  await fresh.stop();
}

const service = await serve("--max-idle", "3");
const { hostname, port } = new URL(service.address);
const kilobytes = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, "utf8"))[1]);
const percentile = (values, share) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))];
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const broken = [];
const promise = (holds, text) => {
  console.log(`${holds ? "holds " : "BROKEN"} ${text}`);
  if (!holds) broken.push(text);
};

const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

/** One request: its status and time. */
function ask(path, body, options = {}) {
  const start = performance.now();
  return new Promise((resolve) => {
    const request = http.request({ hostname, port, path, method: body ? "POST" : "GET", agent, ...options }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        resolve({ status: response.statusCode, ms: performance.now() - start, text: Buffer.concat(parts).toString() });
      });
    });
    request.on("error", (error) => resolve({ status: 0, ms: performance.now() - start, text: String(error) }));
    request.end(body);
  });
}

/** What is asked, and which statuses are promised for it. */
const clip = readFileSync(sample("hello"));
const long = readFileSync(files.long);
const expected = JSON.parse((await ask("/v1/recognize", clip)).text).scores;
const KINDS = [
  { name: "a sentence", share: 6, path: "/v1/recognize", body: clip, promised: [200, 503], good: true },
  { name: "a timeline", share: 1, path: "/v1/timeline", body: long, promised: [200, 503] },
  { name: "no audio", share: 2, path: "/v1/recognize", body: Buffer.alloc(20_000, "x"), promised: [422, 503] },
  { name: "a cut file", share: 1, path: "/v1/recognize", body: clip.subarray(0, 3_001), promised: [200, 503] },
  { name: "a bad parameter", share: 1, path: "/v1/timeline?window=99", body: clip, promised: [400] },
  { name: "the page", share: 1, path: "/", promised: [200] },
  { name: "nothing there", share: 1, path: "/nothing", promised: [404] },
];
const wheel = KINDS.flatMap((kind) => Array(kind.share).fill(kind));

// Connections that hold on to what they get: nothing sent, a header that never ends, a body that trickles.
const holders = Array.from({ length: 150 }, (_, n) => {
  const socket = net.connect(Number(port), hostname);
  socket.on("error", () => {});
  if (n % 3 === 1) socket.write("POST /v1/recognize HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  if (n % 3 === 2) socket.write("POST /v1/recognize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  if (n % 3 > 0) {
    const timer = setInterval(() => socket.writable && socket.write("a"), 500);
    socket.on("close", () => clearInterval(timer));
  }
  return socket;
});

console.log(`listens ${percentile(starts, 0.5).toFixed(0)} ms after its start, the page begins ${percentile(bytes, 0.5).toFixed(1)} ms later`);

const counts = new Map();
const times = [];
const memory = [];
let lost = 0;
let unpromised = [];
let wrong = 0;
const until = performance.now() + SECONDS * 1000;
const started = performance.now();
const sampler = setInterval(() => memory.push([performance.now() - started, kilobytes()]), 500);
await Promise.all(
  Array.from({ length: N_CLIENTS }, async (_, n) => {
    for (let i = n; performance.now() < until; i += 1) {
      const kind = wheel[(i * 7) % wheel.length];
      const { status, ms, text } = await ask(kind.path, kind.body);
      counts.set(`${kind.name}: ${status}`, (counts.get(`${kind.name}: ${status}`) ?? 0) + 1);
      if (status === 0) lost += 1;
      else if (!kind.promised.includes(status)) unpromised.push(`${kind.name}: ${status} ${text}`);
      if (kind.good && status === 200) {
        times.push(ms);
        const { scores } = JSON.parse(text);
        if (JSON.stringify(scores) !== JSON.stringify(expected)) wrong += 1;
      }
      // Those who were told to come again in a second do so.
      if (status === 503) await wait(1000);
    }
  }),
);
clearInterval(sampler);
holders.forEach((socket) => socket.destroy());
for (const [what, n] of [...counts].sort()) console.log(`${String(n).padStart(7)}  ${what}`);
const half = memory.filter(([ms]) => ms > SECONDS * 500).map(([, kb]) => kb);
const early = memory.filter(([ms]) => ms > SECONDS * 200 && ms <= SECONDS * 500).map(([, kb]) => kb);
console.log(`answers to a sentence: ${times.length}, p50 ${percentile(times, 0.5).toFixed(0)} ms, p99 ${percentile(times, 0.99).toFixed(0)} ms`);
console.log(`memory: ${Math.max(...early)} kB at most until half-time, ${Math.max(...half)} kB after`);
promise(lost === 0, `${lost} answers were lost`);
promise(unpromised.length === 0, `${unpromised.length} statuses that are not promised ${unpromised.slice(0, 3)}`);
promise(wrong === 0 && times.length > 0, `${wrong} wrong scores`);
promise(Math.max(...half) < 1.15 * Math.max(...early), "memory is flat");

// Half an hour through a stream.
const pcm = Buffer.alloc(STREAM_S * files.rate * 2);
for (let at = 0; at < pcm.length; at += files.pcm.length) files.pcm.copy(pcm, at);
const half_hour = join(files.folder, "half-hour.wav");
writeFileSync(half_hour, wav(files.rate, pcm));
const batch = execFileSync(PROGRAM, ["timeline", "--format", "jsonl", half_hour], { encoding: "utf8", maxBuffer: 1 << 28 });
const start = performance.now();
const heard = await new Promise((resolve, reject) => {
  const socket = new WebSocket(`ws://${hostname}:${port}/v1/stream`);
  const lines = [];
  socket.on("message", (data) => {
    const { type, ...message } = JSON.parse(data);
    if (type === "reading") lines.push(JSON.stringify(message));
    else if (type === "end") resolve(lines);
    else if (type !== "ready") reject(new Error(data));
  });
  socket.on("error", reject);
  socket.on("open", async () => {
    socket.send(JSON.stringify({ sample_rate: files.rate }));
    const chunk = files.rate * 2;
    for (let at = 0, n = 0; at < pcm.length; at += chunk, n += 1) {
      socket.send(pcm.subarray(at, at + chunk));
      const due = start + (n * 1000) / SPEED;
      if (due > performance.now()) await wait(due - performance.now());
    }
    socket.send("end");
  });
});
const took = (performance.now() - start) / 1000;
// Read and written again: a whole number has a point in one program and none in the other.
const wanted = batch.trim().split("\n").map((line) => JSON.stringify(JSON.parse(line)));
promise(heard.length === wanted.length && heard.every((line, n) => line === wanted[n]), `${heard.length} readings of ${STREAM_S} s in ${took.toFixed(1)} s are those of the batch`);

const [{ status }] = await Promise.all([ask("/healthz"), wait(100)]);
promise(status === 200, "the service is well");
agent.destroy();
await service.stop();
files.remove();
process.exit(broken.length ? 1 : 0);
