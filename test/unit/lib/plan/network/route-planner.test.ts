/** Why a Route is not programmed. */
import t from "tap";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { ObservedLink, ObservedNetwork } from "../../../../../lib/model/observed.ts";
import { routePlanner } from "../../../../../lib/plan/network/route-planner.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { device, toIp } from "../../../../support/network-values.ts";

const id = "routes/r" as never;
const destination = "10.1.0.0/16" as never;
const eth0 = { index: 1, name: device("eth0"), mac: "", isUp: true, hasCarrier: true };
const connected = {
  table: 254,
  type: "unicast",
  destination,
  via: undefined,
  interface: device("eth0"),
  protocol: 2,
  metric: 0,
  isOnlink: false,
} as const;

function obstacleOn(links: readonly ObservedLink[], routes: ObservedNetwork["routes"] = []) {
  const program = {
    family: ipv4,
    externalInterface: device("net1"),
    eips: [],
    routes: [{ id, destination, via: toIp("10.0.1.1"), interface: device("eth0") }],
  };
  const observed = { links, addresses: [], routes, sysctls: new Map() };
  return routePlanner
    .plan({ program, context: { isSet: true } } as unknown as PlanInput, observed)
    .obstacles()
    .objects.get(id);
}

t.test("the reason says what has to change", async (t) => {
  t.match(obstacleOn([eth0]), { condition: "Programmed", reason: "Pending", isSettled: undefined });
  t.match(obstacleOn([{ ...eth0, isUp: false }]), {
    condition: "Programmed",
    reason: "InterfaceDown",
    message: "eth0 is down",
    isSettled: false,
  });
  t.match(obstacleOn([]), { condition: "Programmed", reason: "InterfaceNotFound", isSettled: true });
  t.match(obstacleOn([eth0], [connected]), {
    condition: "Programmed",
    reason: "ForeignRoute",
    message: /10\.1\.0\.0\/16 dev eth0 proto 2/,
    isSettled: true,
  });
});

t.test(
  "no default route by an address of the gateway itself is tried, and the gateway says so",
  async (t) => {
    const net1 = { ...eth0, index: 2, name: device("net1") };
    const own = { interface: device("net1"), address: toIp("203.0.113.2"), prefixLength: 24 };
    const planOf = (defaultGateway: string) => {
      const program = {
        family: ipv4,
        externalInterface: device("net1"),
        eips: [],
        routes: [],
        defaultGateway: toIp(defaultGateway),
      };
      const observed = { links: [net1], addresses: [own], routes: [], sysctls: new Map() };
      return routePlanner.plan(
        { program, context: { isSet: true } } as unknown as PlanInput,
        observed as unknown as ObservedNetwork,
      );
    };
    const { steps, notices } = planOf("203.0.113.2");
    t.same(steps, []);
    t.match(notices, [
      { reason: "NextHopUnreachable", message: /^the default gateway 203\.0\.113\.2 is an address of/ },
    ]);
    t.match(planOf("203.0.113.1"), { steps: { length: 1 }, notices: [] });
  },
);
