/** Changes the internal IP of one FIP at a time, with the agent and with the bare tools. */
import type { ObjectReply, Reply } from "../support/api-client.ts";
import { type Command, changeCommand } from "./bare.ts";
import type { BarePlant, Plant } from "./plant.ts";
import { eipAddress, type Fip, fip } from "./scenario.ts";
import { timeCommands, timeOf } from "./timing.ts";

/** The current target of each FIP on one gateway. Stores only the FIPs that it moved. */
export class Mover {
  readonly #count: number;
  readonly #moves = new Map<number, number>();
  #turn = 0;

  /** @param count number of FIPs */
  constructor(count: number) {
    this.#count = count;
  }

  /** The next FIP to move. Spread over the whole set, so that no position in a chain is favoured. */
  next(): { readonly number: number; readonly from: Fip; readonly to: Fip } {
    const number = 1 + ((this.#turn++ * 7919) % this.#count);
    const move = this.#moves.get(number) ?? 0;
    const moved = (move + 1) % 32;
    this.#moves.set(number, moved);
    return { number, from: fip(number, move), to: fip(number, moved) };
  }
}

/** Time from PUT to Ready, in milliseconds. */
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

/** Time of the change with one process, followed by the given dumps, in milliseconds. */
export function timeBareChange(
  plant: Plant | BarePlant,
  dataplane: Plant["dataplane"],
  mover: Mover,
  dumps: readonly Command[],
): number {
  const { number, from, to } = mover.next();
  return timeCommands(plant.gateway, [changeCommand(dataplane, from, to, eipAddress(number)), ...dumps]);
}
