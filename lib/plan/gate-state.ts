/** Whether traffic from the VPC to the outside is held back. */
export type GateState = "open" | "closed";
