/** Times as people read them. */

const units = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
] as const;

/** A duration of some seconds in one unit or two: `45 s`, `3 min`, `2 h 5 min`, `4 d 1 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const at = units.findIndex(([, size]) => whole >= size);
  const [unit, size] = units[at] ?? [];
  if (unit === undefined || size === undefined) return `${whole} s`;
  const [smaller, smallerSize] = units[at + 1] ?? [];
  const rest = smallerSize === undefined ? 0 : Math.floor((whole % size) / smallerSize);
  const first = `${Math.floor(whole / size)} ${unit}`;
  return rest === 0 ? first : `${first} ${rest} ${smaller}`;
}

/** A short duration: `12 ms`, `1.3 s`. */
export function shortDuration(seconds: number): string {
  return seconds < 1 ? `${Math.round(seconds * 1_000)} ms` : `${seconds.toFixed(1)} s`;
}

const magnitudes = ["", "k", "M", "G", "T"] as const;

/** A number of at most four digits: `950`, `12.3 k`, `1.2 M`. */
export function amount(value: number, unit = ""): string {
  let rest = value;
  let at = 0;
  while (Math.abs(rest) >= 999.5 && at < magnitudes.length - 1) {
    rest /= 1_000;
    at++;
  }
  const digits = at === 0 ? String(Math.round(rest)) : rest.toFixed(rest < 99.95 ? 1 : 0);
  return `${digits} ${magnitudes[at] ?? ""}${unit}`.trim();
}

export function percent(ratio: number): string {
  return `${ratio > 0 && ratio < 0.1 ? (ratio * 100).toFixed(1) : Math.round(ratio * 100)} %`;
}
