/** The nftables tables of guard and gates in memory, as far as they decide about packets. */
import type { Ip } from "../../../lib/model/ip.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import {
  allFilterTables,
  byFilterTable,
  type FilterTable,
} from "../../../lib/nftables/filter-table-names.ts";
import type { FilterInterfaces } from "../../../lib/nftables/filter-table-rules.ts";
import {
  type FilterTablesTransaction,
  filterTableLines,
  type ObservedFilterTables,
} from "../../../lib/nftables/filter-tables.ts";
import { concatText } from "../../../lib/nftables/maps.ts";
import {
  byGuardSet,
  type GuardElements,
  guardSetNames,
  noGuardElements,
} from "../../../lib/nftables/sets.ts";

/** The properties of a packet that guard and gates check. */
export interface BarredPacket {
  readonly transport: string;
  readonly in: InterfaceName;
  readonly out?: InterfaceName;
  readonly source: Ip;
  readonly sourcePort: number;
  readonly destination: Ip;
  readonly isInvalid?: boolean;
  /** Its entry, or the one that it is about to get, has another address or port than the packet came with. */
  readonly isTranslated?: boolean;
}

/** Scripts make the same few tables again and again. */
const knownLines = new Map<string, readonly string[]>();

function linesOf(name: FilterTable, interfaces: FilterInterfaces): readonly string[] {
  const key = JSON.stringify([name, interfaces]);
  const lines = knownLines.get(key) ?? filterTableLines(name, interfaces);
  knownLines.set(key, lines);
  return lines;
}

export class FilterTables {
  /** Number of writes. */
  commits = 0;
  readonly #tables = new Map<FilterTable, FilterInterfaces>();
  #elements: GuardElements = noGuardElements;

  has(name: FilterTable): boolean {
    return this.#tables.has(name);
  }

  read(): ObservedFilterTables {
    const lines = (name: FilterTable) => {
      const interfaces = this.#tables.get(name);
      return interfaces && linesOf(name, interfaces);
    };
    return { definitions: byFilterTable(lines), elements: this.#elements };
  }

  /**
   * Applies one transaction.
   * @returns false if the kernel refuses it
   */
  write({ definitions, add, remove }: FilterTablesTransaction): boolean {
    const isGuardThere =
      definitions.guard === undefined ? this.has("guard") : definitions.guard.make !== undefined;
    const before = definitions.guard === undefined ? this.#elements : noGuardElements;
    for (const set of guardSetNames) {
      const { [set]: removal } = remove;
      if (!isGuardThere && add[set].size + removal.length > 0) return false;
      if (removal !== "all" && removal.some((key) => !before[set].has(key))) return false;
    }
    for (const name of allFilterTables) {
      const change = definitions[name];
      if (change === undefined) continue;
      // An object is created that exists, or deleted that does not exist.
      if (change.isReplaced !== this.has(name)) return false;
      if (change.make === undefined) this.#tables.delete(name);
      else this.#tables.set(name, change.make);
    }
    this.#elements = byGuardSet((set) => {
      const { [set]: removal } = remove;
      const elements = new Map(removal === "all" ? [] : before[set]);
      if (removal !== "all") for (const key of removal) elements.delete(key);
      for (const key of add[set].keys()) elements.set(key, "");
      return elements;
    });
    this.commits++;
    return true;
  }

  /** True if a packet that would be forwarded is dropped. */
  bars(packet: BarredPacket): boolean {
    return packet.isInvalid === true && this.#isLeaving("guard", packet) && this.#isMapped(packet);
  }

  /** True where a packet is dropped after NAT had its say. */
  barsPostrouting(packet: BarredPacket): boolean {
    return packet.isTranslated !== true && this.#isLeaving("gate", packet);
  }

  /** True if a packet to the gateway itself is dropped. */
  barsInput({ destination, isInvalid }: BarredPacket): boolean {
    return isInvalid === true && this.has("guard") && this.#elements.eips.has(destination);
  }

  #isLeaving(name: FilterTable, packet: BarredPacket): boolean {
    const interfaces = this.#tables.get(name);
    if (interfaces === undefined || packet.out === undefined) return false;
    if (name === "gate" && interfaces.isUnnamed === true) return packet.out !== interfaces.vpcInterface;
    return interfaces.vpcInterface === packet.in && interfaces.outsides.includes(packet.out);
  }

  #isMapped({ source, transport, sourcePort }: BarredPacket): boolean {
    const { fips, backends, clients } = this.#elements;
    if (fips.has(source) || backends.has(concatText(source, transport, sourcePort))) return true;
    return [...clients.keys()].some((key) => {
      const [network = "", mask = ""] = key.split(" . ");
      return ipv4.format(ipv4.and(ipv4.toValue(source), ipv4.toValue(mask as Ip))) === network;
    });
  }
}
