/** Writes to an unset store wait for the first pass: it may find that the store was lost, and what the kernel still has. */
import t from "tap";
import { testApi } from "../../../support/api-fakes.ts";

const put = { method: "PUT", url: "/v1/eips/a", payload: { address: "203.0.113.20/24" } } as const;
const fullSet = { generation: 1, gateway: {}, eips: [], fips: [], snats: [], dnats: [], routes: [] };

for (const isUnadopted of [false, true]) {
  t.test(isUnadopted ? "it finds a live state" : "it finds a fresh kernel", async (t) => {
    const api = testApi();
    const first = Promise.withResolvers<void>();
    api.reconciler.firstPass = first.promise;
    let hasAnswer = false;
    const answer = api.app.inject(put).then((reply) => {
      hasAnswer = true;
      return reply;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.notOk(hasAnswer, "the write waits");
    t.notOk(api.state.current.isSet);
    api.reconciler.isUnadopted = isUnadopted;
    first.resolve();
    t.equal((await answer).statusCode, isUnadopted ? 409 : 202);
    t.equal(api.state.current.isSet, !isUnadopted);
  });
}

t.test("a set store does not wait", async (t) => {
  const api = testApi();
  t.equal((await api.app.inject({ method: "PUT", url: "/v1/desired", payload: fullSet })).statusCode, 200);
  api.reconciler.firstPass = new Promise(() => undefined);
  t.equal((await api.app.inject(put)).statusCode, 202);
});
