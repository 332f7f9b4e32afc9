/** Server-sent events from text that comes in pieces. */

export interface ServerEvent {
  /** Where to go on. Comments move it forward, too. */
  readonly id: string;
  readonly type: string;
  readonly data: string;
}

/** More than any event. A server that sends no line end must not fill the memory. */
const maxPending = 8 * 1024 * 1024;

export class EventParser {
  #pending = "";
  #id = "";
  #type = "";
  #data: string[] = [];

  get id(): string {
    return this.#id;
  }

  /** @returns the events that are complete now. @throws if one is too long */
  push(text: string): ServerEvent[] {
    const lines = (this.#pending + text).split(/\r\n|\n|\r(?!$)/);
    this.#pending = lines.pop() ?? "";
    if (this.#pending.length > maxPending) throw new Error("an event is too long");
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") this.#id = value;
    if (field === "event") this.#type = value;
    if (field === "data") this.#data.push(value);
    return undefined;
  }

  #dispatch(): ServerEvent | undefined {
    const [type, data] = [this.#type, this.#data];
    [this.#type, this.#data] = ["", []];
    if (data.length === 0) return undefined;
    return { id: this.#id, type: type === "" ? "message" : type, data: data.join("\n") };
  }
}
