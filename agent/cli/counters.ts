/** What the agent counts of one EIP, from its metrics. */

export interface Counter {
  /** Such as `receive_bytes_total`. */
  readonly name: string;
  /** The labels but the EIP's own: `protocol="tcp"`. */
  readonly labels: string;
  readonly value: number;
}

/** @param metrics in the text format of Prometheus */
export function countersOf(metrics: string, eip: string): readonly Counter[] {
  return metrics.split("\n").flatMap((line) => {
    const [, name, labels = "", value] = /^natgw_eip_(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (name === undefined || name === "info") return [];
    const pairs = labels.split(",");
    if (!pairs.includes(`eip="${eip}"`)) return [];
    return [
      { name, labels: pairs.filter((pair) => !pair.startsWith("eip=")).join(" "), value: Number(value) },
    ];
  });
}
