/** Bars for the three sentiments. */

import { make } from "./dom.ts";
import { Sentiment } from "./gen/ko_sentiment/v1/sentiment_pb.ts";
import { percent, say } from "./language.ts";
import type { Key } from "./texts.ts";

/** The sentiments in the order of the API. */
export const SENTIMENTS = [Sentiment.POSITIVE, Sentiment.NEUTRAL, Sentiment.NEGATIVE] as const;

const NAMES: Key[] = ["undecided", "positive", "neutral", "negative"];

/** A sentiment's word. */
export const nameOf = (sentiment: Sentiment): string => say(NAMES[sentiment] ?? "undecided");

/** Fills a list with a bar for each share, 0 to 1, in the order of [`SENTIMENTS`]. */
export function drawBars(list: HTMLElement, shares: number[], note: (i: number) => string = () => ""): void {
  list.replaceChildren(
    ...SENTIMENTS.map((sentiment, i) => {
      const share = shares[i] ?? 0;
      const fill = make("span", `fill s${sentiment}`);
      // The page's policy forbids style attributes, and allows this.
      fill.style.width = `${(100 * share).toFixed(2)}%`;
      const track = make("span", "track", fill);
      track.setAttribute("aria-hidden", "true");
      return make("li", "", make("span", "name", nameOf(sentiment)), track, make("span", "value", percent(share) + note(i)));
    }),
  );
}
