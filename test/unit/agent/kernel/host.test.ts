import { tmpdir } from "node:os";
import t from "tap";
import { isClockSynchronized, readDiskSpace, readToolVersions } from "../../../../agent/kernel/host.ts";
import type { Run } from "../../../../agent/kernel/run.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";

const never = new AbortController().signal;

t.test("disk space", async (t) => {
  const { totalBytes = 0, freeBytes = 0, directory } = (await readDiskSpace(tmpdir())) ?? {};
  t.equal(directory, tmpdir());
  t.ok(totalBytes > 1 << 20 && freeBytes <= totalBytes, "in bytes");
  t.equal(await readDiskSpace("/nowhere/at/all"), undefined);
});

t.test("the kernel says whether its clock is synchronized", async (t) => {
  t.type(isClockSynchronized(), "boolean");
});

t.test("versions of tools", async (t) => {
  const texts: Readonly<Record<string, string>> = {
    "iptables-legacy": "iptables v1.8.9 (legacy)\n",
    "iptables-legacy-save": "iptables-legacy-save v1.8.9 (legacy)\n",
    "iptables-legacy-restore": "iptables-legacy-restore v1.8.10 (legacy)\n",
    nft: "nftables v1.0.6 (Lester Gooch #5)\n",
    ip: "ip utility, iproute2-6.1.0, libbpf 1.1.0\n",
  };
  const run: Run = async ([tool = ""]) => {
    const stdout = texts[tool];
    if (stdout === undefined) throw new GatewayError("command-failed", `cannot start ${tool}`);
    return { stdout, stderr: "", exitCode: 0 } as Awaited<ReturnType<Run>>;
  };
  const said = async (backend: Parameters<typeof readToolVersions>[0]) =>
    (await readToolVersions(backend, run, never)).map(
      ({ tool, version, isNeeded }) => `${tool} ${version} ${isNeeded ? "needed" : "-"}`,
    );
  t.same(await said("iptables-legacy"), [
    "iptables-legacy 1.8.9 needed",
    "iptables-legacy-save 1.8.9 needed",
    "iptables-legacy-restore 1.8.10 needed",
    "nft 1.0.6 -",
    "ip 6.1.0 needed",
  ]);
  t.same(await said("nftables"), ["nft 1.0.6 needed", "ip 6.1.0 needed"]);
  t.match((await said("iptables-nft"))[0], "iptables-nft undefined needed", "cannot be run");
  const broken: Run = async () => {
    throw new TypeError("a bug");
  };
  await t.rejects(readToolVersions("nftables", broken, never), { message: "a bug" });
});
