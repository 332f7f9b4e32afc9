/** Clients that take what they can get from an agent, and a neighbour that claims its EIPs. */
import type { NetConnectOpts, Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type ArpPacket, announcementsOf, type Mac } from "../../lib/arp/packet.ts";
import type { Ip } from "../../lib/model/ip.ts";
import { ask, open, readAnswer, requestText } from "../support/raw-http.ts";

const bodyBytes = 60 * 1024 * 1024;
const text = Buffer.from(`"${"x".repeat(32_765)}",`.repeat(32));

/** The statuses of answers are counted; `cut` if there was none. */
export class Crowd {
  readonly #where: NetConnectOpts;
  readonly #sockets: Socket[] = [];
  readonly #counts = new Map<string, number>();

  constructor(where: NetConnectOpts) {
    this.#where = where;
  }

  /** As text. */
  get answers(): string {
    return [...this.#counts].map(([answer, count]) => `${answer} ${count}`).join(", ");
  }

  count(method: string, status: number): number {
    return this.#counts.get(`${method} ${status}`) ?? 0;
  }

  /** Clients that request something and read nothing. */
  async neverRead(clients: number, path: string): Promise<void> {
    await this.#open(clients, (socket) => socket.pause().write(requestText("GET", path)));
  }

  /** Clients that send nothing. */
  async idle(clients: number): Promise<void> {
    await this.#open(clients, (socket) => socket.resume());
  }

  async ask(clients: number, method: string, path: string): Promise<void> {
    await Promise.all(
      Array.from({ length: clients }, async () => {
        const answer = await ask(this.#where, method, path).catch(() => undefined);
        this.#note(method, answer?.status);
      }),
    );
  }

  /** Bodies that are longer than an object may be. */
  async sendBodies(clients: number): Promise<void> {
    await Promise.all(
      Array.from({ length: clients }, async () => this.#note("PUT", await sendBody(this.#where))),
    );
  }

  /** Ends the connections of those that wait. */
  leave(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }

  async #open(clients: number, use: (socket: Socket) => unknown): Promise<void> {
    for (let one = 0; one < clients; one++) {
      const socket = await open(this.#where).catch(() => undefined);
      if (socket === undefined) continue;
      this.#sockets.push(socket.on("error", () => undefined));
      use(socket);
    }
  }

  #note(method: string, status: number | undefined): void {
    const answer = `${method} ${status ?? "cut"}`;
    this.#counts.set(answer, (this.#counts.get(answer) ?? 0) + 1);
  }
}

async function sendBody(where: NetConnectOpts): Promise<number | undefined> {
  const pieces = bodyBytes / text.length;
  const socket = await open(where).catch(() => undefined);
  if (socket === undefined) return undefined;
  socket.on("error", () => undefined);
  const answer = readAnswer(socket).then(
    ({ status }) => status,
    () => undefined,
  );
  const headers = [
    "content-type: application/json",
    `content-length: ${pieces * text.length + 12}`,
    "connection: close",
  ];
  socket.write(`${requestText("PUT", "/v1/eips/eip-a", headers)}{"pad":[`);
  for (let piece = 0; piece < pieces && socket.writable; piece++)
    await new Promise((resolve) => socket.write(text, resolve));
  socket.write('""]}');
  return answer;
}

const claimsAtOnce = 50;

/** Claims random ones of the addresses, each for a host that does not exist. */
export async function forgedClaims(
  addresses: readonly Ip[],
  count: number,
  say: (packet: ArpPacket) => void,
): Promise<void> {
  for (let claim = 0; claim < count; claim++) {
    const address = addresses[Math.floor(Math.random() * addresses.length)];
    if (address === undefined) return;
    const host = (claim % 256).toString(16).padStart(2, "0");
    for (const packet of announcementsOf(`02:00:00:00:66:${host}` as Mac, address)) say(packet);
    if (claim % claimsAtOnce === claimsAtOnce - 1) await delay(50);
  }
}
