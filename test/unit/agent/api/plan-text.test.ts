/** The plan text of docs/api.md is what the agent prints. */
import { readFileSync } from "node:fs";
import t from "tap";
import { planText } from "../../../../agent/api/plan-text.ts";
import { Player } from "../../../support/model-kernel/player.ts";
import type { Step } from "../../../support/model-kernel/script.ts";

t.test("docs/api.md shows a real plan", async (t) => {
  const player = new Player("nft");
  t.teardown(() => player.stop());
  const pass: Step = { do: "pass", isResync: true, during: [] };
  await player.play([
    { do: "put", kind: "eip", spec: { name: "eip-a", address: "203.0.113.10/24" } },
    { do: "put", kind: "eip", spec: { name: "eip-b", address: "203.0.113.11/24" } },
    pass,
    pass,
    { do: "put", kind: "fip", spec: { name: "fip-a", eip: "eip-a", internalIp: "10.0.1.5" } },
    { do: "remove", kind: "eip", name: "eip-b" },
  ]);
  const { changes, changesTotal } = await player.agent.preview();
  const doc = readFileSync("docs/api.md", "utf8");
  const start = doc.indexOf("```\n", doc.indexOf("A plan as text")) + 4;
  t.equal([...planText(changes, changesTotal)].join(""), doc.slice(start, doc.indexOf("```", start)));
  const [example] = JSON.parse(doc.match(/\{ "changes": \[ \{ "action".*?\] \} \}/s)?.[0] ?? "{}").changes;
  t.same(
    changes.find(({ text }) => text === example.text),
    example,
    "and a real change in the answer to a dry run",
  );
});
