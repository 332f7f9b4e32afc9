/** Pictures as SVG. Each has its numbers as text, for those who do not see it. */
import { h, svg } from "./dom.ts";

export type Level = "good" | "warn" | "bad";

export function levelOf(ratio: number): Level {
  if (ratio >= 0.95) return "bad";
  return ratio >= 0.8 ? "warn" : "good";
}

/** A horizontal bar that is filled by `ratio`. Without a level it is of what can run out, and has a mark at 80 %. */
export function meter(ratio: number, label: string, level?: Level): SVGElement {
  const width = Math.min(1, Math.max(0, ratio)) * 100;
  return svg(
    "svg",
    {
      class: `meter ${level ?? levelOf(ratio)}`,
      viewBox: "0 0 100 8",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    svg("rect", { class: "track", width: 100, height: 8, rx: 1 }),
    svg("rect", { class: "fill", width: width > 0 ? Math.max(width, 0.6) : 0, height: 8, rx: 1 }),
    level === undefined && svg("line", { class: "mark", x1: 80, x2: 80, y1: 0, y2: 8 }),
  );
}

/** A line over time. The lowest value is at the bottom only if it is 0. */
export function sparkline(values: readonly number[], label: string): SVGElement {
  const [width, height] = [240, 36];
  const highest = Math.max(...values, 1) * 1.1;
  const step = width / Math.max(1, values.length - 1);
  const points = values.map(
    (value, index) => `${(index * step).toFixed(1)},${(height - (value / highest) * height).toFixed(1)}`,
  );
  const line = points.join(" ");
  const area = `0,${height} ${line} ${((values.length - 1) * step).toFixed(1)},${height}`;
  return svg(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    values.length > 1 && svg("polygon", { class: "area", points: area }),
    values.length > 1 && svg("polyline", { points: line }),
  );
}

/** Shares of a whole, side by side. */
export function shares(parts: readonly { readonly name: string; readonly value: number }[]): HTMLElement {
  const total = parts.reduce((sum, { value }) => sum + value, 0);
  const bar = svg("svg", {
    class: "shares",
    viewBox: "0 0 100 8",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": parts.map(({ name, value }) => `${name} ${value}`).join(", "),
  });
  let x = 0;
  for (const [index, { value }] of parts.entries()) {
    const width = total === 0 ? 0 : (value / total) * 100;
    bar.append(svg("rect", { class: `part${index}`, x, width, height: 8 }));
    x += width;
  }
  const legend = parts.map(({ name, value }, index) =>
    h(
      "li",
      {},
      svg("svg", { viewBox: "0 0 8 8" }, svg("rect", { class: `part${index}`, width: 8, height: 8, rx: 1 })),
      `${name} ${value}`,
    ),
  );
  return h("div", {}, bar, h("ul", { class: "legend" }, ...legend));
}

/** Named bars below each other. */
export function bars(
  rows: readonly {
    readonly name: string;
    readonly ratio: number;
    readonly text: string;
    readonly level?: Level;
  }[],
  linkOf?: (name: string) => string,
): HTMLElement {
  return h(
    "ul",
    { class: "bars" },
    ...rows.map(({ name, ratio, text, level }) => {
      const label =
        linkOf === undefined
          ? h("span", { class: "name", title: name }, name)
          : h("a", { class: "name", title: name, href: linkOf(name) }, name);
      return h("li", {}, label, meter(ratio, `${name}: ${text}`, level), h("span", { class: "value" }, text));
    }),
  );
}
