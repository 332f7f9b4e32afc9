/** A few interleavings of what Kube-OVN's controller does after a new pod. `scripts/soak --suite redo` plays many. */
import t from "tap";
import type { Variant } from "../support/gateway.ts";
import { playRedos } from "../support/kube-ovn-simulator/redos.ts";
import type { Pod } from "../support/kube-ovn-simulator/scenario.ts";
import type { CallingForm } from "../support/nat-gateway.ts";
import { seed } from "../support/random.ts";

/** Each pod, each form and each variant. */
const combinations: readonly (readonly [Pod, CallingForm, Variant])[] = [
  ["StatefulSet", "argv", "iptables-nft"],
  ["HA", "string", "iptables-legacy"],
  ["noDefaultEIP", "string", "iptables-nft"],
  ["other interfaces", "argv", "iptables-legacy"],
];

t.comment(`seed ${seed}`);
t.jobs = combinations.length;
for (const [index, [pod, form, variant]] of combinations.entries())
  t.test(`${pod}, ${form}, ${variant}`, { buffered: true }, async (t) => {
    await playRedos(t, { variant, form, pod }, seed + index, 1);
  });
