/** The status of an object: three conditions, and what they are based on. */
import { type Static, Type } from "typebox";

export const conditionTypes = ["Accepted", "Programmed", "Ready"] as const;

/** Why a condition has its value. Stable words that programs can match; docs/api.md explains them. */
export const reasons = [
  "Accepted",
  "Programmed",
  "Ready",
  "Pending",
  "Standby",
  "NoBackends",
  "Shadowed",
  "Conflict",
  "Unbound",
  "EipNotFound",
  "EipNotReady",
  "AddressConflict",
  "InterfaceNotFound",
  "InterfaceDown",
  "NoRoute",
  "ForeignRule",
  "ForeignRoute",
  "LeaseExpired",
  "ForwardingOff",
  "FlowsRemain",
  "Quarantined",
  "KernelUnreadable",
  "NotSupported",
] as const;

const Timestamp = Type.String({ format: "date-time" });

export const ConditionSchema = Type.Object(
  {
    type: Type.Enum([...conditionTypes], { title: "ConditionType" }),
    status: Type.Enum(["True", "False", "Unknown"], { title: "ConditionStatus" }),
    reason: Type.Enum([...reasons], { title: "Reason" }),
    message: Type.String(),
    lastTransitionTime: Timestamp,
  },
  { title: "Condition" },
);
export type Condition = Readonly<Static<typeof ConditionSchema>>;
export type ConditionType = (typeof conditionTypes)[number];
export type Reason = (typeof reasons)[number];

export const StatusSchema = Type.Object(
  {
    ready: Type.Boolean(),
    observedRevision: Type.Integer(),
    epoch: Type.String(),
    verifiedAt: Type.Optional(Timestamp),
    conditions: Type.Array(ConditionSchema),
    usedBy: Type.Optional(Type.Array(Type.String())),
  },
  { title: "Status" },
);
export type Status = Readonly<Static<typeof StatusSchema>>;

/**
 * A verdict without times: what one pass says about one object. The status board adds the times, and keeps
 * `lastTransitionTime` if nothing changed.
 */
export interface ObjectVerdict {
  readonly accepted: ConditionValue;
  readonly programmed: ConditionValue;
  readonly ready: ConditionValue;
  /** No later pass makes it Ready without another write: requests that wait are answered at once. */
  readonly isSettled: boolean;
}

/** The value of one condition. */
export interface ConditionValue {
  readonly holds: boolean;
  readonly reason: Reason;
  readonly message: string;
}
