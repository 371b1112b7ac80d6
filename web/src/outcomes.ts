/** What became of a file's rows: the cells that are added to them, and how many there are of each kind. */

import { SENTIMENTS } from "./bars.ts";
import type { ClassifyResponse, ItemResult } from "./gen/ko_sentiment/v1/sentiment_pb.ts";
import { Sentiment } from "./gen/ko_sentiment/v1/sentiment_pb.ts";
import { labelText } from "./model.ts";

/** The columns that are added, as `ko-sentiment annotate` names them. */
export const ADDED = ["label", "probability", "positive", "neutral", "negative", "abstained", "error"];

/** The cells of a row without an answer. */
export const without = (why: string): string[] => [...ADDED.slice(1).map(() => ""), why];

/** Outcomes of rows, and their number. Only the cells are kept, so that a large file fits the memory. */
export class Outcomes {
  answered = 0;
  abstained = 0;
  failed = 0;
  /** Verdicts, in the order of the API. */
  readonly by = SENTIMENTS.map(() => 0);
  private readonly cells: (string[] | undefined)[] = [];

  /** Rows with an answer or an error. */
  get done(): number {
    return this.answered + this.failed;
  }

  /** The cells that are added to a row, once it is done. */
  row(i: number): string[] | undefined {
    return this.cells[i];
  }

  /** A row has no answer. */
  refuse(row: number, why: string): void {
    this.failed += 1;
    this.cells[row] = without(why);
  }

  /** A row has a result. */
  take(row: number, result: ItemResult | undefined): void {
    const outcome = result?.outcome;
    if (outcome?.case === "response") this.answer(row, outcome.value);
    else this.refuse(row, outcome?.value?.message ?? "");
  }

  private answer(row: number, { scores, sentiment, abstained }: ClassifyResponse): void {
    const shares = scores.map((score) => score.probability);
    const top = shares.indexOf(Math.max(...shares));
    this.answered += 1;
    if (abstained || sentiment === Sentiment.UNSPECIFIED) this.abstained += 1;
    else this.by[top] = (this.by[top] ?? 0) + 1;
    const cells = [shares[top] ?? 0, ...shares].map((share) => share.toFixed(6));
    this.cells[row] = [labelText(top), ...cells, String(abstained), ""];
  }
}
