/** The status page: files that never change while the agent runs. What it shows it reads by the API, like any client. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.ts";

/** Nothing from elsewhere, nothing inline, no markup made from text, no frame around it, no form that leads away. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-cache",
} as const;

export function pageRoutes(app: FastifyInstance, { page = [] }: RouteContext): void {
  for (const { path, contentType, text, etag } of page) {
    app.get(path, { config: { isPage: true }, schema: { hide: true } }, (request, reply) => {
      void reply.headers({ ...headers, etag });
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      return reply.type(contentType).send(text);
    });
  }
  // The page's links are relative, so that it works behind a proxy that puts something before its path.
  if (page.length > 0)
    app.get("/ui/", { config: { isPage: true }, schema: { hide: true } }, (_request, reply) =>
      reply.redirect("../ui", 308),
    );
}
