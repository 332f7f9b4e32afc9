/** A few random operations on each dataplane. `scripts/soak --suite random` plays many, with both bindings. */
import t from "tap";
import { dataplanes } from "../support/gateway.ts";
import { seed } from "../support/random.ts";
import { playRandom } from "../support/random-operations/play.ts";

const operations = 50;

t.comment(`seed ${seed}`);
t.jobs = dataplanes.length;
for (const [index, dataplane] of dataplanes.entries())
  t.test(dataplane, { buffered: true }, (t) =>
    playRandom(t, dataplane, index % 2 === 0 ? "route" : "address", seed + index, operations),
  );
