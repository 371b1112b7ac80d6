/** People's files in, and the same with answers out. */

import Papa from "papaparse";
import type { Key } from "./texts.ts";

/** Largest file, in megabytes: it is held in the browser's memory. */
export const MAX_MEGABYTES = 50;

/** A file's rows. All have as many cells as there are names. */
export interface Table {
  names: string[];
  rows: string[][];
  /** Rows with more cells than the header. */
  wide: Set<number>;
}

/** Why a file isn't taken. */
export class Unusable extends Error {
  constructor(
    readonly key: Key,
    /** The row of the file, from 1. */
    readonly row = 0,
  ) {
    super(key);
  }
}

/** Text from bytes: UTF-8, UTF-16 with its mark, else CP949. */
export function decode(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  if (bytes.includes(0)) throw new Unusable("binaryFile");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return korean(bytes);
  }
}

function korean(bytes: Uint8Array): string {
  try {
    return new TextDecoder("euc-kr", { fatal: true }).decode(bytes);
  } catch {
    throw new Unusable("binaryFile");
  }
}

/** The rows of a file. */
export async function read(file: File): Promise<Table> {
  if (file.size > MAX_MEGABYTES * 1e6) throw new Unusable("tooLarge");
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Unusable("unreadable");
  }
  const text = decode(bytes);
  const table = /\.(csv|tsv)$/i.test(file.name) ? delimited(text) : lines(text);
  if (table.rows.length === 0) throw new Unusable("noRows");
  return table;
}

/** A comment a line; blank lines are none. */
function lines(text: string): Table {
  const comments = text.split(/\r\n|\r|\n/).filter((line) => line.trim() !== "");
  return { names: ["comment"], rows: comments.map((comment) => [comment]), wide: new Set() };
}

function delimited(text: string): Table {
  const parsed = Papa.parse<string[]>(text, { skipEmptyLines: true, delimitersToGuess: [",", "\t", ";", "|"] });
  const broken = parsed.errors.find((error) => error.type === "Quotes");
  if (broken) throw new Unusable("brokenQuotes", (broken.row ?? 0) + 1);
  const [header = [], ...rows] = parsed.data;
  const width = rows.reduce((most, row) => Math.max(most, row.length), header.length);
  const wide = new Set(rows.flatMap((row, i) => (row.length > header.length ? [i] : [])));
  const padded = (row: string[]) => [...row, ...Array<string>(width - row.length).fill("")];
  return { names: padded(header), rows: rows.map(padded), wide };
}

/** Names for new columns that no own column has. */
export function newNames(own: string[], wanted: string[]): string[] {
  const taken = new Set(own);
  return wanted.map((name) => {
    let free = name;
    while (taken.has(free)) free = `predicted_${free}`;
    taken.add(free);
    return free;
  });
}

const NUMBER = /^[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|inf(inity)?|nan)$/i;

/** A cell that a spreadsheet doesn't compute: an apostrophe before what it would take for a formula. */
export function escaped(cell: string): string {
  const computes = /^[\t\r\n]/.test(cell) || /^\s*[=+\-@＝＋－＠]/.test(cell);
  return computes && !NUMBER.test(cell) ? `'${cell}` : cell;
}

/** CSV in UTF-8 with a byte order mark, for Excel. */
export function write(names: string[], rows: string[][]): Blob {
  const cells = [names, ...rows].map((row) => row.map(escaped));
  const text = Papa.unparse(cells, { newline: "\r\n" });
  return new Blob(["\ufeff", text, "\r\n"], { type: "text/csv;charset=utf-8" });
}
