/** Failures shown on the page; the token's field opens where one is needed. */

import { any, make, show } from "./dom.ts";
import { failure, type Failure } from "./failure.ts";
import { inEachLanguage } from "./language.ts";
import { askForToken } from "./token.ts";

/** A place for failures. */
export class Trouble {
  private shown: Failure | undefined;
  private readonly place: HTMLElement;

  constructor(id: string) {
    this.place = any(id);
    inEachLanguage(() => this.draw());
  }

  /** Shows an error of a call; `again` is done once there is a token. Returns what it was. */
  tell(thrown: unknown, again: () => void): Failure {
    const told = failure(thrown);
    this.shown = told.cancelled ? undefined : told;
    this.draw();
    if (told.needsToken) askForToken(again);
    return told;
  }

  /** Shows words of the page's own. */
  say(words: () => string): void {
    this.shown = { words, fields: [], needsToken: false, cancelled: false, ofRequest: true, retryAfter: undefined };
    this.draw();
  }

  /** Shows nothing. */
  clear(): void {
    this.shown = undefined;
    this.draw();
  }

  private draw(): void {
    const told = this.shown;
    this.place.replaceChildren();
    show(this.place, told !== undefined);
    if (!told) return;
    this.place.append(make("p", "", told.words()));
    if (told.fields.length) {
      this.place.append(make("ul", "", ...told.fields.map((field) => make("li", "", field.words()))));
    }
  }
}
