/**
 * A filter of system calls like that of `seccompProfile: RuntimeDefault`: what containerd and Docker deny to a container with
 * `NET_ADMIN` and `NET_RAW` only (docs.docker.com/engine/security/seccomp), compiled by libseccomp.
 */
import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import koffi from "koffi";

const denied = [
  ...["acct", "adjtimex", "clock_adjtime", "clock_settime", "settimeofday", "stime", "swapoff", "swapon"],
  ...["add_key", "keyctl", "request_key"],
  ...[
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "lookup_dcookie",
    "syslog",
    "nfsservctl",
    "quotactl",
    "quotactl_fd",
  ],
  ...["chroot", "mount", "mount_setattr", "move_mount", "pivot_root", "umount", "umount2", "ustat", "sysfs"],
  ...[
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "open_tree",
    "fanotify_init",
    "name_to_handle_at",
    "open_by_handle_at",
  ],
  ...["create_module", "delete_module", "finit_module", "init_module", "query_module", "get_kernel_syms"],
  ...["io_uring_enter", "io_uring_register", "io_uring_setup"],
  ...["ioperm", "iopl", "kexec_file_load", "kexec_load", "reboot", "vhangup", "uselib", "_sysctl"],
  ...["get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy"],
  ...["kcmp", "process_vm_readv", "process_vm_writev", "ptrace"],
  ...["setdomainname", "sethostname", "setns", "unshare"],
];
/** `CLONE_NEW…`: namespaces of time, mounts, cgroups, host names, IPC, users, processes and networks. */
const newNamespaces = [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000];

const allow = 0x7fff0000;
const fail = (errno: number) => 0x00050000 | errno;
/** `SCMP_CMP_MASKED_EQ` */
const maskedEqual = 7;

/** Writes the filter as BPF. */
export function compileFilter(path: string): void {
  const library = koffi.load("libseccomp.so.2");
  const init = library.func("void *seccomp_init(uint32_t)");
  const release = library.func("void seccomp_release(void *)");
  const number = library.func("int seccomp_syscall_resolve_name(const char *)");
  const add = library.func("int seccomp_rule_add_array(void *, uint32_t, int, unsigned int, void *)");
  const write = library.func("int seccomp_export_bpf(void *, int)");
  const expect = (result: number, what: string) => {
    if (result < 0) throw new Error(`libseccomp: ${what}: ${result}`);
  };
  const filter: unknown = init(allow);
  const { EPERM, ENOSYS } = constants.errno;
  for (const name of denied) {
    const call: number = number(name);
    // −1: there is none. Others are calls of other architectures.
    if (call >= 0) expect(add(filter, fail(EPERM), call, 0, null), name);
  }
  // libc falls back to clone.
  expect(add(filter, fail(ENOSYS), number("clone3"), 0, null), "clone3");
  for (const flag of newNamespaces)
    expect(add(filter, fail(EPERM), number("clone"), 1, argument(0, flag)), `clone ${flag}`);
  const fd = openSync(path, "w");
  expect(write(filter, fd), path);
  closeSync(fd);
  release(filter);
}

/** `struct scmp_arg_cmp`: the argument has all bits of `mask`. */
function argument(index: number, mask: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(0, index, true);
  view.setUint32(4, maskedEqual, true);
  view.setBigUint64(8, BigInt(mask), true);
  view.setBigUint64(16, BigInt(mask), true);
  return new Uint8Array(view.buffer);
}
