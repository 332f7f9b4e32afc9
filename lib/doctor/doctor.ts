/** The checks of a gateway, each with what was found and what helps. Pure: over what was observed. */
import { type Chunked, everyNth } from "../chunked.ts";
import { type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import type { Reason } from "../model/status.ts";
import { exhaustedShare } from "../ports/capacity.ts";
import { counted, grouped } from "../text/quantities.ts";
import type { EipEvidence, Evidence, NotReadyObject } from "./evidence.ts";
import { type CheckName, checkNames, degradedRemedies, objectRemedies } from "./remedies.ts";

export const checkResults = ["ok", "failed", "uncertain", "skipped"] as const;
export type CheckResult = (typeof checkResults)[number];

export interface Check {
  readonly check: CheckName;
  readonly result: CheckResult;
  /** What was found. */
  readonly detail: string;
  /** What helps. Empty if nothing is wrong. */
  readonly remedy: string;
  /** The objects that are affected: the first few. */
  readonly objects?: readonly ObjectId[];
}

/** What one part of a check found. */
export interface Finding {
  /** Of `degraded` or of objects. Absent: found by the doctor alone. */
  readonly reason?: string;
  readonly result: Exclude<CheckResult, "ok">;
  readonly detail: string;
  readonly remedy: string;
  readonly objects?: readonly ObjectId[];
}

/** Maximum number of texts, and of objects, that a check names. */
const maxNamed = 5;
const maxObjects = 20;

export function* diagnoseChunked(evidence: Evidence): Chunked<readonly Check[]> {
  const findings = new Map<CheckName, Finding[]>(checkNames.map((name) => [name, []]));
  const add = (name: CheckName, finding: Finding | undefined) => {
    if (finding !== undefined) findings.get(name)?.push(finding);
  };
  for (const { reason, message } of evidence.degraded) {
    const { check, result, remedy } = degradedRemedies[reason];
    if (reason === "GateClosed" && evidence.isGateKept) continue;
    add(check, { reason, result, detail: `${reason}: ${message}`, remedy });
  }
  for (const [name, finding] of yield* objectFindings(evidence.notReady)) add(name, finding);
  add("drift", driftOf(evidence));
  add("eips", eipsOf(evidence.eips));
  add("ports", portsOf(evidence));
  add("conntrack", conntrackOf(evidence));
  add("clock", clockOf(evidence));
  add("disk", diskOf(evidence));
  for (const finding of toolsOf(evidence)) add("tools", finding);
  return checkNames.map((name) => checkOf(name, findings.get(name) ?? [], evidence));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** One finding for each reason. */
function* objectFindings(
  notReady: readonly NotReadyObject[],
): Chunked<readonly (readonly [CheckName, Finding])[]> {
  const byReason = new Map<Reason, NotReadyObject[]>();
  const isDue = everyNth(lookedAtOnce);
  for (const one of notReady) {
    if (isDue()) yield;
    const same = byReason.get(one.reason);
    if (same === undefined) byReason.set(one.reason, [one]);
    else same.push(one);
  }
  return [...byReason].flatMap(([reason, objects]) => {
    const known = objectRemedies[reason];
    if (known === undefined) return [];
    const texts = [...new Set(objects.slice(0, 100).map(({ id, message }) => `${id} ${reason}: ${message}`))];
    const detail = listed(texts, objects.length);
    const ids = objects.slice(0, maxObjects).map(({ id }) => id);
    const finding = { reason, result: known.result, detail, remedy: known.remedy, objects: ids };
    return [[known.check, finding] as const];
  });
}

function driftOf({ pending }: Evidence): Finding | undefined {
  if (pending.length === 0) return undefined;
  return {
    result: "uncertain",
    detail: `a pass would change now: ${listed(pending, pending.length)}`,
    remedy: "wait for the next pass; if it comes again and again, find the program that undoes it",
  };
}

function eipsOf({ held, heard }: EipEvidence): Finding | undefined {
  if (held === 0) return { result: "skipped", detail: "no EIP is held", remedy: "" };
  if (heard >= held) return undefined;
  return {
    result: "uncertain",
    detail: `${held - heard} of ${counted(held, "EIP")} without a flow with packets from outside now; the gateway cannot see whether they are reachable from there`,
    remedy: "ask from a host outside: arping -I DEVICE EIP",
  };
}

/** Beyond this share a check warns. */
const nearlyFull = 0.8;

function portsOf({ ports }: Evidence): Finding | undefined {
  if (ports === undefined)
    return { result: "skipped", detail: "the connection-tracking table cannot be read", remedy: "" };
  const [worst] = ports;
  if (worst === undefined) return undefined;
  const texts = ports.map(
    ({ eip, live, dst, dport, protocol, ratio }) =>
      `eips/${eip} uses ${live} ports (${Math.floor(ratio * 100)} %) towards ${dst}:${dport} ${protocol}`,
  );
  return {
    result: worst.ratio >= exhaustedShare ? "failed" : "uncertain",
    detail: listed(texts, texts.length),
    remedy:
      "add Eips with Snats of the same CIDR; natgwctl ports EIP says how many, and which clients use most",
    objects: ports.slice(0, maxObjects).map(({ eip }) => objectId("eip", eip as ObjectName)),
  };
}

function conntrackOf({ conntrack: { count, max } }: Evidence): Finding | undefined {
  if (count === undefined)
    return { result: "skipped", detail: "the conntrack table is not in use", remedy: "" };
  if (max === undefined || max === 0 || count < nearlyFull * max) return undefined;
  return {
    result: count >= max ? "failed" : "uncertain",
    detail: `${count} of ${max} entries are in use`,
    remedy: "raise net.netfilter.nf_conntrack_max on the node, or find who opens so many flows",
  };
}

/** 2024. */
const plausibleMs = 1_704_067_200_000;

function clockOf({ clock: { wallMs, isSynchronized } }: Evidence): Finding | undefined {
  if (wallMs < plausibleMs)
    return {
      result: "failed",
      detail: `the clock says ${new Date(wallMs).toISOString()}`,
      remedy: "set the node's clock: certificates and deleted uids depend on it",
    };
  if (isSynchronized === true) return undefined;
  return {
    result: isSynchronized === undefined ? "skipped" : "uncertain",
    detail:
      isSynchronized === undefined ? "the kernel does not say" : "the kernel's clock is not synchronized",
    remedy:
      isSynchronized === undefined ? "" : "start a time service on the node (chrony, systemd-timesyncd)",
  };
}

const fullBytes = 1 << 20;
const lowBytes = 64 << 20;

function diskOf({ disk }: Evidence): Finding | undefined {
  if (disk === undefined)
    return {
      result: "uncertain",
      detail: "cannot look at the state directory",
      remedy: "correct its permissions",
    };
  const { directory, freeBytes, totalBytes, freeFiles } = disk;
  const isLow = freeBytes < Math.min(lowBytes, totalBytes / 20) || (freeFiles < 100 && freeFiles > 0);
  if (freeBytes >= fullBytes && !isLow) return undefined;
  return {
    result: freeBytes < fullBytes ? "failed" : "uncertain",
    detail: `${directory} has ${Math.floor(freeBytes / 1024)} KiB and ${freeFiles} files left`,
    remedy: "free disk space where the state directory is",
  };
}

function toolsOf({ tools }: Evidence): readonly Finding[] {
  const missing = tools.filter(({ version, isNeeded }) => isNeeded && version === undefined);
  const findings: Finding[] = [];
  if (missing.length > 0)
    findings.push({
      result: "failed",
      detail: `cannot run ${missing.map(({ tool }) => tool).join(", ")}`,
      remedy: "install the tools where the agent runs: docs/image.md lists them",
    });
  for (const group of Map.groupBy(tools, (tool) => tool.group).values()) {
    const versions = new Set(group.map(({ version }) => version).filter((one) => one !== undefined));
    if (versions.size < 2) continue;
    findings.push({
      result: "failed",
      detail: group.map(({ tool, version = "missing" }) => `${tool} ${version}`).join(", "),
      remedy: "install these tools from one package: they read each other's rules",
    });
  }
  return findings;
}

/** The worst finding decides. */
function checkOf(check: CheckName, findings: readonly Finding[], evidence: Evidence): Check {
  const order = ["failed", "uncertain", "skipped"] as const;
  const result = order.find((one) => findings.some((finding) => finding.result === one));
  if (result === undefined) return { check, result: "ok", detail: okText(check, evidence), remedy: "" };
  const told = findings.filter((finding) => finding.result !== "skipped" || result === "skipped");
  const objects = [...new Set(told.flatMap((finding) => finding.objects ?? []))].slice(0, maxObjects);
  return {
    check,
    result,
    detail: [...new Set(told.map(({ detail }) => detail))].join("; "),
    remedy: remedyOf(told),
    ...(objects.length > 0 && { objects }),
  };
}

/** What helps against all of them, once: gateway and objects with one reason need the same, in other words. */
function remedyOf(findings: readonly Finding[]): string {
  const isFirst = ({ reason }: Finding, index: number): boolean =>
    reason === undefined || findings.findIndex((finding) => finding.reason === reason) === index;
  const texts = [...new Set(findings.filter(isFirst).map(({ remedy }) => remedy))];
  return texts
    .filter((text) => text !== "" && !texts.some((other) => other !== text && other.includes(text)))
    .join("; ");
}

function okText(
  check: CheckName,
  { interfaces, objectCount, eips, conntrack, disk, tools }: Evidence,
): string {
  switch (check) {
    case "interfaces":
      return `${interfaces.vpc} and ${interfaces.external} are up`;
    case "forwarding":
      return "packets are forwarded";
    case "routes":
      return "every internal IP is reached through the VPC interface";
    case "next-hops":
      return "every next hop answers ARP";
    case "eips":
      return eips.held === 1
        ? "packets from outside come to the EIP"
        : `packets from outside come to all ${counted(eips.held, "EIP")}`;
    case "foreign-rules":
      return "no rule of another program is in the way";
    case "rules":
      return `every object was read back from the kernel: ${grouped(objectCount)} in all`;
    case "gate":
      return "the gate is as it should be";
    case "drift":
      return "a pass would change nothing";
    case "flows":
      return "no flow contradicts the objects";
    case "ports":
      return "every EIP has 20 % of its ports left or more, towards every destination";
    case "conntrack":
      return `${conntrack.count} of ${conntrack.max} entries are in use`;
    case "clock":
      return "the kernel's clock is synchronized";
    case "disk":
      return `${Math.floor((disk?.freeBytes ?? 0) / 1_048_576)} MiB left in ${disk?.directory}`;
    case "state":
      return "the stored state is whole";
    case "tools":
      return tools.map(({ tool, version }) => `${tool} ${version ?? "missing"}`).join(", ");
    case "access":
      return "tokens and certificates can be read";
  }
}

function listed(texts: readonly string[], total: number): string {
  const more = total - Math.min(maxNamed, texts.length);
  return `${texts.slice(0, maxNamed).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
