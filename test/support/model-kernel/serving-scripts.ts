/** Scripts on a gateway in service, of the writes that incremental passes are for. */
import fc from "fast-check";
import { anyTyped, name, scripts, specs, type Theme } from "./arbitraries.ts";
import type { Step, Typed, Write } from "./script.ts";
import { eipAddresses } from "./universe.ts";

const full: Step = { do: "pass", isResync: true, during: [] };
const woken: Step = { do: "pass", isResync: false, during: [] };

/** Every write of a single Eip, FIP or DNAT is followed by the pass that it wakes; other steps of the theme come in between. */
export function servingScripts(theme: Theme): fc.Arbitrary<readonly Step[]> {
  const { refused = false, leases = false, drift = false } = theme;
  const odd = { refused, leases, drift };
  const of = specs(odd);
  const eips = fc.array(of.eip, { minLength: 2, maxLength: 3 });
  const others = fc.array(anyTyped(odd), { maxLength: 6 });
  const single: fc.Arbitrary<Write> = fc.oneof(
    { weight: 3, arbitrary: of.fip.map((spec): Write => ({ do: "put", kind: "fip", spec })) },
    { weight: 3, arbitrary: of.dnat.map((spec): Write => ({ do: "put", kind: "dnat", spec })) },
    { weight: 3, arbitrary: fc.nat(3).map((index): Write => ({ do: "put", ...eipAt(index) })) },
    { weight: 1, arbitrary: of.eip.map((spec): Write => ({ do: "put", kind: "eip", spec })) },
    { weight: 1, arbitrary: name("e").map((one): Write => ({ do: "remove", kind: "eip", name: one })) },
    { weight: 1, arbitrary: name("f").map((one): Write => ({ do: "remove", kind: "fip", name: one })) },
    { weight: 1, arbitrary: name("d").map((one): Write => ({ do: "remove", kind: "dnat", name: one })) },
  );
  const writes = fc.array(single, { minLength: 2, maxLength: 6 });
  return fc
    .tuple(eips, others, writes, scripts(theme, 8))
    .map(([addresses, objects, singles, rest]): readonly Step[] => [
      { do: "set", objects: distinct([...addresses.map(asEip), ...objects]) },
      ...[full, full, full],
      ...singles.flatMap((write, index) => [write, woken, ...rest.slice(index, index + 1)]),
      ...rest.slice(singles.length),
    ]);
}

/** Every Eip has its own name and address. */
function asEip(spec: Typed["spec"], index: number): Typed {
  return { kind: "eip", spec: { ...spec, name: `e${index}`, address: `${eipAddresses[index]}/24` } };
}

/** The Eip of that number. One that exists may move. */
function eipAt(index: number): Typed {
  return { kind: "eip", spec: { name: `e${index}`, address: `${eipAddresses[index]}/24` } };
}

/** The first object of each name. */
function distinct(objects: readonly Typed[]): readonly Typed[] {
  return [...Map.groupBy(objects, ({ kind, spec }) => `${kind} ${spec.name}`).values()].flatMap((same) =>
    same.slice(0, 1),
  );
}
