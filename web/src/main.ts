/** The page. */

import * as answer from "./answer.ts";
import * as comment from "./comment.ts";
import { any } from "./dom.ts";
import * as file from "./file.ts";
import { inEachLanguage, language, say, speak } from "./language.ts";
import * as model from "./model.ts";
import { MAX_MEGABYTES } from "./table.ts";
import type { Key } from "./texts.ts";
import * as token from "./token.ts";
import "./style.css";

function drawTexts(): void {
  document.documentElement.lang = language();
  for (const element of document.querySelectorAll<HTMLElement>("[data-text]")) {
    element.textContent = say(element.dataset.text as Key, { size: MAX_MEGABYTES });
  }
  const switcher = any("language");
  switcher.textContent = say("otherLanguage");
  switcher.lang = language() === "ko" ? "en" : "ko";
}

inEachLanguage(drawTexts);
any("language").addEventListener("click", () => speak(language() === "ko" ? "en" : "ko"));
token.begin();
answer.begin();
comment.begin();
file.begin();
model.begin();
