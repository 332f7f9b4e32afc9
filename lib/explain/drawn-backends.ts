/** A rule with several backends: for each new flow the kernel draws one of them. */
import type { Outcome } from "./explanation.ts";
import type { Journey } from "./journey.ts";
import type { Notes } from "./notes.ts";
import type { Packet } from "./packet.ts";
import { route } from "./routing.ts";
import type { World } from "./world.ts";

/** Where a route leads to some of the backends only, it depends on the draw whether the packet arrives. */
export function drawOutcome(
  packet: Packet,
  { translations, end }: Journey,
  world: World,
  notes: Notes,
): Outcome | undefined {
  const backends = translations.find(({ side }) => side === "destination")?.to ?? [];
  const isPast = typeof end === "string" || end.stage === "route";
  if (backends.length < 2 || !isPast) return undefined;
  const unrouted = backends.filter(
    ({ address }) => route({ ...packet, destination: address }, world).kind !== "out",
  );
  const [first] = unrouted;
  if (first === undefined || unrouted.length === backends.length) return undefined;
  const detail = `${unrouted.length} of the ${backends.length} backends cannot be reached, such as ${first.address}`;
  notes.replace({ stage: "route", result: "unknown", detail });
  return { verdict: "unknown", code: "NoRoute" };
}
