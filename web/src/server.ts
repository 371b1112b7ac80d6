/** The server's methods over grpc-web, and the token that they are called with. */

import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { SentimentService } from "./gen/ko_sentiment/v1/sentiment_pb.ts";

const STORED = "ko-sentiment.token";

/** The token, if there is one. It lives as long as the tab. */
export const token = (): string => sessionStorage.getItem(STORED) ?? "";

/** Keeps a token; an empty one is none. */
export function setToken(value: string): void {
  if (value) sessionStorage.setItem(STORED, value);
  else sessionStorage.removeItem(STORED);
}

const withToken: Interceptor = (next) => (request) => {
  // A header holds no other characters, and a token has no others.
  const value = token().replace(/[^\x21-\x7e]/g, "");
  if (value) request.header.set("authorization", `Bearer ${value}`);
  return next(request);
};

export const server = createClient(
  SentimentService,
  createGrpcWebTransport({ baseUrl: location.origin, interceptors: [withToken] }),
);
