/** What links do with packets: IFLA_XDP and IFLA_LINKINFO of include/uapi/linux/if_link.h. */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "./attributes.ts";
import { IFLA_IFNAME, linkHeader } from "./rtnetlink-links.ts";

const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_XDP = 43;
const IFF_UP = 0x1;
const xdp = { attached: 2, programId: 4 } as const;
/** XDP_ATTACHED_*. 0: no program. */
const modes = [undefined, "xdp", "xdpgeneric", "xdpoffload", "xdpmulti"] as const;

/** The XDP program of a device, as `ip link` tells it. */
export interface AttachedXdp {
  /** `xdp` in the driver, `xdpgeneric`, `xdpoffload`, or `xdpmulti` for more than one. */
  readonly mode: string;
  /** 0 if the kernel names no single one. */
  readonly programId: number;
}

export interface LinkPrograms {
  readonly index: number;
  readonly name: string;
  /** `undefined`: none. */
  readonly xdp: AttachedXdp | undefined;
  /** True for an ifb that is up: it gives packets back to the device from which they were redirected. */
  readonly givesBack: boolean;
}

/** Decodes one RTM_NEWLINK. */
export function decodeLinkPrograms(view: DataView, start: number, end: number): LinkPrograms {
  let name = "";
  let mode: string | undefined;
  let programId = 0;
  let linkKind = "";
  for (let at = start + linkHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const stop = attributeEnd(view, at, end);
    if (type === IFLA_IFNAME) name = readText(view, payloadOf(at), stop);
    if (type !== IFLA_XDP && type !== IFLA_LINKINFO) continue;
    for (let inner = payloadOf(at); inner < stop; inner = nextAttribute(view, inner, stop)) {
      const kind = attributeType(view, inner);
      if (type === IFLA_LINKINFO) {
        if (kind === IFLA_INFO_KIND)
          linkKind = readText(view, payloadOf(inner), attributeEnd(view, inner, stop));
        continue;
      }
      if (kind === xdp.attached) mode = modes[view.getUint8(requirePayload(view, inner, stop, 1))];
      if (kind === xdp.programId) programId = view.getUint32(requirePayload(view, inner, stop, 4), true);
    }
  }
  const index = view.getInt32(start + 4, true);
  const isUp = (view.getUint32(start + 8, true) & IFF_UP) !== 0;
  return {
    index,
    name,
    xdp: mode === undefined ? undefined : { mode, programId },
    givesBack: linkKind === "ifb" && isUp,
  };
}
