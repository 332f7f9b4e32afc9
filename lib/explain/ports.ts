/** The source ports of an EIP towards one destination, and how likely a new connection finds one. */

/** Ports that flows have, by what the kernel does with them. */
export interface TakenPorts {
  readonly live: readonly number[];
  /** Of TCP in TIME_WAIT or CLOSE: a new connection may take them. */
  readonly closing: readonly number[];
}

/**
 * The ports that the kernel chooses from: it stays in the client's range (`nf_nat_l4proto_unique_tuple` of nf_nat_core.c):
 * below 512, below 1024, or all others.
 */
export function rangeOf(sourcePort: number | undefined): readonly [first: number, last: number] {
  if (sourcePort === undefined || sourcePort >= 1_024) return [1_024, 65_535];
  return sourcePort < 512 ? [1, 511] : [600, 1_023];
}

/** The ports of the range. */
export function capacityOf(sourcePort: number | undefined): number {
  const [first, last] = rangeOf(sourcePort);
  return last - first + 1;
}

/** So many ports in a row are tried, from a random one on; then fewer, from another one on. */
const tries = [128, 64, 32, 16, 8] as const;
/** The last tries of each row also end a closing connection, if the sequence number of the new one is ahead: half of them are. */
const harderTries = 32;

/**
 * How likely the kernel finds a port for one packet that begins a connection: from 0 to 1. It tries 248 ports and drops the packet if
 * none is free. A connection that does not ask for a random port and whose own is free gets it, whatever the chance.
 */
export function chanceOf({ live, closing }: TakenPorts, sourcePort: number | undefined): number {
  if (live.length + closing.length < tries[0]) return 1;
  const [first, last] = rangeOf(sourcePort);
  const size = last - first + 1;
  const isTaken = new Uint8Array(size);
  const isClosing = new Uint8Array(size);
  for (const port of live) if (port >= first && port <= last) isTaken[port - first] = 1;
  for (const port of closing) {
    if (port < first || port > last || isTaken[port - first] === 1) continue;
    isTaken[port - first] = 1;
    isClosing[port - first] = 1;
  }
  // Twice around, because a row goes on at the other end.
  const closingBefore = new Uint32Array(2 * size + 1);
  for (let at = 0; at < 2 * size; at++)
    closingBefore[at + 1] = (closingBefore[at] ?? 0) + (isClosing[at % size] ?? 0);
  const takenInRow = new Uint32Array(2 * size + 1);
  for (let at = 2 * size - 1; at >= 0; at--)
    takenInRow[at] = isTaken[at % size] === 1 ? (takenInRow[at + 1] ?? 0) + 1 : 0;
  const failing = tries.map((row) => {
    let sum = 0;
    for (let start = 0; start < size; start++) {
      if ((takenInRow[start] ?? 0) < row) continue;
      const harderFrom = start + Math.max(0, row - harderTries);
      sum += 0.5 ** ((closingBefore[start + row] ?? 0) - (closingBefore[harderFrom] ?? 0));
    }
    return sum / size;
  });
  return 1 - failing.reduce((product, one) => product * one, 1);
}
