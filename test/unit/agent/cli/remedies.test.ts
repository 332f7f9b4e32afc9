import t from "tap";
import { remedyOf } from "../../../../agent/cli/remedies.ts";
import { degradedReasons } from "../../../../lib/model/degradation.ts";

t.test("every reason for degraded has a remedy of one line", async (t) => {
  for (const reason of degradedReasons) t.match(remedyOf(reason), /^.{5,90}$/, reason);
  t.equal(remedyOf("NewerReason"), undefined);
  t.equal(remedyOf("toString"), undefined);
});
