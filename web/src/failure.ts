/** Errors in words, and what can be done about them. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.ts";
import { say } from "./language.ts";
import type { Key } from "./texts.ts";

export interface Failure {
  /** What happened, in words of the language in force. */
  words: () => string;
  /** The fields that are wrong, with what is wrong. */
  fields: { field: string; words: () => string }[];
  /** A token is needed, or another one. */
  needsToken: boolean;
  /** The user cancelled. */
  cancelled: boolean;
  /** Only the request is at fault; others may be answered. */
  ofRequest: boolean;
  /** Milliseconds after which to try again, where that helps. */
  retryAfter: number | undefined;
}

/** The fields by the API's names, in the page's order. */
const FIELDS: Record<string, Key> = { comment: "comment", "video.title": "videoTitle", "video.summary": "videoSummary" };

/** What a server says of a field, in the language in force where the words are known. */
function violation(description: string): string {
  if (description.startsWith("is empty")) return say("violationBlank");
  const most = /^has more than (\d+) characters/.exec(description)?.[1];
  return most ? say("violationLong", { max: Number(most) }) : description;
}

function fieldName(field: string): string {
  const key = FIELDS[field];
  return key ? say(key) : field;
}

function tokenWords(reason: string): Key {
  if (reason === "UNKNOWN_TOKEN") return "errorTokenUnknown";
  return reason === "TOKEN_EXPIRED" ? "errorTokenExpired" : "errorToken";
}

/** Reads an error of a call. */
export function failure(thrown: unknown): Failure {
  const error = ConnectError.from(thrown);
  const reason = error.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const retryAfter = delay ? durationMs(delay) : undefined;
  const violations = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  const place = (field: string): number => Object.keys(FIELDS).indexOf(field);
  violations.sort((a, b) => place(a.field) - place(b.field));
  const fields = violations.map(({ field, description }) => ({
    field,
    words: () => `${fieldName(field)}: ${violation(description)}`,
  }));
  const base = { fields, needsToken: false, cancelled: false, ofRequest: false, retryAfter };
  const simply = (key: Key) => () => say(key);
  if (thrown instanceof TypeError || error.cause instanceof TypeError) {
    return { ...base, words: simply("errorNetwork"), retryAfter: 1_000 };
  }
  switch (error.code) {
    case Code.Canceled:
      return { ...base, words: simply("cancelled"), cancelled: true };
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return { ...base, words: fields.length ? simply("errorInvalid") : () => error.rawMessage, ofRequest: true };
    case Code.Unauthenticated:
      return { ...base, words: simply(tokenWords(reason)), needsToken: true };
    case Code.PermissionDenied:
      return { ...base, words: () => `${say("errorDenied")} (${error.rawMessage})` };
    case Code.ResourceExhausted:
      return { ...base, words: () => say("errorFull", { seconds: Math.ceil((retryAfter ?? 1_000) / 1_000) }) };
    case Code.DeadlineExceeded:
      return { ...base, words: simply("errorDeadline") };
    case Code.Unavailable:
      return { ...base, words: simply("errorStopping"), retryAfter: retryAfter ?? 2_000 };
    default:
      return { ...base, words: () => say("errorOther", { message: error.rawMessage }) };
  }
}
