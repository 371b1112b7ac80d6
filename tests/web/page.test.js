// The page as people use it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { execFileSync } from "node:child_process";
import { browse, checkAccess, file, folder, metric, open, serve } from "./served.js";

let server;
let browser;
before(async () => {
  browser = await browse();
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Runs with the page open; the browser must complain of nothing. */
async function onPage(work, options, url = server.url) {
  const { page, faults, context } = await open(browser, url, options);
  try {
    await work(page);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
}

/** Calls of a method that ended with a code, as the server counts them. */
const handled = (method, code) =>
  metric(server, `grpc_server_handled_total{grpc_service="ko_sentiment.v1.SentimentService",grpc_method="${method}",grpc_code="${code}"}`);

/** Calls of a method that began. */
const started = (method) =>
  metric(server, `grpc_server_started_total{grpc_service="ko_sentiment.v1.SentimentService",grpc_method="${method}"}`);

const shares = async (page, list) =>
  (await page.locator(`${list} .value`).allTextContents()).map((text) => Number.parseFloat(text));

async function verdictOf(page) {
  await page.locator("#verdict").waitFor();
  return page.locator("#verdict-label").textContent();
}

describe("one comment", () => {
  test("has a verdict, and reasons that come piece by piece", () =>
    onPage(async (page) => {
      await page.evaluate(() => {
        window.lengths = [];
        const text = document.getElementById("reasons-text");
        new MutationObserver(() => window.lengths.push(text.textContent.length)).observe(text, { childList: true });
      });
      await page.fill("#comment", "이 영상 정말 최고예요! 덕분에 많이 웃었습니다.");
      await page.click("#ask");
      assert.equal(await verdictOf(page), "긍정");
      await page.locator("#cancel").waitFor({ state: "hidden" });
      const probabilities = await shares(page, "#verdict-bars");
      assert.equal(probabilities.length, 3);
      assert.ok(Math.abs(probabilities.reduce((sum, p) => sum + p) - 100) < 0.3, String(probabilities));
      assert.match((await page.textContent("#reasons-text")).trim(), /^.{8,}[.]$/);
      const lengths = await page.evaluate(() => window.lengths);
      assert.ok(lengths.length > 5 && lengths.every((length, i) => i < 1 || length >= lengths[i - 1]), String(lengths));
      assert.match(await page.textContent("#answer-status"), /^판단 이유: ./);
      assert.match(await page.textContent("#answer-cost"), /토큰/);
    }));

  test("is answered without reasons if they are not wanted, and counted as a gRPC call", () =>
    onPage(async (page) => {
      const before = await handled("Classify", "OK");
      await page.uncheck("#with-reasons");
      await page.fill("#comment", "그냥 그래요");
      await page.click("#ask");
      await verdictOf(page);
      assert.equal(await page.isVisible("#reasons"), false);
      assert.equal(await handled("Classify", "OK"), before + 1);
    }));

  test("can be cancelled, and the server stops", () =>
    onPage(async (page) => {
      const before = await handled("StreamReason", "Canceled");
      const begun = await started("StreamReason");
      // Long enough to be read for a second or more.
      await page.fill("#comment", "취소할 댓글입니다. 편집이 조금 아쉬워요. ".repeat(120));
      await page.click("#ask");
      while ((await started("StreamReason")) === begun) await page.waitForTimeout(20);
      await page.click("#cancel");
      await page.locator("#cancel").waitFor({ state: "hidden" });
      assert.equal(await page.textContent("#answer-status"), "취소했습니다.");
      assert.equal(await page.isVisible("#answer-error"), false);
      assert.equal(await page.evaluate(() => document.activeElement.id), "ask");
      for (let i = 0; (await handled("StreamReason", "Canceled")) === before; i += 1) {
        assert.ok(i < 100, "the server does not notice");
        await page.waitForTimeout(50);
      }
    }));

  test("that is wrong is explained, field by field", () =>
    onPage(async (page) => {
      await page.fill("#comment", "  ");
      await page.click("#video summary");
      await page.fill("#title", "가".repeat(101));
      await page.click("#video summary");
      await page.click("#ask");
      const error = page.locator("#answer-error");
      await error.waitFor();
      assert.deepEqual(await error.locator("li").allTextContents(), [
        "댓글: 비어 있습니다. 내용을 입력해 주세요",
        "영상 제목: 100자를 넘습니다. 줄여 주세요",
      ]);
      assert.equal(await page.getAttribute("#comment", "aria-invalid"), "true");
      assert.ok(await page.isVisible("#title"), "the closed part opens");
      assert.equal(await page.evaluate(() => document.activeElement.id), "comment");
      await page.click("#language");
      assert.equal(await error.locator("li").first().textContent(), "Comment: is empty or blank; send the comment's text");
      await page.fill("#title", "");
      await page.fill("#comment", "고쳤습니다");
      await page.click("#ask");
      await verdictOf(page);
      assert.equal(await error.isVisible(), false);
    }));

  test("is not sent by the Enter that ends a syllable", () =>
    onPage(async (page) => {
      await page.uncheck("#with-reasons");
      let calls = 0;
      page.on("request", (request) => (calls += request.url().endsWith("/Classify") ? 1 : 0));
      await page.focus("#comment");
      const input = await page.context().newCDPSession(page);
      await page.evaluate(() => {
        window.enters = [];
        document.addEventListener("keydown", (event) => window.enters.push(event.isComposing));
      });
      // An input method's Enter has its code, and inserts no line.
      const enter = { type: "rawKeyDown", key: "Enter", code: "Enter", windowsVirtualKeyCode: 229 };
      await input.send("Input.imeSetComposition", { text: "좋", selectionStart: 1, selectionEnd: 1 });
      await input.send("Input.dispatchKeyEvent", enter);
      await input.send("Input.insertText", { text: "좋" });
      // Safari's comes when the syllable is done.
      await input.send("Input.dispatchKeyEvent", enter);
      await page.waitForTimeout(300);
      assert.deepEqual(await page.evaluate(() => window.enters), [true, false]);
      assert.equal(calls, 0, "sent while composing");
      await input.send("Input.imeSetComposition", { text: "아", selectionStart: 1, selectionEnd: 1 });
      await input.send("Input.insertText", { text: "아" });
      await page.keyboard.press("Shift+Enter");
      assert.equal(await page.inputValue("#comment"), "좋아\n");
      await page.keyboard.press("Enter");
      await verdictOf(page);
      assert.equal(calls, 1);
      assert.equal(await page.inputValue("#comment"), "좋아\n", "Enter adds no line");
    }));
});

describe("a file", () => {
  const CSV = '번호,댓글,label\r\n1,"최고예요, 정말!",mine\r\n2,"=HYPERLINK(""http://a.example"")",\r\n3,,x\r\n4,별로네요,y\r\n5,남는,칸,있음\r\n';

  /** Chooses a file that can be read. */
  async function choose(page, name, bytes) {
    await page.setInputFiles("#file", file(name, bytes));
    await page.locator("#file-setup").waitFor();
  }

  async function download(page) {
    const [saved] = await Promise.all([page.waitForEvent("download"), page.click("#file-save")]);
    const path = `${folder}/${saved.suggestedFilename()}`;
    await saved.saveAs(path);
    return { name: saved.suggestedFilename(), text: readFileSync(path, "utf8") };
  }

  test("comes back with its own columns and the verdicts", () =>
    onPage(async (page) => {
      await choose(page, "댓글.csv", CSV);
      assert.equal(await page.textContent("#file-rows"), "댓글 5개");
      assert.equal(await page.locator("#column-comment option:checked").textContent(), "댓글");
      await page.click("#file-start");
      await page.locator("#file-done").waitFor();
      assert.equal(await page.textContent("#file-status"), "3개를 분류했습니다.");
      assert.match(await page.textContent("#file-counts"), /^분류 3개 · 판정 보류 \d개 · 오류 2개 · 분류 안 함 0개$/);
      const { name, text } = await download(page);
      assert.equal(name, "댓글.annotated.csv");
      const [header, ...rows] = text.split("\r\n");
      assert.equal(header, "\ufeff번호,댓글,label,,predicted_label,probability,positive,neutral,negative,abstained,error");
      assert.match(rows[0], /^1,"최고예요, 정말!",mine,,긍정,0\.\d{6},0\.\d{6},0\.\d{6},0\.\d{6},false,$/);
      assert.match(rows[1], /^2,"'=HYPERLINK\(""http:\/\/a\.example""\)",,,(긍정|중립|부정)?,0\./);
      assert.match(rows[2], /^3,,x,,,,,,,,.*empty or blank/);
      assert.match(rows[3], /^4,별로네요,y,,(부정|중립|긍정),/);
      assert.match(rows[4], /^5,남는,칸,있음,,,,,,,칸 수가 머리글과 다릅니다/);
      assert.deepEqual(rows.slice(5), [""]);
    }));

  test("of an old Windows machine is read, a comment a line", () =>
    onPage(async (page) => {
      const bytes = Buffer.from([0xc1, 0xc1, 0xbe, 0xc6, 0xbf, 0xe4, 0x0d, 0x0a, 0x0d, 0x0a, 0xbd, 0xc8, 0xbe, 0xee, 0xbf, 0xe4]);
      await choose(page, "cp949.txt", bytes);
      assert.deepEqual(await page.locator("#file-preview li").allTextContents(), ["좋아요", "싫어요"]);
    }));

  test("can be dropped, stopped half-way, and downloaded as far as it came", () =>
    onPage(async (page) => {
      const comments = Array.from({ length: 400 }, (_, i) => `${i}번째 댓글입니다. 재미있게 보았어요`).join("\n");
      await page.evaluate((text) => {
        const data = new DataTransfer();
        data.items.add(new File([text], "many.txt", { type: "text/plain" }));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      }, comments);
      await page.locator("#file-setup").waitFor();
      await page.click("#file-start");
      await page.waitForFunction(() => document.getElementById("file-progress").value > 0);
      assert.match(await page.textContent("#file-progress-label"), /^400개 중 \d+개$/);
      await page.click("#file-cancel");
      await page.locator("#file-done").waitFor();
      assert.match(await page.textContent("#file-status"), /^멈췄습니다\. 400개 중 \d+개를 분류했습니다\.$/);
      const { text } = await download(page);
      const rows = text.trim().split("\r\n").slice(1);
      const left = rows.filter((row) => row.endsWith(",분류하지 않았습니다")).length;
      assert.equal(rows.length, 400);
      assert.ok(left > 0 && left < 400, `${left} of 400 are left`);
    }));

  test("that holds nothing to read is refused in words", () =>
    onPage(async (page) => {
      const check = async (name, bytes, expect) => {
        await page.setInputFiles("#file", file(name, bytes));
        await page.locator("#file-error", { hasText: expect }).waitFor();
        assert.equal(await page.isVisible("#file-setup"), false);
      };
      await check("empty.csv", "", "댓글이 없습니다");
      await check("book.xlsx", Buffer.from("PK\x03\x04\0\0\0"), "텍스트 파일이 아닙니다");
      await check("broken.csv", '댓글\n"끝나지 않는', "따옴표");
      // A file without a usual name asks for the column.
      await choose(page, "odd.csv", "가,나\n1,2\n");
      assert.equal(await page.inputValue("#column-comment"), "-1");
      await page.click("#file-start");
      assert.equal(await page.evaluate(() => document.activeElement.id), "column-comment");
    }));
});

describe("a server", () => {
  test("that wants a token gets one, which only this tab keeps", async () => {
    const binary = process.env.KO_SENTIMENT_BINARY ?? new URL("../../target/release/ko-sentiment", import.meta.url).pathname;
    const made = execFileSync(binary, ["token", "new", "a"], { encoding: "utf8" });
    const token = /kos_[0-9a-f]+/.exec(made)[0];
    const guarded = await serve("--tokens", file("tokens.toml", made.slice(made.indexOf("[[token]]"))));
    try {
      await onPage(
        async (page) => {
          await page.locator("#token").waitFor();
          await page.setInputFiles("#file", file("guarded.txt", "좋아요"));
          await page.click("#file-start");
          await page.locator("#file-error", { hasText: "토큰이 필요합니다" }).waitFor();
          assert.equal(await page.isVisible("#file-done"), false);
          assert.match(await page.textContent("#model-error"), /토큰이 필요합니다/);
          await page.fill("#comment", "좋아요");
          await page.click("#ask");
          await page.locator("#answer-error", { hasText: "토큰이 필요합니다" }).waitFor();
          await page.fill("#token-field", `${token.slice(0, -1)}x`);
          await page.keyboard.press("Enter");
          await page.locator("#answer-error", { hasText: "이 토큰을 모릅니다" }).waitFor();
          await page.fill("#token-field", token);
          await page.keyboard.press("Enter");
          await verdictOf(page);
          await page.locator("#file-done").waitFor();
          await page.locator("#model").waitFor();
          assert.equal(await page.isVisible("#model-error"), false);
          const kept = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, location.href].join());
          assert.ok(!kept.includes("kos_"), kept);
          await page.reload();
          await page.locator("#model").waitFor();
        },
        {},
        guarded.url,
      );
    } finally {
      await guarded.stop();
    }
  });

  test("with a certificate is spoken to in HTTP/2", async () => {
    const [cert, key] = [`${folder}/cert.pem`, `${folder}/key.pem`];
    const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    execFileSync("openssl", [...made, "-subj", "/CN=localhost", "-keyout", key, "-out", cert], { stdio: "ignore" });
    const secure = await serve("--tls-cert", cert, "--tls-key", key);
    try {
      const url = secure.url.replace("http:", "https:");
      await onPage(async (page) => {
        await page.fill("#comment", "좋아요");
        await page.click("#ask");
        await page.locator("#reasons").waitFor();
        await page.locator("#cancel").waitFor({ state: "hidden" });
        const protocols = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol));
        assert.deepEqual([...new Set(protocols)], ["h2"]);
      }, { ignoreHTTPSErrors: true }, url);
    } finally {
      await secure.stop();
    }
  });

  test("that is gone is told of in words", async () => {
    const brief = await serve();
    const { page, context } = await open(browser, brief.url);
    await page.locator("#model").waitFor();
    await brief.stop("SIGKILL");
    await page.fill("#comment", "아무도 없나요");
    await page.click("#ask");
    await page.locator("#answer-error", { hasText: "서버에 연결할 수 없습니다" }).waitFor();
    await context.close();
  });
});

describe("everybody", () => {
  test("can use it with the keyboard alone", () =>
    onPage(async (page) => {
      const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
      const tabTo = async (wanted) => {
        for (let i = 0; (await focused()) !== wanted; i += 1) {
          assert.ok(i < 30, `Tab does not reach ${wanted}`);
          await page.keyboard.press("Tab");
          const outlined = await page.evaluate(() => {
            const style = (element) => getComputedStyle(element).outlineStyle;
            const { activeElement: at } = document;
            return style(at) !== "none" || (at.labels?.[0] && style(at.labels[0]) !== "none");
          });
          assert.ok(outlined, `nothing shows that ${await focused()} has the focus`);
        }
      };
      await tabTo("skip");
      await page.keyboard.press("Enter");
      await tabTo("comment");
      await page.keyboard.type("정말 지루했어요");
      await tabTo("with-reasons");
      await tabTo("ask");
      await page.keyboard.press("Space");
      await page.locator("#reasons").waitFor();
      await page.keyboard.press("Escape");
      await page.locator("#cancel").waitFor({ state: "hidden" });
      await tabTo("file");
      const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Space")]);
      await chooser.setFiles(file("keys.txt", "하나\n둘\n"));
      await page.locator("#file-setup").waitFor();
      assert.equal(await focused(), "file-start");
      await page.keyboard.press("Enter");
      await page.locator("#file-done").waitFor();
      assert.equal(await focused(), "file-save");
    }));

  test("hears and sees it: axe finds nothing serious, narrow or wide, light or dark, in either language", async () => {
    for (const options of [
      { viewport: { width: 1280, height: 900 }, colorScheme: "light", locale: "ko-KR" },
      { viewport: { width: 390, height: 844 }, colorScheme: "dark", locale: "en-US", reducedMotion: "reduce" },
    ]) {
      await onPage(async (page) => {
        await page.locator("#model").waitFor();
        const state = (name) => `${name}, ${options.colorScheme}`;
        await checkAccess(page, state("new"));
        await page.click("#token-open");
        await page.click("#ask");
        await page.locator("#answer-error").waitFor();
        await checkAccess(page, state("with an error"));
        await page.locator("#examples button").last().click();
        await page.locator("#reasons").waitFor();
        await page.locator("#cancel").waitFor({ state: "hidden" });
        await page.setInputFiles("#file", file("axe.csv", "comment,title\n좋아요,제목\n"));
        await page.click("#file-start");
        await page.locator("#file-done").waitFor();
        await checkAccess(page, state("with answers"));
      }, options);
    }
  });

  test("reads it in their language, and can change that", async () => {
    await onPage(async (page) => {
      assert.equal(await page.getAttribute("html", "lang"), "en");
      assert.equal(await page.textContent("#ask"), "Classify");
      await page.click("#language");
      assert.equal(await page.getAttribute("html", "lang"), "ko");
      assert.equal(await page.textContent("#ask"), "분류하기");
      await page.reload();
      assert.equal(await page.textContent("#ask"), "분류하기");
      const empty = await page.locator("[data-text]").evaluateAll((all) => all.filter((e) => !e.textContent).length);
      assert.equal(empty, 0);
    }, { locale: "de-DE" });
  });
});
