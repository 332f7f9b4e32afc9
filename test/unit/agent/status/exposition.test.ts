/** Metrics made in parts are the same text. */
import t from "tap";
import { expositionOf } from "../../../../agent/status/exposition.ts";
import { createMetrics } from "../../../../agent/status/metrics.ts";

t.test("as the registry makes it at once", async (t) => {
  const { registry, qosBytes, forks } = createMetrics({ version: "1" });
  for (let at = 0; at < 3_000; at++) qosBytes.inc({ eip: `eip-${at}`, direction: "egress" }, at);
  forks.inc({ command: "nft" });
  const own = (text: string) =>
    text
      .split("\n")
      .filter((line) => line.includes("natgw_"))
      .join("\n");
  const text = await expositionOf(registry);
  t.equal(own(text), own(await registry.metrics()));
  t.match(text, /[^\n]\n$/);
});
