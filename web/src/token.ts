/** The field for the token. */

import { any, find, show } from "./dom.ts";
import { setToken, token } from "./server.ts";

const form = find("token", HTMLFormElement);
const field = find("token-field", HTMLInputElement);
const opener = any("token-open");

/** What is done once there is a token. */
let waiting: (() => void)[] = [];

function open(opened: boolean): void {
  show(form, opened);
  opener.setAttribute("aria-expanded", String(opened));
}

/** Opens the field; `again` is done once there is a token. */
export function askForToken(again: () => void): void {
  if (!waiting.includes(again)) waiting.push(again);
  open(true);
  field.value = token();
  // Whoever is writing goes on writing.
  if (document.activeElement === document.body || document.activeElement?.closest("form")?.id === "one") field.focus();
}

/** Makes the field work. */
export function begin(): void {
  opener.addEventListener("click", () => {
    open(form.hidden);
    field.value = token();
    if (!form.hidden) field.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(field.value.trim());
    open(false);
    opener.focus();
    const again = waiting;
    waiting = [];
    for (const act of again) act();
  });
}
