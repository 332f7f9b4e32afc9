/**
 * A container of the image without a container runtime: new namespaces of processes, mounts and network, in which the files of
 * scripts/image lie where the image has them, over those of this machine. With `NATGW_IMAGE_ROOT`, the directory in which a built
 * image is mounted, that is its root.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { until } from "./run.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

const project = join(import.meta.dirname, "../..");
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Run by process 1 before it becomes the command. */
const setUp = `
set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /opt
mkdir -p /opt/natgw/dist /opt/natgw/node_modules
mount --bind "$1/bin" /usr/local/bin
mount --bind "$2/dist" /opt/natgw/dist
mount --bind "$2/node_modules" /opt/natgw/node_modules
mkdir /opt/kube-ovn
mount --bind "$2/scripts" /opt/kube-ovn
ln -s "$1/legacy" /opt/natgw/legacy
shift 2
exec env -i "$@"
`;

const imageRoot = process.env.NATGW_IMAGE_ROOT;

/** Where Kube-OVN's scripts are. */
export const kubeOvnDirectory = imageRoot === undefined ? "/opt/kube-ovn" : "/kube-ovn";

/** The same in a built image. Its own agent stays, unless there is another one. */
const setUpImage = `
set -e
ip link set lo up
mount --bind "$2" "$2"
mount -t proc proc "$2/proc"
mount --rbind /dev "$2/dev"
mount -t tmpfs tmpfs "$2/run"
[ ! -e "$1/agent" ] || mount --bind "$1/agent" "$2/usr/local/bin/natgw-agent"
root=$2
shift 2
exec chroot "$root" /usr/bin/env -i "$@"
`;

export interface ContainerOptions {
  /** The container's command. */
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A shell script in place of the agent; `undefined`: the agent. */
  readonly agent?: string;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly output: string;
}

export class Container {
  readonly #environment: readonly string[];
  readonly #process: ChildProcess;
  /** Process 1, as this machine sees it. */
  readonly pid: number;
  readonly #log: string;

  private constructor(process: ChildProcess, pid: number, environment: readonly string[], log: string) {
    this.#process = process;
    this.pid = pid;
    this.#environment = environment;
    this.#log = log;
  }

  static async start(
    t: Test,
    { command = ["sleep", "infinity"], environment = {}, agent }: ContainerOptions,
  ): Promise<Container> {
    const directory = temporaryDirectory("image");
    if (imageRoot === undefined) await install(directory, agent);
    else if (agent !== undefined) await writeProgram(join(directory, "agent"), agent);
    const variables = [
      `PATH=${path}`,
      ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    ];
    const log = join(directory, "log");
    const output = openSync(log, "a");
    const child = spawn(
      "unshare",
      [
        ...["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
        ...["/bin/sh", "-c", imageRoot === undefined ? setUp : setUpImage, "sh", directory],
        ...[imageRoot ?? project, ...variables, ...command],
      ],
      { stdio: ["ignore", output, output] },
    );
    closeSync(output);
    const ended = once(child, "exit");
    t.teardown(async () => {
      child.kill("SIGKILL");
      await ended;
    });
    let pid = 0;
    await until("process 1 to be the command", async () => {
      pid = Number(await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"));
      if (pid === 0) return false;
      const line = await readFile(`/proc/${pid}/cmdline`, "utf8");
      // While the process starts a program, it has no command line.
      return line !== "" && !line.includes("mount -t tmpfs") && !/^(?:chroot|\S*env)\0/.test(line);
    });
    return new Container(child, pid, variables, log);
  }

  /** What process 1 and its children printed. */
  get output(): string {
    return readFileSync(this.#log, "utf8");
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Runs a command in the container, as a hook or `kubectl exec` does. */
  async exec(...command: readonly string[]): Promise<Ended> {
    const options = [
      ...["--target", String(this.pid), "--mount", "--net", "--pid", "--root", "--wd"],
      ...["env", "-i", ...this.#environment],
      ...command,
    ];
    // With a socket as its input bash would read its own files.
    const child = spawn("nsenter", options, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        output += String(data);
      });
    const [status, signal] = await once(child, "close");
    return { status, signal, output };
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }

  /** Waits until process 1 has ended; `unshare` ends with its status. */
  async end(): Promise<number | null> {
    if (this.isRunning) await once(this.#process, "exit");
    return this.#process.exitCode;
  }

  /** A file of the container. Empty if there is none. */
  async read(file: string): Promise<string> {
    return readFile(`/proc/${this.pid}/root${file}`, "utf8").catch(() => "");
  }

  /** The processes in the container, by their number there: their state and their command line. */
  async processes(): Promise<ReadonlyMap<number, { readonly state: string; readonly command: string }>> {
    const found = new Map<number, { readonly state: string; readonly command: string }>();
    for (const entry of await readdir(`/proc/${this.pid}/root/proc`)) {
      if (!/^\d+$/.test(entry)) continue;
      const state = /^State:\s+(\S)/m.exec(await this.read(`/proc/${entry}/status`))?.[1];
      const command = (await this.read(`/proc/${entry}/cmdline`)).replaceAll("\0", " ").trim();
      if (state !== undefined) found.set(Number(entry), { state, command });
    }
    return found;
  }
}

async function install(directory: string, agent: string | undefined): Promise<void> {
  const [bin, legacy] = [join(directory, "bin"), join(directory, "legacy")];
  await mkdir(bin);
  await mkdir(legacy);
  for (const name of ["sleep", "sysctl", "natgw-supervisor", "natgw-agent", "natgwctl", "iptables-legacy"])
    await copyFile(join(project, "scripts/image", name), join(bin, name));
  await copyFile(join(bin, "iptables-legacy"), join(bin, "iptables-legacy-save"));
  for (const tool of ["iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore"])
    await symlink("/usr/sbin/xtables-legacy-multi", join(legacy, tool));
  await symlink(process.execPath, join(bin, "node"));
  if (agent !== undefined) await writeProgram(join(bin, "natgw-agent"), agent);
}

async function writeProgram(path: string, script: string): Promise<void> {
  await writeFile(path, `#!/bin/bash\n${script}\n`);
  await chmod(path, 0o755);
}
