/**
 * The API in a separate process, for tests that attack it. `api-server.ts <objects> <settings as JSON>` prints where it
 * listens.
 */
import { reduce } from "../../lib/state/reduce.ts";
import type { StateChange } from "../../lib/state/state.ts";
import { testApi } from "./api-fakes.ts";

const [objects = "0", settings = "{}"] = process.argv.slice(2);
const served = testApi(JSON.parse(settings));
const puts = Array.from({ length: Number(objects) }, (_, index): unknown => ({
  type: "put",
  kind: "eip",
  object: {
    spec: { name: `eip-${index}`, address: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/8` },
    revision: 1,
    creation: index + 1,
  },
}));
served.state.current = reduce(served.state.current, [
  ...(puts as StateChange[]),
  { type: "revision", revision: 1 },
]);
await served.api.listen();
process.stdout.write(`${JSON.stringify(served.api.addresses)}\n`);
process.once("SIGTERM", () => process.exit());
