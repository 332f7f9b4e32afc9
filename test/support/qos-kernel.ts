/** A model of qdiscs, classes and the table of rate limits. It refuses what the kernel refuses. */
import type { InterfaceName } from "../../lib/model/names.ts";
import { qosDefinitionLines } from "../../lib/nftables/encode-qos.ts";
import type { QosTransaction } from "../../lib/nftables/qos.ts";
import { type ObservedDevice, type QosObserved, queueText } from "../../lib/plan/qos/observed.ts";
import type { QosStep, TrafficStep } from "../../lib/plan/qos/steps.ts";
import type { HtbClass } from "../../lib/tc/htb-class.ts";

interface Device {
  readonly alternativeNames: string[];
  root: ObservedDevice["root"];
  readonly classes: Map<number, HtbClass>;
  readonly queues: Map<number, string>;
}

export class QosKernel {
  readonly devices: ReadonlyMap<InterfaceName, Device>;
  hasHtb = true;
  #definition: readonly string[] | undefined;
  #elements = new Map<string, Map<string, string>>();

  constructor(names: readonly InterfaceName[]) {
    this.devices = new Map(
      names.map((name) => [
        name,
        { alternativeNames: [], root: "default", classes: new Map(), queues: new Map() },
      ]),
    );
  }

  observe(): QosObserved {
    const devices = new Map(
      Array.from(this.devices, ([name, { alternativeNames, root, classes, queues }]) => [
        name,
        {
          alternativeNames: [...alternativeNames],
          root,
          classes: root === "ours" ? new Map(classes) : new Map(),
          queues: root === "ours" ? new Map(queues) : new Map(),
        },
      ]),
    );
    const elements = new Map(Array.from(this.#elements, ([name, values]) => [name, new Map(values)]));
    return { table: { definition: this.#definition, elements }, hasHtb: this.hasHtb, devices };
  }

  get elements(): ReadonlyMap<string, Map<string, string>> {
    return this.#elements;
  }

  apply(step: QosStep): void {
    if (step.kind === "table") this.#commit(step.transaction);
    else this.#applyTraffic(step);
  }

  #applyTraffic(step: TrafficStep): void {
    const device = this.devices.get(step.device) ?? refuse("ENODEV");
    switch (step.kind) {
      case "name":
        if (this.devices.values().some(({ alternativeNames }) => alternativeNames.includes(step.name)))
          refuse("EEXIST");
        device.alternativeNames.push(step.name);
        return;
      case "release":
        if (step.what === "root" && device.root !== "script") refuse("ENOENT");
        if (step.what === "root") device.root = "default";
        if (step.what === "link") (this.devices as Map<InterfaceName, Device>).delete(step.device);
        return;
      case "root":
        if (device.root !== "default") refuse("EEXIST");
        device.root = "ours";
        return;
      case "class":
        applyClass(device, step.action, step.class);
        return;
      case "queue":
        if (!device.classes.has(step.minor) || hasChildren(device, step.minor)) refuse("ENOENT");
        device.queues.set(step.minor, queueText("bfifo", step.limitBytes));
    }
  }

  /** Deletes the table. */
  dropTable(): void {
    this.#definition = undefined;
    this.#elements = new Map();
  }

  /** Appends a rule. */
  addRule(): void {
    if (this.#definition !== undefined) this.#definition = [...this.#definition, "rule 2=00 4=drop() "];
  }

  #commit({ definition, remove, add }: QosTransaction): void {
    if (definition?.isReplaced) {
      if (this.#definition === undefined) refuse("ENOENT");
      this.dropTable();
    }
    if (definition?.make !== undefined) {
      if (this.#definition !== undefined) refuse("EEXIST");
      this.#definition = qosDefinitionLines(definition.make);
      this.#elements = new Map(
        [...definition.make.maps, ...definition.make.sets].map((name) => [name, new Map()]),
      );
    }
    // The element for every other key has none, so it cannot be named.
    for (const [set, keys] of remove)
      for (const key of keys) if (key === "*" || !this.#elements.get(set)?.delete(key)) refuse("ENOENT");
    for (const [set, values] of add) {
      const held = this.#elements.get(set) ?? refuse("ENOENT");
      for (const [key, value] of values) {
        if (held.has(key)) refuse("EEXIST");
        held.set(key, value);
      }
    }
  }
}

function applyClass(device: Device, action: "add" | "change" | "remove", given: HtbClass): void {
  if (device.root !== "ours") refuse("ENOENT");
  const held = device.classes.get(given.minor);
  if (action === "add") {
    if (held !== undefined) refuse("EEXIST");
    if (given.parent !== 0 && !device.classes.has(given.parent)) refuse("ENOENT");
    // A class that gets its first child loses its queue.
    device.queues.delete(given.parent);
    device.classes.set(given.minor, given);
    return;
  }
  if (held === undefined) refuse("ENOENT");
  else if (action === "change") device.classes.set(given.minor, { ...given, parent: held.parent });
  else {
    if (hasChildren(device, given.minor)) refuse("EBUSY");
    device.classes.delete(given.minor);
    device.queues.delete(given.minor);
  }
}

function hasChildren({ classes }: Device, minor: number): boolean {
  return classes.values().some(({ parent }) => parent === minor);
}

function refuse(code: string): never {
  throw new Error(code);
}
