// The page that `ko-sentiment report` writes, as people read it. With PICTURES=FOLDER, it is photographed.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, describe, test } from "node:test";
import { BINARY, MODEL, ROOT, browse, checkAccess, environment, file, folder, open } from "./served.js";

const VIDEOS = ["cooking-01", "cooking-02", "cooking-03", "travel-14"];
if (process.env.PICTURES) VIDEOS.push("cooking-05", "travel-03", "travel-06", "variety-b01", "variety-b23", "variety-d07", "variety-d17");

/** Lines of a table of models/training/data, without the first. */
const table = (name) =>
  readFileSync(join(ROOT, "models/training/data", name), "utf8").trim().split("\n").slice(1).map((line) => line.split("\t"));

/** Our own comments under a few invented videos, each in the days after its video came out. */
function comments() {
  const titles = new Map(table("videos.tsv").map(([video, , title]) => [video, title]));
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const count = new Map();
  const rows = table("comments.tsv").filter(([video]) => VIDEOS.includes(video)).map(([video, , comment]) => {
    const n = count.get(video) ?? 0;
    count.set(video, n + 1);
    const day = 1 + VIDEOS.indexOf(video) * 2 + Math.round((n * n) / 20);
    const published = new Date(Date.UTC(2025, 2, day, 9, 30)).toISOString();
    return [comment, titles.get(video), published].map(quoted).join(",");
  });
  return ["댓글,영상 제목,작성일", ...rows, '" ",,2025-03-20'].join("\n");
}

const options = { cwd: folder, env: environment, encoding: "utf8" };
const pages = {};
let browser;
before(async () => {
  file("comments.csv", comments());
  const run = spawnSync(BINARY, ["annotate", "comments.csv", "--model", MODEL, "--out", "answers.csv"], options);
  assert.equal(run.status, 3, run.stderr); // the blank one has no answer
  for (const language of ["ko", "en"]) {
    execFileSync(BINARY, ["report", "answers.csv", "--out", `${language}.html`, "--language", language], options);
    pages[language] = pathToFileURL(join(folder, `${language}.html`)).href;
  }
  browser = await browse();
});
after(() => browser?.close());

async function onReport(language, settings, work) {
  const { page, faults, context } = await open(browser, pages[language], settings);
  try {
    await work(page);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
}

async function picture(page, name, fullPage = true) {
  if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage });
}

describe("the report", () => {
  test("is read by everybody: light and dark, wide and narrow, in either language", async () => {
    for (const language of ["ko", "en"]) {
      for (const colorScheme of ["light", "dark"]) {
        for (const width of [1280, 390]) {
          await onReport(language, { viewport: { width, height: 900 }, colorScheme }, async (page) => {
            const name = `report-${language}-${colorScheme}-${width}`;
            await checkAccess(page, name);
            await picture(page, name);
            const opened = await page.locator("details").evaluateAll((all) => all.map((each) => (each.open = true)));
            assert.equal(opened.length, 1);
            await checkAccess(page, `${name}, with its tables`);
          });
        }
      }
    }
  });

  test("is worked by a keyboard: the table of numbers opens", () =>
    onReport("ko", { viewport: { width: 1280, height: 900 } }, async (page) => {
      for (let i = 0; (await page.evaluate(() => document.activeElement.tagName)) !== "SUMMARY"; i += 1) {
        assert.ok(i < 20, "the focus does not come to the table");
        await page.keyboard.press("Tab");
      }
      const days = page.locator("details tbody tr");
      assert.equal(await days.first().isVisible(), false);
      await page.keyboard.press("Enter");
      assert.ok(await days.first().isVisible());
    }));

  test("is printed on white, whatever the screen's colours, and nothing is cut at the side", () =>
    onReport("ko", { viewport: { width: 718, height: 1000 }, colorScheme: "dark" }, async (page) => {
      await page.emulateMedia({ media: "print" });
      const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(paper, "rgb(255, 255, 255)");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${wide} pixels wider than the paper`);
      const pdf = await page.pdf({ format: "A4", margin: { top: "12mm", bottom: "12mm", left: "10mm", right: "10mm" } });
      file("report.pdf", pdf);
      const sheets = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g).length;
      assert.ok(sheets >= 2 && sheets <= 8, `${sheets} sheets`);
      if (process.env.PICTURES) await page.pdf({ path: join(process.env.PICTURES, "report.pdf"), format: "A4" });
    }));
});
