/** Many comments: batches of one video's, a few at once, again where the server says when. */

import type { ItemResult } from "./gen/ko_sentiment/v1/sentiment_pb.ts";
import { failure } from "./failure.ts";
import { server } from "./server.ts";

/** One comment to classify. */
export interface Item {
  row: number;
  comment: string;
  title: string;
  summary: string;
}

/** What becomes of the items. */
export interface Desk {
  /** An item has a result. */
  take(row: number, result: ItemResult | undefined): void;
  /** An item can't be asked about, and why. */
  refuse(row: number, why: string): void;
  /** The server is full; milliseconds until it is asked again. */
  wait(milliseconds: number): void;
}

/** Batches at once, so that the server has work while an answer travels. */
const AT_ONCE = 2;
/** Items of a batch: so many that it takes about a second. */
const SIZE = { first: 4, least: 2, most: 256 };
const MILLISECONDS = { short: 400, long: 2_000 };
/** Milliseconds until a batch is given up. */
const PATIENCE = 300_000;
/** Longest wait for a server that is full, and how often a batch is tried. */
const LONGEST_WAIT = 120_000;
const TRIES = 20;

/** Classifies all items; ends when they have results, with an error if the server has one, or at the signal. */
export async function classifyAll(items: Item[], desk: Desk, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const forward = (): void => stop.abort();
  signal.addEventListener("abort", forward);
  const state = { next: 0, size: SIZE.first };
  const work = async (): Promise<void> => {
    while (state.next < items.length) {
      signal.throwIfAborted();
      const batch = sameVideo(items, state.next, state.size);
      state.next += batch.length;
      const begun = performance.now();
      await classify(batch, desk, stop.signal);
      const took = performance.now() - begun;
      if (took < MILLISECONDS.short && batch.length === state.size) state.size = Math.min(SIZE.most, 2 * state.size);
      if (took > MILLISECONDS.long) state.size = Math.max(SIZE.least, Math.floor(state.size / 2));
    }
  };
  const workers = Array.from({ length: AT_ONCE }, work);
  try {
    await Promise.all(workers);
  } finally {
    // If one fails, the other ends, too.
    stop.abort();
    await Promise.allSettled(workers);
    signal.removeEventListener("abort", forward);
  }
}

function sameVideo(items: Item[], from: number, most: number): Item[] {
  const first = items[from];
  let to = from + 1;
  while (to < items.length && to - from < most) {
    const item = items[to];
    if (item?.title !== first?.title || item?.summary !== first?.summary) break;
    to += 1;
  }
  return items.slice(from, to);
}

async function classify(batch: Item[], desk: Desk, signal: AbortSignal): Promise<void> {
  const { title = "", summary = "" } = batch[0] ?? {};
  const request = { comments: batch.map((item) => item.comment), video: { title, summary } };
  for (let tried = 1; ; tried += 1) {
    try {
      const { results } = await server.classifyBatch(request, { signal, timeoutMs: PATIENCE });
      batch.forEach((item, i) => desk.take(item.row, results[i]));
      return;
    } catch (error) {
      const told = failure(error);
      if (told.ofRequest) {
        const words = told.fields.map((field) => field.words()).join("; ") || told.words();
        for (const item of batch) desk.refuse(item.row, words);
        return;
      }
      const wait = told.retryAfter;
      if (wait === undefined || wait > LONGEST_WAIT || tried === TRIES || signal.aborted) throw error;
      // Not all at the same moment.
      const jittered = wait * (1 + Math.random() / 4);
      desk.wait(jittered);
      await pause(jittered, signal);
    }
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", end, { once: true });
  });
}
