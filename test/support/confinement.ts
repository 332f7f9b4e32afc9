/** Runs a program with the rights of a container: a read-only root with a few mounts, and few capabilities. */

export interface Confinement {
  /** Without `CAP_`: `NET_ADMIN`. The program runs as root without any other. */
  readonly capabilities: readonly string[];
  readonly mounts: readonly Mount[];
}

export interface Mount {
  /** A directory of this machine. */
  readonly source: string;
  /** Where the program sees it: below /run, /var/lib or /tmp. */
  readonly target: string;
  readonly isWritable: boolean;
}

/** The command line to put in front of the program's. The program keeps the pid. */
export function confined({ capabilities, mounts }: Confinement): readonly string[] {
  const triples = mounts.flatMap(({ source, target, isWritable }) => [
    source,
    target,
    isWritable ? "rw" : "ro",
  ]);
  return ["unshare", "--mount", "sh", "-c", script, "sh", boundingSet(capabilities), ...triples, "--"];
}

/** The same rights in the mounts of a confined program: what a probe or `kubectl exec` gets. */
export function besideConfined(pid: number, { capabilities }: Confinement): readonly string[] {
  return [
    "nsenter",
    "--target",
    String(pid),
    "--mount",
    "--net",
    "setpriv",
    ...rights,
    boundingSet(capabilities),
  ];
}

function boundingSet(capabilities: readonly string[]): string {
  return ["-all", ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(",");
}

const rights = ["--inh-caps=-all", "--no-new-privs", "--bounding-set"];

/** Binds are made before /tmp, where their sources may be, becomes read-only. In a container /proc/sys is read-only, too. */
const script = `
set -e
bounding=$1
shift
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount --bind /tmp /tmp
mount --bind /proc/sys /proc/sys
while [ "$1" != -- ]; do
  mkdir -p "$2"
  mount --bind "$1" "$2"
  mount -o "remount,bind,$3" "$2"
  shift 3
done
shift
for path in /run /var/lib /tmp /proc/sys /sys /; do mount -o remount,bind,ro "$path"; done
exec setpriv ${rights.join(" ")} "$bounding" "$@"
`;
