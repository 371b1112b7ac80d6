/** A whole file: which columns, progress, and the file with answers. */

import { drawBars } from "./bars.ts";
import { classifyAll, type Desk, type Item } from "./bulk.ts";
import { locate, type Role } from "./columns.ts";
import { any, find, make, show } from "./dom.ts";
import { inEachLanguage, language, number, say } from "./language.ts";
import { ADDED, Outcomes, without } from "./outcomes.ts";
import { MAX_MEGABYTES, newNames, read, Unusable, write, type Table } from "./table.ts";
import { Trouble } from "./trouble.ts";

/** Comments shown of a file. */
const PREVIEW = 3;

const input = find("file", HTMLInputElement);
const setup = find("file-setup", HTMLFormElement);
const selects: Record<Role, HTMLSelectElement> = {
  comment: find("column-comment", HTMLSelectElement),
  title: find("column-title", HTMLSelectElement),
  summary: find("column-summary", HTMLSelectElement),
};
const start = find("file-start", HTMLButtonElement);
const cancel = find("file-cancel", HTMLButtonElement);
const progress = find("file-progress", HTMLProgressElement);
const save = find("file-save", HTMLAnchorElement);

interface Run {
  outcomes: Outcomes;
  begun: number;
  /** When the server is asked again, if it is full. */
  waitsUntil: number;
  ended: boolean;
}

let table: Table | undefined;
let name = "";
let run: Run | undefined;
let running: AbortController | undefined;
let frame: number | undefined;
let trouble: Trouble;

async function open(file: File): Promise<void> {
  running?.abort();
  trouble.clear();
  [table, run] = [undefined, undefined];
  name = file.name;
  try {
    table = await read(file);
  } catch (error) {
    const why = error instanceof Unusable ? error : new Unusable("unreadable");
    trouble.say(() => say(why.key, { size: MAX_MEGABYTES, row: why.row }));
  }
  fillSelects();
  draw();
  if (table) (selects.comment.value === "-1" ? selects.comment : start).focus();
}

function fillSelects(): void {
  const names = table?.names ?? [];
  for (const [role, select] of Object.entries(selects) as [Role, HTMLSelectElement][]) {
    const none = make("option", "", say(role === "comment" ? "pickColumn" : "noColumn"));
    none.setAttribute("value", "-1");
    const columns = names.map((column, i) => {
      const option = make("option", "", column || `${i + 1}`);
      option.setAttribute("value", String(i));
      return option;
    });
    select.replaceChildren(none, ...columns);
    const only = role === "comment" && names.length === 1 ? 0 : -1;
    const found = locate(names, role);
    select.value = String(found < 0 ? only : found);
  }
}

const column = (role: Role): number => Number(selects[role].value);

/** The rows that can be asked about; the others get their error at once. */
function items(of: Table, outcomes: Outcomes): Item[] {
  const cell = (row: string[], at: number): string => row[at] ?? "";
  return of.rows.flatMap((row, i) => {
    if (of.wide.has(i)) {
      outcomes.refuse(i, say("wrongWidth"));
      return [];
    }
    const [comment, title, summary] = [column("comment"), column("title"), column("summary")];
    return [{ row: i, comment: cell(row, comment), title: cell(row, title), summary: cell(row, summary) }];
  });
}

async function classifyFile(): Promise<void> {
  const of = table;
  if (!of || running) return;
  if (column("comment") < 0) return selects.comment.focus();
  const controller = new AbortController();
  running = controller;
  const outcomes = new Outcomes();
  const mine: Run = { outcomes, begun: performance.now(), waitsUntil: 0, ended: false };
  run = mine;
  trouble.clear();
  draw();
  cancel.focus();
  try {
    await classifyAll(items(of, outcomes), desk(mine), controller.signal);
  } catch (error) {
    if (run === mine && !controller.signal.aborted) trouble.tell(error, again);
  }
  mine.ended = true;
  if (running === controller) running = undefined;
  // Whoever went on to something else stays there.
  const follows = document.activeElement === cancel && outcomes.done > 0;
  draw();
  if (run !== mine) return;
  announceEnd(mine, of);
  if (follows) save.focus();
}

const again = (): void => void classifyFile();

function desk(of: Run): Desk {
  return {
    take: (row, result) => {
      of.outcomes.take(row, result);
      of.waitsUntil = 0;
      drawSoon();
    },
    refuse: (row, why) => of.outcomes.refuse(row, why),
    wait: (milliseconds) => {
      of.waitsUntil = performance.now() + milliseconds;
      drawSoon();
    },
  };
}

function announceEnd(ended: Run, of: Table): void {
  const { answered, done } = ended.outcomes;
  const whole = done === of.rows.length;
  any("file-status").textContent = whole
    ? say("fileDone", { answered })
    : say("fileStopped", { answered, total: of.rows.length });
}

function offer(of: Table, ended: Run): void {
  if (save.href) URL.revokeObjectURL(save.href);
  const names = [...of.names, ...newNames(of.names, ADDED)];
  const left = without(say("notClassified"));
  const rows = of.rows.map((row, i) => [...row, ...(ended.outcomes.row(i) ?? left)]);
  save.href = URL.createObjectURL(write(names, rows));
  save.download = `${name.replace(/\.[^.]*$/, "")}.annotated.csv`;
}

function draw(): void {
  show(setup, table !== undefined);
  show(any("file-run"), run !== undefined && !run.ended);
  show(any("file-done"), run !== undefined && run.ended && run.outcomes.done > 0);
  show(start, running === undefined);
  show(cancel, running !== undefined);
  for (const select of Object.values(selects)) select.disabled = running !== undefined;
  if (table) {
    any("file-name").textContent = name;
    any("file-rows").textContent = say("fileRows", { rows: table.rows.length });
    drawPreview(table);
  }
  if (run && !run.ended) drawProgress();
  if (table && run?.ended) drawEnd(table, run);
}

function drawPreview(of: Table): void {
  const at = column("comment");
  const shown = at < 0 ? [] : of.rows.slice(0, PREVIEW).map((row) => row[at] ?? "");
  any("file-preview").replaceChildren(...shown.map((comment) => make("li", "", comment)));
}

/** Draws once for all results of a frame. */
function drawSoon(): void {
  frame ??= requestAnimationFrame(() => {
    frame = undefined;
    drawProgress();
  });
}

function drawProgress(): void {
  if (!table || !run) return;
  const total = table.rows.length;
  const { done } = run.outcomes;
  progress.max = total;
  progress.value = done;
  any("file-progress-label").textContent = say("fileWorking", { total, done });
  any("file-pace").textContent = pace(run, done, total);
}

function pace(of: Run, done: number, total: number): string {
  const waits = of.waitsUntil - performance.now();
  if (waits > 0) return say("paceWaiting", { seconds: Math.ceil(waits / 1_000) });
  const rate = done / ((performance.now() - of.begun) / 1_000);
  if (done === 0) return "";
  const seconds = Math.ceil((total - done) / rate);
  const left = seconds < 90 ? say("seconds", { n: seconds }) : say("minutes", { n: Math.ceil(seconds / 60) });
  return say("pace", { rate: rate.toLocaleString(language(), { maximumSignificantDigits: 2 }), left });
}

function drawEnd(of: Table, ended: Run): void {
  const { answered, abstained, failed, done, by } = ended.outcomes;
  const share = (n: number): number => (answered ? n / answered : 0);
  drawBars(any("file-bars"), by.map(share), (i) => ` (${number(by[i] ?? 0)})`);
  any("file-counts").textContent = say("fileCounts", { answered, abstained, failed, left: of.rows.length - done });
  offer(of, ended);
}

function beginDropping(): void {
  const drop = any("drop");
  const holdsFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  // A file dropped beside the place would replace the page.
  for (const type of ["dragover", "drop"] as const) {
    document.addEventListener(type, (event) => {
      if (holdsFiles(event)) event.preventDefault();
    });
  }
  drop.addEventListener("dragover", () => drop.setAttribute("data-over", ""));
  drop.addEventListener("dragleave", () => drop.removeAttribute("data-over"));
  drop.addEventListener("drop", (event) => {
    drop.removeAttribute("data-over");
    const files = event.dataTransfer?.files;
    if (files && files.length > 1) return trouble.say(() => say("oneFile"));
    const file = files?.[0];
    if (file) void open(file);
  });
}

/** Makes the place for files work. */
export function begin(): void {
  trouble = new Trouble("file-error");
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) void open(file);
    // The same file can be chosen again.
    input.value = "";
  });
  setup.addEventListener("submit", (event) => {
    event.preventDefault();
    void classifyFile();
  });
  for (const select of Object.values(selects)) {
    select.addEventListener("change", () => {
      run = undefined;
      draw();
    });
  }
  cancel.addEventListener("click", () => running?.abort());
  beginDropping();
  inEachLanguage(() => {
    for (const [role, select] of Object.entries(selects)) {
      const none = select.options[0];
      if (none) none.textContent = say(role === "comment" ? "pickColumn" : "noColumn");
    }
    draw();
  });
}
