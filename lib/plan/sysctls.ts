/** Plans the sysctls that forwarding depends on. */
import type { SysctlKey } from "../model/observed.ts";

export interface SysctlStep {
  readonly key: SysctlKey;
  readonly value: number;
}
