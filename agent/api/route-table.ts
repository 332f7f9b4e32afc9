/** All routes, and which methods a path has: what a request asks for that no route serves is answered 404 or 405. */
import type { FastifyInstance } from "fastify";
import { GatewayError } from "../../lib/model/errors.ts";

export interface Route {
  readonly method: string;
  /** The pattern, as `/v1/eips/:name`. */
  readonly url: string;
}

export class RouteTable {
  readonly #routes: Route[] = [];

  /** Notes every route that is added to `app` from now on. */
  watch(app: FastifyInstance): void {
    app.addHook("onRoute", ({ method, url }) => {
      for (const one of [method].flat()) this.#routes.push({ method: one, url });
    });
  }

  get routes(): readonly Route[] {
    return this.#routes;
  }

  /** The methods that `path` has, sorted; none where no route leads there. */
  methodsOf(path: string): readonly string[] {
    const methods = new Set<string>();
    for (const { method, url } of this.#routes) if (matches(url, path)) methods.add(method);
    return [...methods].sort();
  }

  /** Why `method` is not served at `path`: `not-found`, or `method-not-allowed` with the methods that are. */
  refusalOf(method: string, path: string): GatewayError {
    const allowed = this.methodsOf(path);
    if (allowed.length === 0) return new GatewayError("not-found", `${path} does not exist`);
    return new GatewayError("method-not-allowed", `${path} takes ${allowed.join(", ")}, not ${method}`, {
      details: { allowed },
    });
  }
}

function matches(url: string, path: string): boolean {
  const pattern = url.split("/");
  const parts = path.split("/");
  return (
    pattern.length === parts.length &&
    pattern.every((expected, at) => (expected.startsWith(":") ? parts[at] !== "" : expected === parts[at]))
  );
}
