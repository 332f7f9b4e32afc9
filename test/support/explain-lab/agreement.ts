/**
 * Compares explanations with what packets do: explains some packets over a gateway in some state, then sends them, and
 * looks who answers and whom that host saw.
 */
import type { Explanation } from "../../../lib/explain/explanation.ts";
import type { Gateway } from "../gateway.ts";
import type { Answer } from "../host-program.ts";
import { runIn } from "../in-namespace.ts";
import { type Damage, damagesOf } from "./damages.ts";
import { ExplainProbe } from "./probe.ts";
import { addressesOf, type Case, Dice, ownerOf, randomCase, randomSet } from "./questions.ts";

export interface Disagreement {
  readonly state: string;
  readonly question: string;
  readonly said: string;
  readonly happened: string;
  readonly steps: readonly string[];
}

export interface Agreement {
  readonly cases: number;
  /**
   * Verdicts that say nothing, two kinds aside that no reading can decide: which backend the kernel draws, and whether
   * conntrack changes the port of an answer that clashes with an existing flow (kernels differ).
   */
  readonly unknown: number;
  /** How often each code was said. */
  readonly codes: ReadonlyMap<string, number>;
  readonly disagreements: readonly Disagreement[];
}

const casesPerState = 10;
const statesPerSet = 10;
/** Flows of earlier states that are asked about again. */
const flowsPerState = 3;
/** Long enough for an answer. None is expected. */
const silenceMs = 350;

export async function compare(gw: Gateway, random: () => number, cases: number): Promise<Agreement> {
  const dice = new Dice(random);
  await prepare(gw);
  const codes = new Map<string, number>();
  const disagreements: Disagreement[] = [];
  let [done, unknown, generation] = [0, 0, 0];
  while (done < cases) {
    const probe = await newSet(gw, dice, ++generation);
    const damages = damagesOf(gw.dataplane, dice);
    let flows: readonly Case[] = [];
    try {
      for (let state = 0; state < statesPerSet && done < cases; state++) {
        const damage = dice.pick(damages)();
        const fresh = Array.from({ length: casesPerState - flows.length }, () => randomCase(dice));
        const asked = [...flows, ...fresh];
        await strike(gw, damage.commands);
        try {
          for (const result of await askAndSend(gw, probe, asked)) {
            codes.set(result.code, (codes.get(result.code) ?? 0) + 1);
            if (result.isUnknown) unknown++;
            if (result.disagreement !== undefined)
              disagreements.push({ state: damage.what, ...result.disagreement });
          }
        } finally {
          await repair(gw, damage);
        }
        done += asked.length;
        // Flows of UDP live on: their next packet is asked about in the next state.
        flows = asked.filter(({ target }) => target.transport === "udp").slice(-flowsPerState);
      }
    } finally {
      await probe.stop();
    }
  }
  return { cases: done, unknown, codes, disagreements };
}

/** More addresses, and a way from the outside to the VPC, so that untranslated packets are answered. */
async function prepare(gw: Gateway): Promise<void> {
  const { lab } = gw;
  const more = (host: "outside" | "pod1" | "pod2") =>
    addressesOf[host].slice(1).map((address) => `address add ${address}/32 dev eth0`);
  await Promise.all([
    lab.ip("outside", ...more("outside"), "route add 10.0.0.0/8 via 203.0.113.254"),
    lab.ip("pod1", ...more("pod1")),
    lab.ip("pod2", ...more("pod2")),
    // A redirect would lead the packets past the gateway.
    ...(["pod1", "pod2", "outside"] as const).map((host) =>
      lab.exec(host, [
        "sysctl",
        "-qw",
        "net.ipv4.conf.all.accept_redirects=0",
        "net.ipv4.conf.eth0.accept_redirects=0",
      ]),
    ),
  ]);
  for (const name of ["outside", "pod1", "pod2"] as const) {
    const host = gw.host(name);
    await host.serve("tcp", 8080, 8081);
    for (const address of addressesOf[name]) await host.serveUdpAt(address, 53, 5353);
  }
}

/** The agent programs a random set, and ends: nothing repairs what comes now. */
async function newSet(gw: Gateway, dice: Dice, generation: number): Promise<ExplainProbe> {
  await gw.startAgent().whenLive();
  const { status, body } = await gw.api.putSet(randomSet(dice, generation), "?wait=3s");
  if (status !== 200 && status !== 202)
    throw new Error(`the set was answered with ${status}: ${JSON.stringify(body)}`);
  await gw.api.reconcile();
  await gw.agent.stop();
  return ExplainProbe.start(gw);
}

async function repair(gw: Gateway, { undo, isRepaired }: Damage): Promise<void> {
  await strike(gw, undo);
  if (isRepaired !== true) return;
  await gw.startAgent().whenReady();
  await gw.agent.stop();
}

interface Result {
  readonly code: string;
  readonly isUnknown: boolean;
  readonly disagreement: Omit<Disagreement, "state"> | undefined;
}

async function askAndSend(
  gw: Gateway,
  probe: ExplainProbe,
  cases: readonly Case[],
): Promise<readonly Result[]> {
  const explained = await Promise.all(cases.map(({ question }) => probe.explain(question)));
  return Promise.all(
    cases.map(async ({ sender, target, question }, at): Promise<Result> => {
      const explanation = explained[at];
      if (explanation === undefined) throw new Error("not explained");
      const isAnswered = explanation.verdict === "delivered";
      const host = gw.host(sender);
      const given = await (isAnswered ? host.ask(target) : host.ask(target, silenceMs));
      const isUnknown = explanation.verdict === "unknown";
      const { verdict, code, steps, unchecked } = explanation;
      const isAsSaid = isUnknown || agrees(explanation, given);
      const disagreement = isAsSaid
        ? undefined
        : {
            question: JSON.stringify(question),
            said: `${verdict} ${code} ${JSON.stringify(explanation.translated)}`,
            happened: JSON.stringify(given),
            steps: [
              ...steps.map(
                ({ stage, result, rule = "", detail }) => `${stage} ${result} ${detail} [${rule}]`,
              ),
              ...unchecked.map((text) => `unchecked: ${text}`),
            ],
          };
      const isDrawn = steps.some(
        ({ result, detail }) => result === "unknown" && / of the \d+ backends/.test(detail),
      );
      const isClash = unchecked.some((text) => text.includes("clashes with the existing flow"));
      return { code, isUnknown: isUnknown && !isDrawn && !isClash, disagreement };
    }),
  );
}

function agrees(
  { verdict, translated, steps }: Explanation,
  given: Answer | { readonly silence: string },
): boolean {
  if ("silence" in given) return verdict !== "delivered";
  if (verdict !== "delivered" || translated === null) return false;
  const drawn = steps.find(({ stage }) => stage === "dnat")?.detail.match(/\d+\.\d+\.\d+\.\d+(?=:)/g) ?? [];
  const answering = [...drawn, translated.destination ?? ""].map(ownerOf);
  return given.seenAs === translated.source && answering.some((name) => name === given.answeredBy);
}

async function strike(gw: Gateway, commands: Damage["commands"]): Promise<void> {
  for (const command of commands) {
    const { at, line } = typeof command === "string" ? { at: "gw" as const, line: command } : command;
    await runIn(gw.lab.namespaceOf(at), ["sh", "-ec", line], { env: { DIR: gw.toolbox.directory } });
  }
}
