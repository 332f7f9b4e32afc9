/** Reads the IPsec policies of this namespace. */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { SysctlKey } from "../../../lib/model/observed.ts";
import type { Chain } from "../../../lib/netfilter/chain.ts";
import {
  type PolicyRules,
  policyChains,
  policyFamily,
  unreadablePolicies,
  withSwitches,
} from "../../../lib/netfilter/policy-chains.ts";
import { controlType, parseAcknowledgement } from "../../../lib/netlink/message.ts";
import type { LinkPrograms } from "../../../lib/netlink/rtnetlink-xdp.ts";
import {
  type DefaultBlocks,
  decodeDefaultBlocks,
  decodePolicy,
  dumpPolicies,
  getDefaultBlocks,
  xfrmType,
} from "../../../lib/netlink/xfrm-policies.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";
import { type NetlinkError, netlinkError, orAbsent, refused } from "../netlink/refusal.ts";
import { readSysctl } from "../network/sysctls.ts";

/** @returns `undefined` if the kernel has no IPsec */
export async function readPolicyChains(
  netlink: ConversingConnection,
  links: readonly LinkPrograms[],
  signal: AbortSignal,
  sysctlRoot = "/proc/sys",
): Promise<readonly Chain[] | undefined> {
  const read = await orRefusal(readPolicies(netlink, signal));
  if (read === undefined) return undefined;
  if (typeof read === "string") return unreadablePolicies(read);
  const chains = policyChains(read, (index) => links.find((link) => link.index === index)?.name);
  if (chains.length === 0) return [];
  const names = ["all", ...links.map(({ name }) => name)];
  const withSetting = (setting: string) =>
    names.filter((name) => {
      const key = `${policyFamily.sysctls.devices}.${name}.${setting}` as SysctlKey;
      return readSysctl(sysctlRoot, key, policyFamily) === 1;
    });
  return withSwitches(chains, {
    policy: withSetting("disable_policy"),
    xfrm: withSetting("disable_xfrm"),
  });
}

async function readPolicies(
  netlink: ConversingConnection,
  signal: AbortSignal,
): Promise<PolicyRules | undefined> {
  const decode = (view: DataView, start: number, end: number) => decodePolicy(view, start, end, policyFamily);
  const dump = readDump(netlink, dumpPolicies(), xfrmType.newPolicy, decode, signal);
  const policies = await orAbsent(dump, ["EPROTONOSUPPORT", "EOPNOTSUPP", "EINVAL"]);
  if (policies === undefined) return undefined;
  const defaultBlocks = await orAbsent(readDefaultBlocks(netlink, signal), ["EINVAL", "EOPNOTSUPP"]);
  return {
    policies: policies.filter((policy) => policy !== undefined),
    defaultBlocks: defaultBlocks ?? { in: false, fwd: false, out: false },
  };
}

async function readDefaultBlocks(
  netlink: ConversingConnection,
  signal: AbortSignal,
): Promise<DefaultBlocks | undefined> {
  let blocks: DefaultBlocks | undefined;
  let refusal: NetlinkError | undefined;
  await netlink.converse(
    [getDefaultBlocks()],
    (_, { type, flags }, view, start, end) => {
      // What is thrown here would close the socket.
      if (type === controlType.error) refusal = netlinkError(parseAcknowledgement(view, flags, start, end));
      if (type === xfrmType.getDefaults) blocks = decodeDefaultBlocks(view, start);
      return true;
    },
    signal,
  );
  if (refusal !== undefined) throw refused(refusal);
  return blocks;
}

/** The code of a refusal that stays: this process may not ask. */
async function orRefusal<T>(reading: Promise<T>): Promise<T | "EACCES" | "EPERM"> {
  try {
    return await reading;
  } catch (error) {
    const code = error instanceof GatewayError ? error.details.code : undefined;
    if (code === "EACCES" || code === "EPERM") return code;
    throw error;
  }
}
