/**
 * Writes attributes into one buffer, for messages that are built by the thousand: one array per part would cost more
 * than the kernel's own work. `attributes.ts` has the format, and functions for all other uses.
 */
import type { AddressValue, Family } from "../model/family.ts";
import { attributeHeader, nestedFlag } from "./attributes.ts";

export class AttributeWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  /**
   * @param header the header of the netlink family, before all attributes
   * @param capacity maximum bytes of header and attributes; more throws a RangeError
   */
  constructor(header: Uint8Array, capacity: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#bytes.set(header);
    this.#view = new DataView(this.#bytes.buffer);
    this.#at = header.length;
  }

  /** A nested attribute around those that `write` writes. */
  nested(type: number, write: () => void): void {
    const start = this.#at;
    this.#at += attributeHeader;
    write();
    this.#view.setUint16(start, this.#at - start, true);
    this.#view.setUint16(start + 2, type | nestedFlag, true);
  }

  u8(type: number, value: number): void {
    this.#view.setUint8(this.#begin(type, 1), value);
  }

  /** 16 bits in network byte order. */
  netU16(type: number, value: number): void {
    this.#view.setUint16(this.#begin(type, 2), value);
  }

  /** 32 bits in network byte order. */
  netU32(type: number, value: number): void {
    this.#view.setUint32(this.#begin(type, 4), value);
  }

  address(type: number, value: AddressValue, family: Family): void {
    family.write(this.#bytes, this.#begin(type, family.addressBytes), value);
  }

  /** Everything written so far, including the header. */
  payload(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /** Writes the header of an attribute and returns where its value goes. Padding is already 0. */
  #begin(type: number, length: number): number {
    const start = this.#at;
    this.#view.setUint16(start, attributeHeader + length, true);
    this.#view.setUint16(start + 2, type, true);
    this.#at = start + attributeHeader + ((length + 3) & ~3);
    return start + attributeHeader;
  }
}
