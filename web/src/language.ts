/** Which language the page speaks: the browser's, or the one that was chosen. */

import { texts, type Key, type Language } from "./texts.ts";

const STORED = "ko-sentiment.language";

let current: Language = stored() ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");
const listeners: (() => void)[] = [];

function stored(): Language | undefined {
  const value = sessionStorage.getItem(STORED);
  return value === "ko" || value === "en" ? value : undefined;
}

/** The language in force. */
export const language = (): Language => current;

/** A text, with its `{places}` filled. */
export function say(key: Key, values: Record<string, string | number> = {}): string {
  return texts[key][current === "ko" ? 0 : 1].replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? "";
    return typeof value === "number" ? number(value) : value;
  });
}

/** A whole number as people write it. */
export const number = (value: number): string => value.toLocaleString(current);

/** A probability in per cent, with one digit. */
export const percent = (value: number): string =>
  value.toLocaleString(current, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** Calls `draw` now and whenever the language changes. */
export function inEachLanguage(draw: () => void): void {
  listeners.push(draw);
  draw();
}

/** Changes the language. */
export function speak(chosen: Language): void {
  current = chosen;
  sessionStorage.setItem(STORED, chosen);
  for (const draw of listeners) draw();
}
