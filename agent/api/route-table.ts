/** All routes and the methods of each path. An unknown path is answered with 404, an unknown method with 405. */
import type { FastifyInstance } from "fastify";
import { GatewayError } from "../../lib/model/errors.ts";

export interface Route {
  readonly method: string;
  /** The pattern, such as `/v1/eips/:name`. */
  readonly url: string;
}

export class RouteTable {
  readonly #routes: Route[] = [];

  /** Records every route that is added to `app` from now on. */
  watch(app: FastifyInstance): void {
    app.addHook("onRoute", ({ method, url }) => {
      for (const one of [method].flat()) this.#routes.push({ method: one, url });
    });
  }

  get routes(): readonly Route[] {
    return this.#routes;
  }

  /** The methods of `path`, sorted. Empty if there is no such path. */
  methodsOf(path: string): readonly string[] {
    const methods = new Set<string>();
    for (const { method, url } of this.#routes) if (matches(url, path)) methods.add(method);
    return [...methods].sort();
  }

  /** Why `method` is not served at `path`: `not-found`, or `method-not-allowed` with the allowed methods. */
  refusalOf(method: string, path: string): GatewayError {
    const allowed = this.methodsOf(path);
    if (allowed.length === 0) return new GatewayError("not-found", `${path} does not exist`);
    return new GatewayError("method-not-allowed", `${path} allows ${allowed.join(", ")}, not ${method}`, {
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
