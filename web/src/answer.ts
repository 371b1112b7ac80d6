/** One comment's answer on the page: verdict, bars, reasons, cost. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { drawBars, nameOf } from "./bars.ts";
import { any, show } from "./dom.ts";
import {
  FinishReason,
  Sentiment,
  type ClassifyResponse,
  type StreamReasonResponse_Done,
  type Timings,
  type Usage,
} from "./gen/ko_sentiment/v1/sentiment_pb.ts";
import { inEachLanguage, language, percent, say } from "./language.ts";

const empty = any("answer-empty");
const verdictPlace = any("verdict");
const reasonsPlace = any("reasons");
const reasonsText = any("reasons-text");
const reasonsNote = any("reasons-note");
const costPlace = any("answer-cost");
const status = any("answer-status");

let verdict: ClassifyResponse | undefined;
let done: StreamReasonResponse_Done | undefined;

/** Says something to screen readers. */
export function announce(words: string): void {
  status.textContent = words;
}

/** Empties the answer before a new request. */
export function clear(): void {
  verdict = undefined;
  done = undefined;
  reasonsText.textContent = "";
  show(empty, false);
  show(reasonsPlace, false);
  draw();
}

/** Shows that nothing was asked yet, unless there is an answer. */
export function leaveEmpty(): void {
  show(empty, verdict === undefined);
}

/** The verdict came. */
export function setVerdict(answer: ClassifyResponse): void {
  verdict = answer;
  draw();
  verdictPlace.scrollIntoView({ block: "nearest" });
  announce(say("verdictSaid", { label: nameOf(answer.sentiment), share: percent(top(answer)) }));
}

/** The reasons begin; their text is being written. */
export function beginReasons(): void {
  show(reasonsPlace, true);
  reasonsText.setAttribute("aria-busy", "true");
}

/** A piece of the text came. */
export function addText(piece: string): void {
  reasonsText.append(piece);
}

/** The text ended, well or not. */
export function endReasons(ended?: StreamReasonResponse_Done): void {
  done = ended;
  reasonsText.removeAttribute("aria-busy");
  draw();
  if (ended) announce(say("reasonsSaid", { text: reasonsText.textContent ?? "" }));
}

const shares = (answer: ClassifyResponse): number[] => answer.scores.map((score) => score.probability);
const top = (answer: ClassifyResponse): number => Math.max(0, ...shares(answer));

function draw(): void {
  show(verdictPlace, verdict !== undefined);
  if (verdict) {
    const { sentiment } = verdict;
    const label = any("verdict-label");
    label.textContent = nameOf(sentiment);
    label.className = `s${sentiment}`;
    any("verdict-share").textContent = sentiment === Sentiment.UNSPECIFIED ? "" : percent(top(verdict));
    show(any("verdict-abstained"), verdict.abstained);
    drawBars(any("verdict-bars"), shares(verdict));
  }
  const notes = [];
  if (done && !done.agrees) notes.push(say("disagrees"));
  if (done?.finishReason === FinishReason.LENGTH) notes.push(say("cutShort"));
  reasonsNote.textContent = notes.join(" ");
  show(reasonsNote, notes.length > 0);
  const words = cost(done?.usage ?? verdict?.usage, done?.timings ?? verdict?.timings);
  costPlace.textContent = words;
  show(costPlace, words !== "");
}

function cost(usage?: Usage, timings?: Timings): string {
  if (!usage || !timings) return "";
  if (verdict?.fromCache && !done) return say("costFromCache");
  const took = [timings.queue, timings.compute].reduce((sum, part) => sum + (part ? durationMs(part) : 0), 0);
  const seconds = (took / 1_000).toLocaleString(language(), { maximumFractionDigits: 2 });
  const read = say("cost", { seconds, read: usage.promptTokens, cached: usage.cachedTokens });
  return usage.generatedTokens ? read + say("costWritten", { written: usage.generatedTokens }) : read;
}

/** Draws the answer in each language. */
export function begin(): void {
  inEachLanguage(draw);
}
