/**
 * Handles of qdiscs and classes: 32 bits, a major and a minor number of 16 bits each. tc writes them in hexadecimal,
 * `1:a3f`.
 */

/** TC_H_ROOT: the parent of a device's root qdisc. */
export const rootParent = 0xffffffff;
/** TC_H_INGRESS: the parent of a device's ingress qdisc. */
export const ingressParent = 0xfffffff1;
/** The handle of that qdisc. */
export const ingressHandle = 0xffff0000;
/** The major number of the agent's root qdiscs: `1:`. */
export const ownMajor = 1;

/** The handle of a class of the agent's root qdisc; minor 0 is the qdisc itself. */
export function ownHandle(minor: number): number {
  return ownMajor * 0x10000 + minor;
}

export function majorOf(handle: number): number {
  return handle >>> 16;
}

export function minorOf(handle: number): number {
  return handle & 0xffff;
}

/** `1:a3f`; a qdisc has no minor number: `1:`. */
export function handleText(handle: number): string {
  const minor = minorOf(handle);
  return `${majorOf(handle).toString(16)}:${minor === 0 ? "" : minor.toString(16)}`;
}

/** The inverse of {@link handleText}. NaN for other text. */
export function parseHandle(text: string): number {
  const match = /^([0-9a-f]{1,4}):([0-9a-f]{0,4})$/.exec(text);
  if (match === null) return Number.NaN;
  const [, major = "", minor = ""] = match;
  return Number.parseInt(major, 16) * 0x10000 + Number.parseInt(minor === "" ? "0" : minor, 16);
}
