/**
 * Attributes of ctnetlink messages, by the names and numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
 * All values are in network order.
 */

/** `enum ctattr_type`, top level. */
export const CTA_TUPLE_ORIG = 1;
export const CTA_TUPLE_REPLY = 2;
export const CTA_STATUS = 3;
export const CTA_ID = 12;
export const CTA_ZONE = 18;

/** `enum ctattr_tuple`, in either tuple. The zone is there only for one that holds in this direction alone. */
export const CTA_TUPLE_IP = 1;
export const CTA_TUPLE_PROTO = 2;
export const CTA_TUPLE_ZONE = 3;

/** `enum ctattr_ip`. */
export const CTA_IP_V4_SRC = 1;
export const CTA_IP_V4_DST = 2;

/** `enum ctattr_l4proto`. */
export const CTA_PROTO_NUM = 1;
export const CTA_PROTO_SRC_PORT = 2;
export const CTA_PROTO_DST_PORT = 3;
export const CTA_PROTO_ICMP_ID = 4;
export const CTA_PROTO_ICMP_TYPE = 5;
export const CTA_PROTO_ICMP_CODE = 6;
