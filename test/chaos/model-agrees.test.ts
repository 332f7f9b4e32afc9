/**
 * Compares the kernel in memory with the real one: the same scripts with the real agent must leave the same rules,
 * addresses and routes on both, and the same packets must come out at the same places.
 *
 * The elements of nftables are compared by what they do to packets; changes that other programs make to rules are left
 * out there.
 */
import fc from "fast-check";
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import type { HostName } from "../support/lab.ts";
import { busyScripts } from "../support/model-kernel/arbitraries.ts";
import { LabPlayer } from "../support/model-kernel/lab-player.ts";
import type { Step } from "../support/model-kernel/script.ts";
import { seed } from "../support/model-kernel/themes.ts";
import type { Fate, Transport } from "../support/model-kernel/tracer.ts";
import { hosts, interfaces, ip, outside, pods, services } from "../support/model-kernel/universe.ts";
import { packetOf } from "../support/model-kernel/works.ts";

const runs = Math.ceil(3 * Number(process.env.NATGW_RUNS ?? 1));
/** Changes of rules by other programs. */
const harmsRules: ReadonlySet<Step["do"]> = new Set([
  ...(["delete rule", "flush chain", "flush nat"] as const),
  ...(["stray rule", "foreign rule", "double hook"] as const),
]);
/** Random values that select the first, a middle and the last backend of a DNAT. */
const draws = [0, 0.4, 0.999];

/** The services of the lab. */
const servers = new Map<string, HostName>([
  [hosts.outside, "outside"],
  ["10.0.1.5", "pod1"],
  ["10.0.1.6", "pod2"],
]);

interface Question {
  readonly from: HostName;
  readonly transport: Transport;
  readonly address: string;
  readonly port: number;
}

const questions: readonly Question[] = [
  ...(["pod1", "pod2"] as const).flatMap((from) =>
    (["tcp", "udp"] as const).map((transport) => ({
      from,
      transport,
      address: hosts.outside,
      port: services[transport][0],
    })),
  ),
  ...["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"].flatMap((address) =>
    (["outside", "pod1", "pod2"] as const).flatMap((from) =>
      [80, 8080].map((port) => ({ from, transport: "tcp" as const, address, port })),
    ),
  ),
];

for (const [index, dataplane] of dataplanes.entries()) {
  t.test(dataplane, async (t) => {
    t.comment(`seed ${seed}`);
    const gateway = await Gateway.make(t, dataplane, { GATEWAY_V4: hosts.outside });
    gateway.startAgent();
    const theme = { drift: true, kills: true, lives: true, isCalm: true };
    const isPlayed = (step: Step) => dataplane !== "nftables" || !harmsRules.has(step.do);
    for (const sample of fc.sample(busyScripts(theme, 12), { numRuns: runs, seed: seed + index })) {
      const script = sample.filter(isPlayed);
      await t.test(script.map((step) => step.do).join(", "), (t) => compare(t, gateway, script));
    }
  });
}

async function compare(t: Test, gateway: Gateway, script: readonly Step[]): Promise<void> {
  // Each script begins like a new pod.
  await gateway.agent.kill();
  await gateway.loseState();
  await gateway.lab.renewGateway();
  await gateway.startAgent().whenReady();
  const player = new LabPlayer(gateway);
  t.teardown(() => player.model.stop());
  await player.play(script);
  await player.settle();
  const words = { script: script.map((step) => JSON.stringify(step)) };
  t.same(player.disagreements, [], "both agents accept the same", words);
  t.same(await player.realHolding(), player.modelHolding(), "both kernels hold the same", words);
  const { network } = player.model.kernel;
  const isHeld = (text: string) => network.isLocal(ip(text));
  const answerOf = (fate: Fate) => answerTo(fate, isHeld);
  const isSilent = (fates: readonly Fate[]) => fates.every((fate) => answerOf(fate) === undefined);
  const asked = questions.map((question) => ({ ...question, fates: fatesOf(player, question) }));
  // Only a few checks for silence: each waits until its timeout.
  const silent = asked.filter(({ fates }) => isSilent(fates)).slice(0, 3);
  for (const { from, fates, ...target } of [...asked.filter(({ fates }) => !isSilent(fates)), ...silent]) {
    const expected = fates.map(answerOf).filter((answer) => answer !== undefined);
    const name = `${from} asks ${target.address}:${target.port} by ${target.transport}`;
    if (expected.length === 0) {
      t.ok(await gateway.host(from).hearsNothing(target), `${name}: nobody answers`, words);
      continue;
    }
    const answer = await gateway.host(from).ask(target);
    const isExpected = expected.some(
      (one) => "answeredBy" in answer && one.by === answer.answeredBy && one.seenAs === answer.seenAs,
    );
    t.ok(isExpected, name, { answer, expected, ...words });
  }
}

function fatesOf({ model }: LabPlayer, { from, transport, address, port }: Question): readonly Fate[] {
  const source = from === "outside" ? outside : (pods[from === "pod1" ? 0 : 1] ?? outside);
  const nic = from === "outside" ? interfaces.external : interfaces.vpc;
  const { network, tracer } = model.kernel;
  // The outside host cannot send it: no host answers ARP for that address.
  if (from === "outside" && !network.isLocal(ip(address))) return [];
  return draws.map((draw) => {
    const fate = tracer.send(packetOf(nic, source, ip(address), transport, port), draw);
    if (fate.kind !== "dropped" && fate.entry !== undefined) tracer.forget(fate.entry);
    return fate;
  });
}

/**
 * Which host answers, and the source address it sees. Nothing if the port is not served, or if there is no route back.
 */
function answerTo(
  fate: Fate,
  isHeld: (address: string) => boolean,
): { readonly by: HostName; readonly seenAs: string } | undefined {
  if (fate.kind !== "sent") return undefined;
  const by = servers.get(fate.destination);
  const isServed = [80, 81, 53].includes(fate.destinationPort);
  // The outside has no way back to a pod. A pod answers another one past the gateway, and that one waits for the EIP.
  const isLost = !isHeld(fate.source) && (by === "outside" || fate.source.startsWith("10."));
  return by === undefined || !isServed || isLost ? undefined : { by, seenAs: fate.source };
}
