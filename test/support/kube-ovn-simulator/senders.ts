/** Pods that send UDP all the time, each datagram from a port of its own: a flow of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { inNamespace } from "../in-namespace.ts";
import { type HostName, type Lab, labAddresses } from "../lab.ts";

const script = `exec 9<> <(:); while :; do echo x >/dev/udp/${labAddresses.outside}/4000; read -rt 0.03 -u 9; done 2>/dev/null`;

export class Senders {
  readonly #children: readonly ChildProcess[];

  constructor(lab: Lab, names: readonly HostName[]) {
    this.#children = names.map((name) => {
      const [command = "ip", ...args] = inNamespace(lab.namespaceOf(name), ["bash", "-c", script]);
      return spawn(command, args, { stdio: "ignore" });
    });
  }

  stop(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }
}
