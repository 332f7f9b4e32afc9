/** A few interleavings of what Kube-OVN's controller does after a new pod. `scripts/soak --suite redo` plays many. */
import t from "tap";
import type { DataplaneName } from "../support/gateway.ts";
import { playRedos } from "../support/kube-ovn-simulator/redos.ts";
import type { Pod } from "../support/kube-ovn-simulator/scenario.ts";
import type { CallingForm } from "../support/nat-gateway.ts";
import { seed } from "../support/random.ts";

/** Each pod, each form and each dataplane. */
const combinations: readonly (readonly [Pod, CallingForm, DataplaneName])[] = [
  ["StatefulSet", "argv", "iptables-nft"],
  ["HA", "string", "iptables-legacy"],
  ["noDefaultEIP", "string", "nftables"],
  ["other interfaces", "argv", "iptables-legacy"],
];

t.comment(`seed ${seed}`);
t.jobs = combinations.length;
for (const [index, [pod, form, dataplane]] of combinations.entries())
  t.test(`${pod}, ${form}, ${dataplane}`, { buffered: true }, async (t) => {
    await playRedos(t, { dataplane, form, pod }, seed + index, 1);
  });
