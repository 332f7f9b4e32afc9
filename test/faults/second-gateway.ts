/** A second gateway with its own agent on the bridges of a lab: the host that gets an EIP next. */
import type { Test } from "tap";
import { type AgentOptions, AgentProcess } from "../support/agent-process.ts";
import type { Gateway } from "../support/gateway.ts";
import { Lab, vpcRoute, withoutIpv6 } from "../support/lab.ts";
import { addNamespaces, deleteNamespaces, ipBatch } from "../support/namespaces.ts";

export const secondGateway = { external: "203.0.113.253", vpc: "10.0.1.253" } as const;

export interface SecondGateway {
  /** Only the namespace of its gateway exists. */
  readonly lab: Lab;
  readonly agentOptions: AgentOptions;
}

/** Connects it, without an agent. It ends with the test. */
export async function plugInSecondGateway(t: Test, first: Gateway): Promise<SecondGateway> {
  // This lab is never created: only the name of its gateway namespace is used.
  const lab = new Lab(`${first.lab.name}b`);
  const namespace = lab.namespaceOf("gw");
  await addNamespaces([namespace]);
  t.teardown(() => deleteNamespaces([namespace]));
  await withoutIpv6(namespace);
  await ipBatch(`${first.lab.name}-wire`, [
    ...cable("gw2-vpc", "eth0", namespace, "br-vpc"),
    ...cable("gw2-out", "net1", namespace, "br-out"),
  ]);
  await ipBatch(namespace, [
    "link set lo up",
    `address add ${secondGateway.vpc}/24 dev eth0`,
    `address add ${secondGateway.external}/24 dev net1`,
    "link set eth0 up",
    "link set net1 up",
    vpcRoute,
  ]);
  const { stateDirectory, socketPath, confinement, settings } = first.agentOptions;
  const own = { stateDirectory: `${stateDirectory}-2`, socketPath: `${socketPath}.2` };
  const rights = confinement === undefined ? {} : { confinement };
  return { lab, agentOptions: { ...own, ...rights, settings: { ...settings } } };
}

/** The same with an agent that is ready. */
export async function startSecondGateway(t: Test, first: Gateway): Promise<AgentProcess> {
  const { lab, agentOptions } = await plugInSecondGateway(t, first);
  const agent = AgentProcess.start(lab, agentOptions);
  t.teardown(() => agent.kill());
  return agent.whenReady();
}

/** Routes packets from `source` on a pod through the second gateway. */
export async function routeBySecondGateway(
  first: Gateway,
  pod: "pod1" | "pod2",
  source: string,
): Promise<void> {
  await first.lab.ip(
    pod,
    `address add ${source}/24 dev eth0`,
    `rule add from ${source} lookup 100`,
    `route add default via ${secondGateway.vpc} dev eth0 table 100`,
  );
}

function cable(port: string, nic: string, namespace: string, bridge: string): readonly string[] {
  return [
    `link add ${port} type veth peer name ${nic} netns ${namespace}`,
    `link set ${port} master ${bridge} up`,
  ];
}
