import { readFileSync } from "node:fs";
import t from "tap";
import { type DegradationSources, degradations } from "../../../../agent/status/degradations.ts";
import type { Unread } from "../../../../lib/import/read-rules.ts";
import { degradedReasons } from "../../../../lib/model/degradation.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { emptyState } from "../../../../lib/state/state.ts";

t.test("docs/api.md lists exactly the reasons for which a gateway is degraded", async (t) => {
  const text = readFileSync("docs/api.md", "utf8");
  const documented = (from: string, to: string) => {
    const rows = text.slice(text.indexOf(from), text.indexOf(to)).split("\n");
    const listed = rows.filter((line) => line.startsWith("| `"));
    const words = listed.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`(\w+)`/g)]);
    return words.map(([, reason]) => reason).sort();
  };
  t.strictSame(documented("`natgw_degraded`", "Every read of the desired set"), degradedReasons.toSorted());
});

t.test("a gateway is degraded until a pass has verified it", async (t) => {
  const sources = (failure?: GatewayError, unread: readonly Unread[] = []): DegradationSources => ({
    api: [],
    store: { current: emptyState, recovery: { recovered: "fresh", detail: "" }, failure: undefined },
    reconciler: { result: undefined, failure, adoption: { unread, refusal: undefined } },
  });
  const reasonsAfter = (failure?: GatewayError) => degradations(sources(failure)).map(({ reason }) => reason);
  t.strictSame(reasonsAfter(), ["NotVerified"]);
  t.strictSame(reasonsAfter(new GatewayError("unreadable", "cut short")), ["PassFailing"]);
  t.strictSame(reasonsAfter(new GatewayError("mixed-variants", "both")), ["MixedVariants"]);
  const api = [{ reason: "TokenFileInvalid", message: "two lines" }] as const;
  t.strictSame(
    degradations({ ...sources(), api }).map(({ reason }) => reason),
    ["TokenFileInvalid", "NotVerified"],
    "what the API says of itself is among them",
  );
  const unread = {
    what: "-A SHARED_DNAT -j LOG",
    where: "iptables-nft nat SHARED_DNAT",
    why: "not a rule of a DNAT",
  };
  t.match(degradations(sources(undefined, [unread, unread])).at(-1), {
    reason: "ImportIncomplete",
    message:
      "not taken over: -A SHARED_DNAT -j LOG (iptables-nft nat SHARED_DNAT): not a rule of a DNAT, and 1 more; the log lists all",
  });
});
