/** The call that reads the kernel as a set. */
import t from "tap";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import { testApi } from "../../../../support/api-fakes.ts";

t.test("the answer can be PUT", async (t) => {
  const api = testApi();
  const unread = [{ what: "-A SHARED_DNAT -j LOG", where: "iptables-nft nat SHARED_DNAT", why: "no DNAT" }];
  const eips = [{ name: "203.0.113.10", address: "203.0.113.10/24" }];
  const { set } = api.reconciler.imported;
  api.reconciler.imported = { set: { ...set, eips } as never, unread };
  const read = await api.app.inject({ method: "POST", url: "/v1/import?from=kernel" });
  t.equal(read.statusCode, 200);
  t.equal(read.headers.etag, '"0"');
  t.strictSame(read.json(), {
    set: { generation: 1, gateway: {}, eips, fips: [], snats: [], dnats: [], limits: [], routes: [] },
    unread,
  });
  t.strictSame(api.reconciler.imports, [{ isAdopted: false, ifMatch: undefined }]);
  const put = await api.app.inject({ method: "PUT", url: "/v1/desired", payload: read.json().set });
  t.equal(put.statusCode, 202);
});

t.test("adopt and If-Match are passed on, other parameters are refused", async (t) => {
  const api = testApi();
  const post = (query: string, headers = {}) =>
    api.app.inject({ method: "POST", url: `/v1/import${query}`, headers });
  t.equal((await post("?from=kernel&adopt=true", { "if-match": '"0"' })).statusCode, 200);
  t.strictSame(api.reconciler.imports, [{ isAdopted: true, ifMatch: [0] }]);
  for (const query of ["", "?from=disk", "?from=kernel&adopt=yes", "?from=kernel&adapt=true"])
    t.equal((await post(query)).statusCode, 422, query);
  api.reconciler.failure = new GatewayError("conflict", "the store holds a set already");
  const refused = await post("?from=kernel&adopt=true");
  t.match(refused.json(), { status: 409, code: "conflict" });
});
