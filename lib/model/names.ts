/** Names of objects and interfaces, and references to objects. */

declare const brand: unique symbol;

/** An object's name: a DNS subdomain of at most 253 characters, as in Kubernetes. */
export type ObjectName = string & { readonly [brand]: "ObjectName" };
/** A caller's identifier for one life of an object: 1 to 128 printable ASCII characters without spaces. */
export type Uid = string & { readonly [brand]: "Uid" };
/** A network interface's name, at most 15 characters. */
export type InterfaceName = string & { readonly [brand]: "InterfaceName" };

/** The kinds, in the order in which one request creates them: a FIP is older than a DNAT of the same request. */
export const kinds = ["eip", "fip", "snat", "dnat", "limit", "route"] as const;
export type Kind = (typeof kinds)[number];

/** The collection of a kind, used in paths, full sets and references: `"fips"`. */
export type Collection = `${Kind}s`;
export const collections = kinds.map((kind): Collection => `${kind}s`);
const kindsByCollection: ReadonlyMap<string, Kind> = new Map(kinds.map((kind) => [`${kind}s`, kind]));

/** A reference to an object: `"fips/fip-a"`. */
export type ObjectId = `${Collection}/${string}`;

const label = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?";
/** Regular expression source of {@link ObjectName}. The schema limits the length. */
export const objectNamePattern = `^${label}(?:\\.${label})*$`;
/** Regular expression source of {@link Uid}. */
export const uidPattern = "^[\\x21-\\x7e]{1,128}$";
/**
 * Regular expression source of {@link InterfaceName}: what the kernel allows, without names that tools could misread.
 */
export const interfaceNamePattern = "^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$";

const objectNameRegex = new RegExp(objectNamePattern);
const interfaceNameRegex = new RegExp(interfaceNamePattern);
const uidRegex = new RegExp(uidPattern);

/** Parses an object's name. `undefined` if it is invalid. */
export function parseObjectName(text: string): ObjectName | undefined {
  return text.length <= 253 && objectNameRegex.test(text) ? (text as ObjectName) : undefined;
}

/** Parses a uid. `undefined` if it is invalid. */
export function parseUid(text: string): Uid | undefined {
  return uidRegex.test(text) ? (text as Uid) : undefined;
}

/** Parses an interface's name. `undefined` if it is invalid. */
export function parseInterfaceName(text: string): InterfaceName | undefined {
  return interfaceNameRegex.test(text) ? (text as InterfaceName) : undefined;
}

/** The loopback, and two words that stand for interfaces in paths of sysctls: the kernel gives no interface these names. */
const reservedInterfaceNames: ReadonlySet<string> = new Set(["lo", "all", "default"]);

/** Why an interface cannot be one of a gateway. `undefined` if it can. */
export function reservedInterface(name: string): string | undefined {
  return reservedInterfaceNames.has(name) ? `${name} is not an interface of a gateway` : undefined;
}

/** Parses the name of an interface that a gateway may have. `undefined` if it is invalid. */
export function parseGatewayInterface(text: string): InterfaceName | undefined {
  return reservedInterface(text) === undefined ? parseInterfaceName(text) : undefined;
}

export function collectionOf(kind: Kind): Collection {
  return `${kind}s`;
}

/** The kind of a collection. `undefined` if the text is not a collection. */
export function kindOfCollection(collection: string): Kind | undefined {
  return kindsByCollection.get(collection);
}

export function objectId(kind: Kind, name: string): ObjectId {
  return `${idPrefix[kind]}${name}`;
}

/** Made once: each id would keep its own copy. */
const idPrefix = Object.fromEntries(kinds.map((kind) => [kind, `${kind}s/`])) as {
  readonly [K in Kind]: `${K}s/`;
};

/** Splits an id. Throws a TypeError for a text that {@link objectId} did not make. */
export function parseObjectId(id: ObjectId): { readonly kind: Kind; readonly name: ObjectName } {
  const slash = id.indexOf("/");
  const kind = kindOfCollection(id.slice(0, slash));
  if (kind === undefined) throw new TypeError(`not an object id: ${id}`);
  return { kind, name: id.slice(slash + 1) as ObjectName };
}
