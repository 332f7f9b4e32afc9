/** The details of one object: conditions, spec, who uses it, and for an EIP its ports and flows. */
import { type Api, Refused } from "./api.ts";
import { bars } from "./charts.ts";
import { age, button, h } from "./dom.ts";
import { eipOf, type Objects, stateOf } from "./objects.ts";
import { duration, percent } from "./time.ts";
import { type Flow, type GatewayObject, idOf, type Ports } from "./types.ts";

const flowLimit = 50;
const refreshMs = 10_000;

export class Detail {
  readonly #panel: HTMLElement;
  readonly #api: Api;
  readonly #objects: Objects;
  readonly #onClose: () => void;
  readonly #live = h("div", { class: "live" });
  #id: string | undefined;
  #shown: GatewayObject | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(panel: HTMLElement, api: Api, objects: Objects, onClose: () => void) {
    this.#panel = panel;
    this.#api = api;
    this.#objects = objects;
    this.#onClose = onClose;
  }

  get id(): string | undefined {
    return this.#id;
  }

  open(id: string): void {
    const isNew = id !== this.#id;
    this.#id = id;
    this.#shown = undefined;
    this.#panel.hidden = false;
    document.body.classList.add("with-detail");
    if (isNew) this.#live.replaceChildren();
    this.update();
    if (isNew) {
      this.#panel.scrollTop = 0;
      clearInterval(this.#timer);
      this.#timer = setInterval(() => void this.#loadLive(), refreshMs);
      void this.#loadLive();
      this.#panel.focus({ preventScroll: true });
    }
  }

  close(): void {
    if (this.#id === undefined) return;
    this.#id = undefined;
    clearInterval(this.#timer);
    this.#panel.hidden = true;
    document.body.classList.remove("with-detail");
    this.#onClose();
  }

  /** Draws it again if the object changed. */
  update(): void {
    if (this.#id === undefined) return;
    const object = this.#objects.get(this.#id);
    if (object !== undefined && object === this.#shown) return;
    this.#shown = object;
    const close = button({ class: "close", "aria-label": "Close", title: "Esc" }, "✕", () => this.close());
    if (object === undefined) {
      const text = `${this.#id} does not exist (any more).`;
      this.#panel.replaceChildren(close, h("h2", {}, this.#id), h("p", {}, text));
      return;
    }
    this.#panel.replaceChildren(close, ...this.#parts(object), this.#live);
  }

  #parts(object: GatewayObject): readonly HTMLElement[] {
    const { kind, name, spec, status, revision, uid } = object;
    const state = stateOf(object);
    const users = kind === "Eip" ? this.#objects.usersOf(name) : [];
    const eip = kind === "Eip" ? undefined : eipOf(object);
    const collection = idOf(object)?.split("/")[0] ?? "";
    return [
      h("h2", {}, h("span", { class: "muted" }, `${kind} `), name),
      h("p", { class: `state ${state.replace(" ", "-").toLowerCase()}` }, state),
      h("h3", {}, "Conditions"),
      h("ul", { class: "conditions" }, ...status.conditions.map(condition)),
      h("h3", {}, "Spec"),
      h(
        "dl",
        {},
        ...Object.entries(spec).flatMap(([field, value]) => [
          h("dt", {}, field),
          h("dd", { class: "mono" }, textOf(value)),
        ]),
      ),
      eip !== undefined && h("p", {}, "On ", link(eip)),
      users.length > 0 && h("h3", {}, `Used by ${users.length}`),
      users.length > 0 &&
        h(
          "ul",
          { class: "users" },
          ...users.slice(0, 100).map((user) => h("li", {}, link(idOf(user) ?? ""))),
        ),
      h("h3", {}, "Record"),
      h(
        "dl",
        {},
        ...pair("revision", String(revision)),
        ...pair("seen by a pass", status.observedRevision >= revision ? "yes" : "not yet"),
        h("dt", {}, "read back"),
        h("dd", {}, age(status.verifiedAt, "ago")),
        ...(uid === undefined ? [] : pair("uid", uid)),
      ),
      h("p", { class: "muted" }, "More: ", h("code", {}, `natgwctl describe ${collection} ${name}`)),
    ].filter((part) => part !== false);
  }

  async #loadLive(): Promise<void> {
    const id = this.#id;
    const object = id === undefined ? undefined : this.#objects.get(id);
    const eip = object === undefined ? undefined : eipOf(object);
    if (eip === undefined) return;
    const [collection, name = ""] = eip.split("/");
    const path = `v1/${collection}/${encodeURIComponent(name)}`;
    const [ports, flows] = await Promise.all([
      this.#read<Ports>(`${path}/ports`),
      this.#read<{ total: number; items: readonly Flow[] }>(`${path}/connections?limit=${flowLimit}`),
    ]);
    if (this.#id !== id) return;
    this.#live.replaceChildren(
      ...(ports === undefined ? [] : portsOf(ports)),
      ...(typeof flows === "string" ? [h("p", { class: "muted" }, `Flows: ${flows}`)] : []),
      ...(flows === undefined || typeof flows === "string" ? [] : flowsOf(flows)),
    );
  }

  /** An older agent has no such path: `undefined`. A text is why there is no answer. */
  async #read<Body>(path: string): Promise<Body | string | undefined> {
    try {
      return (await this.#api.json<Body>(path)).body;
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return undefined;
      return error instanceof Error ? error.message : String(error);
    }
  }
}

function condition({
  type,
  status,
  reason,
  message,
  lastTransitionTime,
}: GatewayObject["status"]["conditions"][number]) {
  const level = { True: "good", False: "bad", Unknown: "warn" }[status];
  return h(
    "li",
    { class: level },
    h("strong", {}, type),
    h("span", {}, status === "True" ? "True" : `${status}, ${reason}`),
    h("span", { class: "muted" }, "for ", age(lastTransitionTime)),
    message !== "" && h("p", {}, message),
  );
}

function portsOf(ports: Ports | string): readonly HTMLElement[] {
  const title = h("h3", {}, "Ports, by destination");
  if (typeof ports === "string") return [title, h("p", { class: "muted" }, ports)];
  if (ports.destinations.length === 0) return [title, h("p", { class: "muted" }, "None in use.")];
  const rows = ports.destinations
    .slice(0, 10)
    .map(({ dst, dport, protocol, ratio, live, secondsToFull }) => ({
      name: `${dst}:${dport}/${protocol}`,
      ratio,
      text: `${live} (${percent(ratio)})${secondsToFull === null ? "" : `, full in ${duration(secondsToFull)}`}`,
    }));
  const [worst] = ports.destinations;
  const clients = worst?.topClients.map(({ ip, ports: used }) => `${ip} (${used})`).join(", ") ?? "";
  return [
    title,
    bars(rows),
    h(
      "p",
      { class: "muted" },
      `${ports.headroom} of ${ports.capacity} left towards the worst. Its clients: ${clients || "unknown"}.`,
    ),
  ];
}

function flowsOf({
  total,
  items,
}: {
  readonly total: number;
  readonly items: readonly Flow[];
}): readonly HTMLElement[] {
  const title = h(
    "h3",
    {},
    `Live flows: ${total}${total > items.length ? `, the first ${items.length}` : ""}`,
  );
  if (items.length === 0) return [title];
  const end = (address: string, port: number) => (port === 0 ? address : `${address}:${port}`);
  const rows = items.map(({ protocol, original, reply }) =>
    h(
      "tr",
      {},
      h("td", {}, protocol),
      h(
        "td",
        { class: "mono" },
        `${end(original.src, original.sport)} → ${end(original.dst, original.dport)}`,
      ),
      h("td", { class: "mono" }, `${end(reply.src, reply.sport)} → ${end(reply.dst, reply.dport)}`),
    ),
  );
  const heads = ["", "Original", "Reply"].map((text) => h("th", { scope: "col" }, text));
  const table = h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
  return [
    title,
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Live flows" }, table),
  ];
}

function link(id: string): HTMLElement {
  return h("a", { href: `#${encodeURI(id)}`, class: "mono" }, id);
}

function pair(name: string, value: string): readonly HTMLElement[] {
  return [h("dt", {}, name), h("dd", { class: "mono" }, value)];
}

function textOf(value: unknown): string {
  if (!Array.isArray(value)) return typeof value === "object" ? JSON.stringify(value) : String(value);
  const shown = value.slice(0, 20).map((one) => {
    const { ip, port } = one as { ip?: unknown; port?: unknown };
    return ip === undefined ? JSON.stringify(one) : `${ip}:${port}`;
  });
  return value.length > shown.length
    ? `${shown.join(", ")} and ${value.length - shown.length} more`
    : shown.join(", ");
}
