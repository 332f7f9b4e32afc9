/** The manifests of docs/deploy agree with each other, and with the agent's settings. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import t from "tap";
import { settings } from "../../../agent/config/schema.ts";
import { readInvocation } from "../../../agent/config.ts";
import {
  agentContainer,
  environmentOf,
  manifestFiles,
  manifestsIn,
  overlays,
  probesOf,
} from "../../support/manifests.ts";

const podIp = "10.0.1.254";
const files = manifestFiles();
const kustomizations = files.filter((file) => basename(file) === "kustomization.yaml");
const readme = readFileSync("docs/deploy/README.md", "utf8");

t.test("every manifest is YAML of a known kind", async (t) => {
  const kinds = new Set(files.flatMap((file) => manifestsIn(file).map(({ kind }) => kind)));
  t.same([...kinds].sort(), [
    "Component",
    "Kustomization",
    "PodMonitor",
    "PrometheusRule",
    "Service",
    "StatefulSet",
  ]);
});

t.test("each kustomization names exactly the files beside it, and directories that exist", async (t) => {
  t.ok(kustomizations.length > 0);
  for (const file of kustomizations) {
    const directory = dirname(file);
    const [kustomization] = manifestsIn(file) as unknown as readonly Readonly<Record<string, unknown>>[];
    const { resources = [], components = [], patches = [] } = kustomization as Kustomization;
    const named = [...resources, ...components, ...patches.map(({ path }) => path)];
    const [directories, others] = [
      named.filter((name) => !name.endsWith(".yaml")),
      named.filter((name) => name.endsWith(".yaml")),
    ];
    const beside = readdirSync(join("docs/deploy", directory)).filter(
      (name) => name !== "kustomization.yaml",
    );
    t.same(others.sort(), beside.sort(), file);
    for (const name of directories)
      t.ok(
        kustomizations.includes(normalize(join(directory, name, "kustomization.yaml"))),
        `${file}: ${name}`,
      );
  }
});

t.test("each overlay has a line for each component", async (t) => {
  const components = kustomizations.map(dirname).filter((directory) => directory.startsWith("components/"));
  for (const overlay of overlays) {
    const text = readFileSync(`docs/deploy/overlays/${overlay}/kustomization.yaml`, "utf8");
    for (const component of components)
      t.ok(text.includes(`  - ../../${component}\n`), `${overlay}: ${component}`);
  }
});

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly { readonly path: string }[];
}

t.test("what the overlays and components share has the same names", async (t) => {
  const sets = files.flatMap(manifestsIn).filter(({ kind }) => kind === "StatefulSet");
  t.same([...new Set(sets.map(({ metadata }) => metadata?.name))], ["natgw"]);
  const pods = sets.flatMap(({ spec }) => spec?.template?.spec ?? []);
  const volumes = new Set(pods.flatMap((pod) => pod.volumes ?? []).map(({ name }) => name));
  const containers = pods.flatMap((pod) => [...(pod.containers ?? []), ...(pod.initContainers ?? [])]);
  const mounted = new Set(containers.flatMap((container) => container.volumeMounts).map(({ name }) => name));
  t.same([...mounted].sort(), [...volumes].sort());
});

t.test(
  "the agent's container is the same in both overlays, apart from what makes it a sidecar",
  async (t) => {
    const { restartPolicy, ...sidecar } = agentContainer("native-sidecar");
    t.equal(restartPolicy, "Always");
    t.same(sidecar, agentContainer("main-container"));
  },
);

for (const overlay of overlays) {
  t.test(overlay, async (t) => {
    const agent = agentContainer(overlay);
    const environment = environmentOf(agent, podIp);
    const defaultOf = (variable: string) => settings.find((s) => s.variable === variable)?.default ?? "";

    await t.test("every variable that is a setting exists and has an allowed value", async (t) => {
      const known = new Set(settings.map(({ variable }) => variable));
      const named = Object.keys(environment).filter((name) => /^(NATGW|GATEWAY)_/.test(name));
      t.same(
        named.filter((name) => !known.has(name)),
        [],
      );
      t.equal(readInvocation([], environment, "0").kind, "run");
    });

    await t.test("ports, directories and the socket are those of the agent", async (t) => {
      const invocation = readInvocation([], environment, "0");
      if (invocation.kind !== "run") throw new Error("does not run");
      const { listen, socketPath, stateDir, tokenFile } = invocation.config;
      const port = Number(defaultOf("NATGW_LISTEN").split(":").at(-1));
      t.same(listen, [
        { host: "127.0.0.1", port },
        { host: podIp, port },
      ]);
      t.same(
        agent.ports?.map(({ containerPort }) => containerPort),
        [port],
      );
      t.equal(socketPath, defaultOf("NATGW_SOCKET"));
      t.equal(stateDir, defaultOf("NATGW_STATE_DIR"));
      const writable = agent.volumeMounts.filter(({ readOnly }) => readOnly !== true);
      t.same(
        writable.map(({ mountPath }) => mountPath),
        [dirname(socketPath), stateDir],
      );
      const readable = agent.volumeMounts.filter(({ readOnly }) => readOnly === true);
      t.same(
        readable.map(({ mountPath }) => mountPath),
        [dirname(tokenFile ?? "")],
      );
    });

    await t.test("probes ask the socket, and start no Node", async (t) => {
      const probes = probesOf(agent);
      t.equal(probes.length, 3);
      for (const { exec, timeoutSeconds } of probes) {
        const [program, ...args] = exec.command;
        t.equal(program, "curl");
        t.equal(args[args.indexOf("--unix-socket") + 1], defaultOf("NATGW_SOCKET"));
        t.match(args.at(-1), /^http:\/\/localhost\/(livez|readyz)$/);
        t.ok(Number(args[args.indexOf("--max-time") + 1]) < timeoutSeconds, "curl gives up first");
      }
      t.notMatch(JSON.stringify(files.flatMap(manifestsIn)), /"(node|natgwctl|natgw-agent --)/);
    });
  });
}

t.test("docs/deploy/README.md names every directory with a kustomization", async (t) => {
  for (const file of kustomizations) t.match(readme, `\`${dirname(file)}`);
});

t.test("the image and the Secret are named alike everywhere", async (t) => {
  const text = files.map((file) => readFileSync(join("docs/deploy", file), "utf8")).join("\n");
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  for (const [, image] of text.matchAll(/image: (nat-gateway-agent\S*)/g))
    t.equal(image, `nat-gateway-agent:${version}`);
  t.match(readme, "secret generic natgw-token --from-literal=token=");
  t.match(text, "secretName: natgw-token");
});
