/**
 * The objects of a benchmark: FIPs, each with its own EIP; in the full scenario also a fifth as many DNATs and a
 * hundredth as many SNATs on additional EIPs.
 */
import type { SampleSet } from "../support/api-client.ts";
import { labAddresses } from "../support/lab.ts";

export interface Scenario {
  readonly fips: number;
  readonly dnats: number;
  readonly snats: number;
}

export function fipsOnly(count: number): Scenario {
  return { fips: count, dnats: 0, snats: 0 };
}

export function withDnatsAndSnats(count: number): Scenario {
  return { fips: count, dnats: Math.ceil(count / 5), snats: Math.ceil(count / 100) };
}

/** All internal addresses except those of the lab's own pods. */
export const vpcRoute = { name: "vpc", destination: "10.64.0.0/10", via: "10.0.1.5" } as const;
export const eipPrefixLength = 15;

export interface Fip {
  readonly name: string;
  readonly eip: string;
  readonly internalIp: string;
}

/** Numbers start at 1. Every `move` gives another internal IP. */
export function fip(number: number, move = 0): Fip {
  return { name: `fip-${number}`, eip: `eip-${number}`, internalIp: ipv4(10, 64 + move, number) };
}

export function eipAddress(number: number): string {
  return ipv4(198, 18, number);
}

/** All EIPs: first those of FIPs, then those that DNATs and SNATs share. */
export function eipNumbers({ fips, dnats, snats }: Scenario): readonly number[] {
  return numbers(fips + sharedEips({ dnats, snats }));
}

export function fipsOf({ fips }: Scenario): readonly Fip[] {
  return numbers(fips).map((number) => fip(number));
}

export interface Dnat {
  readonly eipNumber: number;
  readonly externalPort: number;
  readonly internalIp: string;
}

export function dnatsOf(scenario: Scenario): readonly Dnat[] {
  const shared = sharedEips(scenario);
  return numbers(scenario.dnats).map((number) => ({
    eipNumber: scenario.fips + 1 + (number % shared),
    externalPort: 1000 + Math.floor(number / shared),
    internalIp: ipv4(10, 96, number),
  }));
}

export interface Snat {
  readonly eipNumber: number;
  readonly internalCIDR: string;
}

export function snatsOf(scenario: Scenario): readonly Snat[] {
  const shared = sharedEips(scenario);
  return numbers(scenario.snats).map((number) => ({
    eipNumber: scenario.fips + 1 + (number % shared),
    internalCIDR: `${ipv4(10, 112, number * 256)}/24`,
  }));
}

/** The scenario as the API takes it. */
export function setOf(scenario: Scenario, generation: number): SampleSet {
  return {
    generation,
    gateway: { defaultGateway: labAddresses.outside },
    eips: eipNumbers(scenario).map((number) => ({
      name: `eip-${number}`,
      address: `${eipAddress(number)}/${eipPrefixLength}`,
    })),
    fips: fipsOf(scenario),
    dnats: dnatsOf(scenario).map(({ eipNumber, externalPort, internalIp }, index) => ({
      name: `dnat-${index + 1}`,
      eip: `eip-${eipNumber}`,
      protocol: "tcp",
      externalPort,
      internalIp,
      internalPort: 80,
    })),
    snats: snatsOf(scenario).map(({ eipNumber, internalCIDR }, index) => ({
      name: `snat-${index + 1}`,
      eip: `eip-${eipNumber}`,
      internalCIDR,
    })),
    routes: [vpcRoute],
  };
}

function sharedEips({ dnats, snats }: Pick<Scenario, "dnats" | "snats">): number {
  return Math.ceil(dnats / 50) || Math.min(snats, 1);
}

function numbers(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

/** `a.b.0.0` plus `number`, which may carry into the second byte. */
function ipv4(a: number, b: number, number: number): string {
  return `${a}.${b + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
}
