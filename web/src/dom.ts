/** The page's elements, by id, and new ones. */

type Kind<T> = new () => T;

/** The element with an id, which is of the kind; the page always has it. */
export function find<T extends HTMLElement>(id: string, kind: Kind<T>): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** An element of any kind. */
export const any = (id: string): HTMLElement => find(id, HTMLElement);

/** A new element with a class and what is in it. */
export function make(tag: string, className = "", ...inner: (Node | string)[]): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...inner);
  return made;
}

/** Shows or hides. */
export function show(element: HTMLElement, shown: boolean): void {
  element.hidden = !shown;
}
