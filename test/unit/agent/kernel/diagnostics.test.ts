import t from "tap";
import { createDiagnostics, diagnosticParts } from "../../../../agent/kernel/diagnostics.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";

const signal = new AbortController().signal;

t.test("every part has its commands' output, or why there is none", async (t) => {
  let underway = 0;
  const diagnostics = createDiagnostics(
    () => "{}\n",
    async ([tool = "", ...rest]) => {
      t.equal(++underway, 1, "one at a time");
      await Promise.resolve();
      underway--;
      if (tool === "iptables-legacy-save")
        throw new GatewayError("command-failed", `${tool} could not start`);
      return { exitCode: 0, stdout: `output of ${rest.join(" ")}\n`, stderr: "" };
    },
  );
  const kernelParts = diagnosticParts.filter((part) => part !== "log");
  const texts = await Promise.all(kernelParts.map((part) => diagnostics.read(part, signal)));
  t.equal(await diagnostics.read("log", signal), "{}\n");
  for (const text of texts) t.match(text, /^# \w.*\noutput of /);
  t.match(
    texts[kernelParts.indexOf("rules")],
    "# nft list ruleset\noutput of list ruleset\n\n# iptables-nft-save -c\noutput of -c\n\n" +
      "# iptables-legacy-save -c\n# failed: iptables-legacy-save could not start\n",
  );
});
