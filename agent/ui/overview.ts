/** The head, the problems and the cards: the gateway at a glance. */
import { bars, meter, shares, sparkline } from "./charts.ts";
import { age, h } from "./dom.ts";
import { type Objects, reasonOf } from "./objects.ts";
import { largest, rates, type Samples } from "./samples.ts";
import type { StreamState } from "./stream.ts";
import { amount, percent, shortDuration } from "./time.ts";
import { collections, type GatewayStatus, type Interface, idOf } from "./types.ts";

export interface Situation {
  readonly status: GatewayStatus | undefined;
  /** When the agent answered last, by this clock. */
  readonly answeredAt: string | undefined;
  /** Why it does not answer now. */
  readonly failure: string | undefined;
  readonly stream: StreamState | "connecting";
}

const maxProblems = 6;

export function head({ status, answeredAt, failure, stream }: Situation): readonly HTMLElement[] {
  const { level, title, text } = verdict(status, failure, answeredAt);
  return [
    h("div", { class: `verdict ${level}` }, h("h1", {}, title), h("p", {}, ...text)),
    h(
      "dl",
      { class: "facts" },
      h("div", {}, ...fact("Dataplane", status?.backend ?? "unknown")),
      h("div", {}, ...fact("Version", status?.version ?? "unknown")),
      h(
        "div",
        {},
        ...fact(
          "Updates",
          failure !== undefined ? "none" : streamTexts[stream],
          failure !== undefined ? "bad" : "",
        ),
      ),
    ),
  ];
}

const streamTexts: Readonly<Record<Situation["stream"], string>> = {
  connecting: "connecting",
  live: "live",
  lost: "reconnecting",
  absent: "every 5 s",
};

function verdict(
  status: GatewayStatus | undefined,
  failure: string | undefined,
  answeredAt: string | undefined,
) {
  if (failure !== undefined)
    return {
      level: "bad",
      title: "No answer from the agent",
      text:
        answeredAt === undefined
          ? [failure]
          : [
              `${failure}. What you see is `,
              age(answeredAt),
              " old. Programmed NAT works without the agent.",
            ],
    };
  if (status === undefined) return { level: "unknown", title: "Loading", text: [""] };
  const { total, notReady } = countsOf(status);
  const objects = total === 0 ? "No objects" : `${total - notReady} of ${total} objects ready`;
  const last = status.lastReconcile;
  const pass = last === null ? [". No pass has ended yet"] : [". Last pass ", age(last.startedAt, "ago")];
  const reasons = status.degraded.length;
  if (reasons === 0 && notReady === 0) return { level: "good", title: "Healthy", text: [objects, ...pass] };
  const objectsText = `${notReady} ${notReady === 1 ? "object" : "objects"} not ready`;
  const reasonsText = `Degraded: ${reasons} ${reasons === 1 ? "reason" : "reasons"}`;
  const parts = [...(reasons === 0 ? [] : [reasonsText]), ...(notReady === 0 ? [] : [objectsText])];
  return { level: reasons > 0 ? "bad" : "warn", title: parts.join(", "), text: [objects, ...pass] };
}

function countsOf({ objects }: GatewayStatus) {
  const all = Object.values(objects);
  return {
    total: all.reduce((sum, { total }) => sum + total, 0),
    notReady: all.reduce((sum, { notReady }) => sum + notReady, 0),
  };
}

export function problems(status: GatewayStatus | undefined, objects: Objects): readonly HTMLElement[] {
  const reasons = (status?.degraded ?? []).map(({ reason, message }) =>
    h("li", { class: "bad" }, h("strong", {}, reason), h("span", {}, message)),
  );
  const faulty = objects.notReady();
  const items = faulty.slice(0, maxProblems).map((object) => {
    const { text, since } = reasonOf(object);
    const id = idOf(object) ?? "";
    return h(
      "li",
      { class: "warn" },
      h("strong", {}, h("a", { href: `#${encodeURI(id)}` }, id)),
      h("span", {}, text || "Pending"),
      h("span", { class: "muted right" }, "for ", age(since)),
    );
  });
  const more = faulty.length - items.length;
  const rest = more > 0 ? [h("li", { class: "muted" }, `and ${more} more, first in the list below`)] : [];
  if (reasons.length + items.length === 0) return [];
  return [h("h2", {}, "Problems"), h("ul", { class: "problems" }, ...reasons, ...items, ...rest)];
}

export function cards(
  status: GatewayStatus | undefined,
  history: readonly Samples[],
): readonly HTMLElement[] {
  return [
    gatewayCard(status),
    objectsCard(status),
    conntrackCard(history),
    portsCard(history),
    trafficCard(history),
  ];
}

function card(title: string, ...children: readonly (HTMLElement | SVGElement | string)[]): HTMLElement {
  return h("article", { class: "card" }, h("h2", {}, title), ...children);
}

function gatewayCard(status: GatewayStatus | undefined): HTMLElement {
  if (status === undefined) return card("Gateway", muted("Loading."));
  const { gate, untranslated, bfdGate, generation, revision, lastReconcile, interfaces } = status;
  const gateText = gate === "closed" && untranslated === "drop" ? "closed for good" : gate;
  const isBehind = generation.applied < generation.desired || revision.applied < revision.desired;
  const failed = lastReconcile?.failed.length ?? 0;
  return card(
    "Gateway",
    h(
      "dl",
      {},
      ...Object.entries(interfaces).flatMap(([role, one]) => fact(role, ...interfaceText(one))),
      ...fact("gate", gateText, gate === "closed" && untranslated !== "drop" ? "warn" : ""),
      ...(bfdGate === "off" ? [] : fact("BFD gate", bfdGate, bfdGate === "closed" ? "warn" : "")),
      ...fact(
        "set",
        `generation ${generation.desired}, revision ${revision.desired}${isBehind ? ` (applied ${generation.applied}, ${revision.applied})` : ", applied"}`,
        isBehind ? "warn" : "",
      ),
      ...(lastReconcile === null
        ? fact("last pass", "none yet", "warn")
        : fact(
            "last pass",
            `${shortDuration(lastReconcile.took)}, ${lastReconcile.changed} changed${failed > 0 ? `, ${failed} failed` : ""}`,
            failed > 0 ? "bad" : "",
          )),
    ),
  );
}

function interfaceText({ name, present, up, addresses }: Interface): [string, string] {
  if (!present) return [`${name} is missing`, "bad"];
  const [first = "no address", ...more] = addresses;
  const shown = more.length === 0 ? first : `${first} and ${more.length} more`;
  return up ? [`${name}, ${shown}`, ""] : [`${name} is down, ${shown}`, "bad"];
}

function objectsCard(status: GatewayStatus | undefined): HTMLElement {
  if (status === undefined) return card("Ready objects", muted("Loading."));
  const rows = collections.flatMap((collection) => {
    const counts = status.objects[collection];
    if (counts === undefined || counts.total === 0) return [];
    const { total, ready, notReady } = counts;
    const text = notReady === 0 ? String(total) : `${ready} of ${total}`;
    return [
      { name: collection, ratio: ready / total, text, level: notReady === 0 ? "good" : "bad" } as const,
    ];
  });
  return card("Ready objects", rows.length === 0 ? muted("There are no objects.") : bars(rows));
}

function conntrackCard(history: readonly Samples[]): HTMLElement {
  const last = history.at(-1);
  const { entries, max } = last ?? {};
  if (last === undefined || entries === undefined || max === undefined)
    return card("Connection table", unknown(last));
  const ratio = max === 0 ? 0 : entries / max;
  const text = `${amount(entries)} of ${amount(max)} entries, ${percent(ratio)}`;
  const states = Array.from(last.connections, ([name, value]) => ({ name, value })).filter(
    ({ value }) => value > 0,
  );
  const line = history.map((sample) => sample.entries ?? 0);
  return card(
    "Connection table",
    h("p", { class: "big" }, text),
    meter(ratio, text),
    sparkline(line, `Entries of the last minutes, from ${line[0]} to ${line.at(-1)}`),
    states.length > 0 ? shares(states) : "",
  );
}

const eipLink = (name: string) => `#eips/${encodeURIComponent(name)}`;

function portsCard(history: readonly Samples[]): HTMLElement {
  const last = history.at(-1);
  const title = "Port use, worst EIPs";
  if (last === undefined || last.portRatios.size === 0) return card(title, unknown(last));
  const rows = largest(last.portRatios, 6).map(({ name, value }) => ({
    name,
    ratio: value,
    text: percent(value),
  }));
  return card(title, rows.length === 0 ? muted("No ports in use.") : bars(rows, eipLink));
}

function trafficCard(history: readonly Samples[]): HTMLElement {
  const [last, before] = [history.at(-1), history.at(-2)];
  const title = "Traffic, top EIPs";
  if (last === undefined || last.bytes.size === 0) return card(title, unknown(last));
  if (before === undefined) return card(title, muted("Measuring."));
  const perSecond = rates(before.bytes, last.bytes, (last.atMs - before.atMs) / 1_000);
  const top = largest(perSecond, 6);
  const most = top[0]?.value ?? 1;
  const rows = top.map(({ name, value }) => ({
    name,
    ratio: value / most,
    text: amount(value * 8, "bit/s"),
    level: "good" as const,
  }));
  return card(title, rows.length === 0 ? muted("No traffic.") : bars(rows, eipLink));
}

/** Unknown is never shown as zero. */
function unknown(last: Samples | undefined): HTMLElement {
  return muted(last === undefined ? "Measuring." : "No data.");
}

function muted(text: string): HTMLElement {
  return h("p", { class: "muted" }, text);
}

function fact(name: string, value: string, level = ""): readonly HTMLElement[] {
  return [h("dt", {}, name), h("dd", { class: level }, value)];
}
