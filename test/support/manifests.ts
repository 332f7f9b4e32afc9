/** The manifests of docs/deploy, as far as tests read them. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseAllDocuments } from "yaml";

const directory = join(import.meta.dirname, "../../docs/deploy");

export const overlays = ["main-container", "native-sidecar"] as const;
export type Overlay = (typeof overlays)[number];

export interface Container {
  readonly name: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly securityContext: {
    readonly readOnlyRootFilesystem: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts: readonly VolumeMount[];
  readonly restartPolicy?: string;
}

export interface Probe {
  readonly exec: { readonly command: readonly string[] };
  readonly timeoutSeconds: number;
}

export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

export interface PodSpec {
  readonly containers?: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly secret?: unknown }[];
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: { readonly name?: string };
  readonly spec?: { readonly template?: { readonly spec: PodSpec } };
}

/** The YAML files of manifests, relative to docs/deploy. */
export function manifestFiles(): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith(".yaml") && !entry.parentPath.endsWith("/prometheus"),
    )
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

/** The documents of a file. Throws if it is not YAML, names a key twice or has no `kind`. */
export function manifestsIn(file: string): readonly Manifest[] {
  return parseAllDocuments(readFileSync(join(directory, file), "utf8")).map((document) => {
    for (const error of [...document.errors, ...document.warnings]) throw error;
    const manifest: unknown = document.toJS();
    if (!isManifest(manifest)) throw new Error(`${file}: no apiVersion or kind`);
    return manifest;
  });
}

/** The agent's container in the pod of an overlay. */
export function agentContainer(overlay: Overlay): Container {
  const [patch] = manifestsIn(`overlays/${overlay}/agent.yaml`);
  const pod = patch?.spec?.template?.spec;
  const containers = [...(pod?.containers ?? []), ...(pod?.initContainers ?? [])];
  const agent = containers.find(({ name }) => name === "natgw-agent");
  if (agent === undefined) throw new Error(`no agent in ${overlay}`);
  return agent;
}

/** The container's variables, with `$(POD_IP)` as Kubernetes expands it. */
export function environmentOf({ env = [] }: Container, podIp: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    env.map(({ name, value = podIp }) => [name, value.replaceAll("$(POD_IP)", podIp)]),
  );
}

export function probesOf({ startupProbe, livenessProbe, readinessProbe }: Container): readonly Probe[] {
  return [startupProbe, livenessProbe, readinessProbe].filter((probe) => probe !== undefined);
}

function isManifest(value: unknown): value is Manifest {
  return typeof value === "object" && value !== null && "kind" in value && "apiVersion" in value;
}
