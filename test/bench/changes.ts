/** Gives one FIP at a time another internal IP, by the agent and by the bare tools. */
import type { ObjectReply, Reply } from "../support/api-client.ts";
import { type Command, changeCommand } from "./bare.ts";
import type { BarePlant, Plant } from "./plant.ts";
import { eipAddress, type Fip, fip } from "./scenario.ts";
import { timeCommands, timeOf } from "./timing.ts";

/** Where each FIP leads now, on one gateway. Knows no more than the FIPs that it moved. */
export class Mover {
  readonly #count: number;
  readonly #moves = new Map<number, number>();
  #turn = 0;

  /** @param count FIPs that there are */
  constructor(count: number) {
    this.#count = count;
  }

  /** The next FIP to move: all over the set, so that no position in a chain is favoured. */
  next(): { readonly number: number; readonly from: Fip; readonly to: Fip } {
    const number = 1 + ((this.#turn++ * 7919) % this.#count);
    const move = this.#moves.get(number) ?? 0;
    const moved = (move + 1) % 32;
    this.#moves.set(number, moved);
    return { number, from: fip(number, move), to: fip(number, moved) };
  }
}

/** PUT to Ready, in milliseconds. */
export async function timeChange(plant: Plant, mover: Mover): Promise<number> {
  const { to } = mover.next();
  let reply: Reply<ObjectReply> | undefined;
  const ms = await timeOf(async () => {
    reply = await plant.api.put(`fips/${to.name}`, to, "?wait=60s");
  });
  if (reply?.status !== 200 || !reply.body.status.ready) {
    throw new Error(`${to.name} did not become Ready: ${JSON.stringify(reply)}`);
  }
  return ms;
}

/** The change by one fork, and then the given dumps, in milliseconds. */
export function timeBareChange(
  plant: Plant | BarePlant,
  dataplane: Plant["dataplane"],
  mover: Mover,
  dumps: readonly Command[],
): number {
  const { number, from, to } = mover.next();
  return timeCommands(plant.gateway, [changeCommand(dataplane, from, to, eipAddress(number)), ...dumps]);
}
