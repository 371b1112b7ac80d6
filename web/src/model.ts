/** What the model is. */

import { SENTIMENTS } from "./bars.ts";
import { any, make, show } from "./dom.ts";
import type { GetModelInfoResponse } from "./gen/ko_sentiment/v1/sentiment_pb.ts";
import { inEachLanguage, language, number, say } from "./language.ts";
import { server } from "./server.ts";
import { Trouble } from "./trouble.ts";

let info: GetModelInfoResponse | undefined;

/** A label as the model writes it, by its place among [`SENTIMENTS`]; the usual word if the server doesn't tell. */
export function labelText(place: number): string {
  const told = info?.labels.find((label) => label.sentiment === SENTIMENTS[place])?.text;
  return told ?? ["긍정", "중립", "부정"][place] ?? "";
}

function size(bytes: bigint): string {
  return (Number(bytes) / 1e6).toLocaleString(language(), { maximumFractionDigits: 0 });
}

function short(count: bigint): string {
  return Number(count).toLocaleString(language(), { notation: "compact", maximumSignificantDigits: 3 });
}

function rows(known: GetModelInfoResponse): [string, string][] {
  const { model } = known;
  const options = Object.entries(known.options).sort().map(([name, value]) => `${name} ${value}`);
  const kind = { architecture: known.architecture, parameters: short(known.parameters), size: size(known.sizeBytes) };
  const all: [string, string][] = [
    [say("modelName"), model?.name ?? ""],
    [say("modelKind"), say("modelKindValue", kind)],
    [say("modelQuantization"), model?.quantization ?? ""],
    [say("modelProfile"), `${model?.profile ?? ""} ${model?.profileVersion ?? ""}`],
    [say("modelLabels"), known.labels.map((label) => label.text).join(" · ")],
    [say("modelLimit"), number(known.maxRequestTokens)],
    [say("modelServer"), known.serverVersion],
    [say("modelOptions"), options.join(", ")],
    [say("modelHash"), model?.sha256 ?? ""],
  ];
  return all.filter(([, value]) => value.trim() !== "");
}

function draw(): void {
  const list = any("model");
  show(list, info !== undefined);
  if (info) list.replaceChildren(...rows(info).flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
}

/** Asks the server, and shows what it says. */
export function begin(): void {
  const trouble = new Trouble("model-error");
  const ask = async (): Promise<void> => {
    trouble.clear();
    try {
      info = await server.getModelInfo({}, { timeoutMs: 20_000 });
    } catch (error) {
      trouble.tell(error, again);
    }
    draw();
  };
  const again = (): void => void ask();
  inEachLanguage(draw);
  void ask();
}
