/**
 * Attributes of ctnetlink messages, with the names and numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
 * All values are in network byte order.
 */

/** `enum ctattr_type`, top level. */
export const CTA_TUPLE_ORIG = 1;
export const CTA_TUPLE_REPLY = 2;
export const CTA_STATUS = 3;
export const CTA_PROTOINFO = 4;
export const CTA_COUNTERS_ORIG = 9;
export const CTA_COUNTERS_REPLY = 10;
export const CTA_ID = 12;
export const CTA_ZONE = 18;
export const CTA_TIMESTAMP = 20;
export const CTA_FILTER = 25;

/** `enum ctattr_tuple`, in either tuple. The zone attribute exists only for a zone of this direction alone. */
export const CTA_TUPLE_IP = 1;
export const CTA_TUPLE_PROTO = 2;
export const CTA_TUPLE_ZONE = 3;

/** `enum ctattr_l4proto`. The numbers for ICMP, and `enum ctattr_ip`, depend on the family (`FamilyWire.conntrack`). */
export const CTA_PROTO_NUM = 1;
export const CTA_PROTO_SRC_PORT = 2;
export const CTA_PROTO_DST_PORT = 3;

/** `enum ctattr_protoinfo` and `enum ctattr_protoinfo_tcp`. */
export const CTA_PROTOINFO_TCP = 1;
export const CTA_PROTOINFO_TCP_STATE = 1;

/** `enum ctattr_counters`: 64 bits each. */
export const CTA_COUNTERS_PACKETS = 1;
export const CTA_COUNTERS_BYTES = 2;

/** `enum ctattr_timestamp`: 64 bits each, nanoseconds of Unix time. */
export const CTA_TIMESTAMP_START = 1;
export const CTA_TIMESTAMP_STOP = 2;

/** `enum ctattr_filter`, since Linux 5.8: which parts of a tuple must match. 32 bits in host byte order. */
export const CTA_FILTER_ORIG_FLAGS = 1;
export const CTA_FILTER_REPLY_FLAGS = 2;

/** CTA_FILTER_F_CTA_IP_* of net/netfilter/nf_internals.h. */
export const CTA_FILTER_IP_SRC = 1 << 0;
export const CTA_FILTER_IP_DST = 1 << 1;
