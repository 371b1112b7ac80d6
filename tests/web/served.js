// A real server with the default model, and a real Chromium before its page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const ROOT = resolve(import.meta.dirname, "../..");
export const BINARY = process.env.KO_SENTIMENT_BINARY ?? join(ROOT, "target/release/ko-sentiment");
export const MODEL = process.env.KO_SENTIMENT_MODEL ?? join(ROOT, "models/ko-gemma3-270m-sentiment.gguf");

/** A folder for a test's files. */
export const folder = mkdtempSync(join(tmpdir(), "ko-sentiment-web-"));

/** Writes a file and returns its path. */
export function file(name, bytes) {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** The variables that don't change what the binary does. */
export const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("KO_SENTIMENT_")));

/** Starts a server; `{ url, metrics, stop }`. */
export async function serve(...flags) {
  const address = "127.0.0.1:0";
  const all = ["--log-format", "json", "serve", "--model", MODEL, "--listen", address, "--web", address];
  const child = spawn(BINARY, [...all, "--metrics-listen", address, "--no-warm-up", ...flags], {
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  process.on("exit", () => child.kill("SIGKILL"));
  const ended = new Promise((done) => child.on("exit", done));
  const addresses = {};
  for await (const line of createInterface({ input: child.stderr })) {
    let entry;
    try {
      entry = JSON.parse(line);
    } catch {
      throw new Error(`the server says ${line}`);
    }
    addresses[entry.message] = entry.address;
    if (entry.message === "serving the page") break;
  }
  child.stderr.resume();
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    await ended;
  };
  return { url: `http://${addresses["serving the page"]}`, metrics: `http://${addresses["serving metrics"]}`, stop };
}

/** The value of a metric's series, 0 if there is none. */
export async function metric(server, series) {
  const text = await (await fetch(`${server.metrics}/metrics`)).text();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line ? Number(line.slice(series.length)) : 0;
}

/** Starts Chromium. */
export function browse() {
  const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  const args = [...quiet, "--disable-component-update", "--disable-sync"];
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
}

/** Opens the page; what the browser complains of, or asks of others, is in `faults`. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "ko-KR", viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  const faults = [];
  // A call that is refused shows as a failed resource, too.
  page.on("console", (message) => {
    const expected = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !expected) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) faults.push(`asks for ${request.url()}`);
  });
  await page.goto(url);
  return { page, faults, context };
}

const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Asserts that axe finds nothing serious on a page, and that nothing needs scrolling sideways. */
export async function checkAccess(page, state) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], state);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${state}: ${wide} pixels too wide`);
}
