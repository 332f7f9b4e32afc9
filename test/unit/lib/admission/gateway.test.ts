/** The gateway of a full set. */
import t from "tap";
import { canonicalGateway, gatewayIssues, isSameGateway } from "../../../../lib/admission/gateway.ts";
import type { Gateway } from "../../../../lib/model/schema.ts";

const gateway = (fields: Readonly<Record<string, string>>) => fields as Gateway;
const both = gateway({ vpcInterface: "vpc0", externalInterface: "ext0" });

t.test("interfaces come together and differ", async (t) => {
  const pointers = (fields: Readonly<Record<string, string>>) =>
    gatewayIssues(gateway(fields)).map(({ pointer }) => pointer);
  t.same(pointers({}), []);
  t.same(pointers({ defaultGateway: "203.0.113.1" }), []);
  t.same(pointers({ ...both }), []);
  t.same(pointers({ vpcInterface: "vpc0" }), ["/vpcInterface"]);
  t.same(pointers({ externalInterface: "ext0" }), ["/vpcInterface"]);
  t.same(pointers({ vpcInterface: "one", externalInterface: "one" }), ["/externalInterface"]);
  t.same(pointers({ vpcInterface: "lo", externalInterface: "all" }), ["/vpcInterface", "/externalInterface"]);
  t.same(pointers({ vpcInterface: "eth0", externalInterface: "default" }), ["/externalInterface"]);
  t.same(pointers({ defaultGateway: "127.0.0.1", vpcInterface: "one" }), [
    "/defaultGateway",
    "/vpcInterface",
  ]);
});

t.test("canonical form and equality", async (t) => {
  t.strictSame(canonicalGateway({}), {});
  const full = gateway({ externalInterface: "ext0", vpcInterface: "vpc0", defaultGateway: "203.0.113.1" });
  t.same(Object.keys(canonicalGateway(full)), ["defaultGateway", "vpcInterface", "externalInterface"]);
  for (const field of ["defaultGateway", "vpcInterface", "externalInterface"]) {
    t.ok(isSameGateway(full, canonicalGateway(full)));
    t.notOk(isSameGateway(full, gateway({ ...full, [field]: "x" })), field);
  }
});
