/** The TCP listeners. None opens before the kernel keeps others away from its port. */
import type { Socket } from "node:net";
import type { ApiGuard } from "../../lib/model/api-guard.ts";
import type { Endpoint } from "../config/values.ts";
import { isArrivedBy } from "../kernel/arrival.ts";
import type { Log } from "../log.ts";
import type { ApiDeps } from "./deps.ts";
import { hasArrival } from "./listen-address.ts";
import { closeListener, type OpenListener } from "./listeners.ts";

export interface TcpPortsDeps {
  readonly endpoints: readonly Endpoint[];
  readonly guard: ApiDeps["guard"];
  /** Opens one. `isAdmitted`: false for a connection that is hung up on. @throws `bad-config` */
  readonly listen: (
    endpoint: Endpoint,
    isAdmitted: ((socket: Socket) => boolean) | undefined,
  ) => Promise<OpenListener>;
  /** Milliseconds between two attempts. */
  readonly retryMs: number;
  readonly log: Pick<Log, "info" | "warn">;
}

export class TcpPorts {
  readonly #deps: TcpPortsDeps;
  #open: readonly OpenListener[] = [];
  #fault: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(deps: TcpPortsDeps) {
    this.#deps = deps;
  }

  /** All of them, or none. */
  get open(): readonly OpenListener[] {
    return this.#open;
  }

  /** Why they are not open. `undefined` if they are. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Opens them, now or as soon as the kernel guards them.
   * @throws `bad-config` if one cannot be used
   */
  async start(): Promise<void> {
    if (await this.#isGuarded()) await this.#openAll();
    else this.#tryAgain();
  }

  /** Opens none from now on. Those that are open stay. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #isGuarded(): Promise<boolean> {
    const { endpoints, guard } = this.#deps;
    try {
      if (endpoints.length > 0) await guard?.ensure();
      return true;
    } catch (err) {
      this.#fail(err, "the kernel does not keep others from the API's ports, they stay closed");
      return false;
    }
  }

  async #openAll(): Promise<void> {
    const { endpoints, guard, listen } = this.#deps;
    const opened: OpenListener[] = [];
    try {
      for (const endpoint of endpoints)
        opened.push(await listen(endpoint, guard && arrivalCheck(endpoint, guard)));
    } catch (error) {
      await closeAll(opened);
      throw error;
    }
    if (this.#isStopped) await closeAll(opened);
    else this.#open = opened;
  }

  #tryAgain(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#retry(), this.#deps.retryMs).unref();
  }

  async #retry(): Promise<void> {
    try {
      if (!(await this.#isGuarded())) return this.#tryAgain();
      await this.#openAll();
      this.#fault = undefined;
      this.#deps.log.info(
        { addresses: this.#open.map(({ address }) => address) },
        "the API's ports are open",
      );
    } catch (err) {
      // The agent works already: another program may give the port back.
      this.#fail(err, "cannot open the API's ports");
      this.#tryAgain();
    }
  }

  /** Each reason is logged once. */
  #fail(err: unknown, what: string): void {
    const message = err instanceof Error ? err.message : String(err);
    if (message !== this.#fault) this.#deps.log.warn({ err }, what);
    this.#fault = message;
  }
}

function closeAll(listeners: readonly OpenListener[]): Promise<unknown> {
  return Promise.all(listeners.map((listener) => closeListener(listener, 0)));
}

/** What the kernel lets through while its guard is gone: another program may have removed it a moment ago. */
function arrivalCheck(
  { host, port }: Endpoint,
  { open }: ApiGuard,
): ((socket: Socket) => boolean) | undefined {
  if (!hasArrival(host)) return undefined;
  const endpoint = open.find((one) => one.address === host && one.port === port);
  return (socket) => isArrivedBy(socket, endpoint?.interface);
}
