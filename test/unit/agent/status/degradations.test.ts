import { readFileSync } from "node:fs";
import t from "tap";
import { type DegradationSources, degradations } from "../../../../agent/status/degradations.ts";
import { degradedReasons } from "../../../../lib/model/degradation.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { emptyState } from "../../../../lib/state/state.ts";

t.test("docs/api.md lists exactly the reasons for which a gateway is degraded", async (t) => {
  const text = readFileSync("docs/api.md", "utf8");
  const table = text.slice(text.indexOf("`natgw_degraded`"), text.indexOf("Every read of the desired set"));
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  const documented = rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`(\w+)`/g)]);
  t.strictSame(documented.map(([, reason]) => reason).sort(), degradedReasons.toSorted());
});

t.test("a gateway is degraded until a pass has verified it", async (t) => {
  const sources = (failure?: GatewayError): DegradationSources => ({
    store: { current: emptyState, recovery: { recovered: "fresh", detail: "" }, failure: undefined },
    reconciler: { result: undefined, failure },
  });
  const reasons = (failure?: GatewayError) => degradations(sources(failure)).map(({ reason }) => reason);
  t.strictSame(reasons(), ["NotVerified"]);
  t.strictSame(reasons(new GatewayError("unreadable", "cut short")), ["PassFailing"]);
  t.strictSame(reasons(new GatewayError("mixed-variants", "both")), ["MixedVariants"]);
});
