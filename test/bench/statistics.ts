/** Statistics for the benchmarks. */

/** The median. NaN without samples. */
export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** Linear interpolation between the two nearest samples. NaN without samples. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export interface Line {
  readonly intercept: number;
  readonly slope: number;
}

/** Least squares. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line {
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const covariance = mean(points.map(([x, y]) => (x - meanX) * (y - meanY)));
  const slope = covariance / mean(points.map(([x]) => (x - meanX) ** 2));
  return { intercept: meanY - slope * meanX, slope };
}

/** How a cost grows with size: k in `cost = c · size^k`, the slope in a log-log plot. 0: constant, 1: linear. */
export function growthExponent(points: readonly (readonly [size: number, cost: number])[]): number {
  return fitLine(points.map(([size, cost]) => [Math.log(size), Math.log(cost)])).slope;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
