/**
 * Runs a program with the rights of a container: a read-only root with a few mounts, few capabilities, no way to new ones, and a
 * filter of system calls. It has to be the first command in a mount namespace of its own, such as `ip netns exec` makes.
 */

export interface Confinement {
  /** Without `CAP_`: `NET_ADMIN`. The program has no others. */
  readonly capabilities: readonly string[];
  /** Its uid; the capabilities are ambient then. The group stays root's, who may read /proc/net/ip_tables_names. Absent: root. */
  readonly user?: number;
  readonly mounts: readonly Mount[];
  /** True in a privileged container, such as Kube-OVN's; otherwise /proc/sys is read-only. */
  readonly canWriteSysctls?: boolean;
  /** A file of {@link compileFilter}. */
  readonly filter: string;
}

export interface Mount {
  /** A file or directory of this machine, or `tmpfs`: an empty directory. */
  readonly source: string;
  /** Where the program sees it. */
  readonly target: string;
  /** `ro`, `rw`, or the size of a tmpfs: `size=256k`. */
  readonly options: string;
}

/** The command line to put in front of the program's. The program keeps the pid. */
export function confined(confinement: Confinement): readonly string[] {
  const triples = confinement.mounts.flatMap(({ source, target, options }) => [source, target, options]);
  const sysctls = confinement.canWriteSysctls === true ? "rw" : "ro";
  return ["sh", "-c", script, sysctls, ...triples, "--", ...rights(confinement)];
}

/** The same rights in the mounts of a confined program: what a probe or `kubectl exec` gets. */
export function besideConfined(pid: number, confinement: Confinement): readonly string[] {
  return ["nsenter", "--target", String(pid), "--mount", "--net", ...rights(confinement)];
}

function rights({ capabilities, user, filter }: Confinement): readonly string[] {
  const added = capabilities.map((name) => `+${name.toLowerCase()}`);
  const held = ["-all", ...added].join(",");
  const identity =
    user === undefined
      ? ["--inh-caps=-all"]
      : [
          ...[`--reuid=${user}`, "--regid=0", "--clear-groups"],
          ...[`--inh-caps=${held}`, `--ambient-caps=${held}`],
        ];
  return [
    ...["setpriv", "--no-new-privs", ...identity, `--bounding-set=${held}`],
    ...["perl", "-e", loadFilter, filter],
  ];
}

/**
 * Everything that is mounted becomes read-only in the end, except what was asked for. In a container /proc/sys is read-only, too;
 * /proc itself and /dev are not.
 */
const script = `
set -e
readonly=
while read -r _ path _ options _; do
  case $path,$options in
    /proc,*|/proc/*|/dev,*|/dev/*|/sys/*|/run/netns*|*,ro,*) ;;
    *) readonly="$readonly $path" ;;
  esac
done </proc/self/mounts
while [ "$1" != -- ]; do
  [ -e "$2" ] || mkdir -p "$2"
  case $1,$3 in
    tmpfs,ro) mount -t tmpfs tmpfs "$2" ;;
    tmpfs,*) mount -t tmpfs -o "$3" tmpfs "$2" ;;
    *) mount --bind "$1" "$2" ;;
  esac
  [ "$3" != ro ] || readonly="$readonly $2"
  shift 3
done
shift
[ "$0" = rw ] || mount -o bind,ro /proc/sys /proc/sys
for path in $readonly; do
  # What a tmpfs hides, such as the layers of a container that is being built, is gone already.
  [ ! -e "$path" ] || mount -o remount,bind,ro "$path"
done
exec "$@"
`;

/** prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct sock_fprog *), by its number on x86-64 and arm64. */
const loadFilter = `
open my $file, "<", shift or die "the filter: $!";
my $filter = do { local $/; <$file> };
my $prctl = ${process.arch === "arm64" ? 167 : 157};
my $program = pack "S x6 P", length($filter) / 8, $filter;
syscall($prctl, 22, 2, $program) == 0 or die "the filter: $!";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";
`;
