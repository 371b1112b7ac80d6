/** The form for one comment. */

import * as answer from "./answer.ts";
import { onEnter } from "./composing.ts";
import { any, find, make, show } from "./dom.ts";
import { EXAMPLES, type Example } from "./examples.ts";
import { inEachLanguage, number, say } from "./language.ts";
import { server } from "./server.ts";
import { Trouble } from "./trouble.ts";

/** Milliseconds until a call without reasons, and one with them, is given up. */
const PATIENCE = { plain: 60_000, reasons: 300_000 };
/** Characters of a comment, as the API counts them. */
const MOST = 10_000;

const form = find("one", HTMLFormElement);
const comment = find("comment", HTMLTextAreaElement);
const title = find("title", HTMLInputElement);
const summary = find("summary", HTMLTextAreaElement);
const withReasons = find("with-reasons", HTMLInputElement);
const ask = find("ask", HTMLButtonElement);
const cancel = find("cancel", HTMLButtonElement);

let running: AbortController | undefined;
let trouble: Trouble;

/** The fields by the API's names. */
const FIELDS: Record<string, HTMLElement> = { comment, "video.title": title, "video.summary": summary };

function markFields(wrong: string[]): void {
  for (const [name, field] of Object.entries(FIELDS)) {
    if (wrong.includes(name)) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
  if (wrong.some((name) => name !== "comment")) find("video", HTMLDetailsElement).open = true;
  const first = wrong.map((name) => FIELDS[name]).find((field) => field !== undefined);
  first?.focus();
}

function setRunning(controller: AbortController | undefined): void {
  const hadFocus = document.activeElement === cancel;
  running = controller;
  show(cancel, controller !== undefined);
  any("answer").toggleAttribute("data-busy", controller !== undefined);
  if (hadFocus && !controller) ask.focus();
}

async function send(): Promise<void> {
  running?.abort();
  const controller = new AbortController();
  setRunning(controller);
  trouble.clear();
  markFields([]);
  answer.clear();
  answer.announce(say("working"));
  const request = { comment: comment.value, video: { title: title.value, summary: summary.value } };
  try {
    await (withReasons.checked ? explain(request, controller.signal) : classify(request, controller.signal));
  } catch (error) {
    // A newer request has taken the page.
    if (running !== controller) return;
    answer.endReasons();
    const told = trouble.tell(error, again);
    if (told.cancelled) {
      answer.announce(told.words());
      answer.leaveEmpty();
    }
    markFields(told.fields.map((field) => field.field));
  }
  if (running === controller) setRunning(undefined);
}

const again = (): void => void send();

type Asked = { comment: string; video: { title: string; summary: string } };

async function classify(request: Asked, signal: AbortSignal): Promise<void> {
  const verdict = await server.classify(request, { signal, timeoutMs: PATIENCE.plain });
  if (!signal.aborted) answer.setVerdict(verdict);
}

async function explain(request: Asked, signal: AbortSignal): Promise<void> {
  for await (const { event } of server.streamReason(request, { signal, timeoutMs: PATIENCE.reasons })) {
    if (signal.aborted) return;
    if (event.case === "verdict") {
      answer.setVerdict(event.value);
      answer.beginReasons();
    } else if (event.case === "text") {
      answer.addText(event.value);
    } else if (event.case === "done") {
      answer.endReasons(event.value);
    }
  }
}

function count(): void {
  const length = [...comment.value].length;
  any("comment-count").textContent = `${number(length)} / ${number(MOST)}`;
  any("comment-count").toggleAttribute("data-over", length > MOST);
}

function take(example: Example): void {
  comment.value = example.comment;
  title.value = example.title;
  summary.value = example.summary;
  find("video", HTMLDetailsElement).open = example.title !== "";
  count();
  void send();
}

function offer(example: Example): HTMLElement {
  const button = make("button", "example", example.comment);
  button.setAttribute("type", "button");
  button.lang = "ko";
  if (example.title) button.append(make("span", "soft", example.title));
  button.addEventListener("click", () => take(example));
  return make("li", "", button);
}

/** Makes the form work. */
export function begin(): void {
  trouble = new Trouble("answer-error");
  any("examples").append(...EXAMPLES.map(offer));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  for (const field of [comment, title]) onEnter(field, () => void send());
  comment.addEventListener("input", count);
  cancel.addEventListener("click", () => running?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) running?.abort();
  });
  inEachLanguage(count);
}
