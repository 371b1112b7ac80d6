/** Enter sends; but not while an input method composes a syllable, whose Enter only ends it. */

/** Calls `send` for Enter in a field, without Shift. */
export function onEnter(field: HTMLElement, send: () => void): void {
  let composing = false;
  field.addEventListener("compositionstart", () => (composing = true));
  field.addEventListener("compositionend", () => (composing = false));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    // Safari's Enter comes after the end of the composition, and only its code 229 tells.
    if (composing || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  });
}
