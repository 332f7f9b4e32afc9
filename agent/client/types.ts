/** The types of requests and answers, derived from the generated types of the OpenAPI document. */
import type { components, paths } from "./openapi.d.ts";

export type Method = "get" | "put" | "post" | "delete";

/** A schema of the document by its name: `Schema<"Eip">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];
export type Problem = Schema<"Problem">;

/** An object of any kind, also of one that only a newer agent knows. */
export type ObjectDocument = Omit<Schema<"AnyObject">, "kind" | "spec"> & {
  readonly kind: string;
  readonly spec: Readonly<Record<string, unknown>>;
};

/** A list of any kind. */
export interface ObjectList {
  readonly items: readonly ObjectDocument[];
  readonly revision?: number;
  /** Where a watch goes on without a gap. Absent from an older agent. */
  readonly eventId?: string;
}

/** The paths that serve a method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends { readonly [K in M]: object } ? P : never;
}[keyof paths];

type Operation<M extends Method, P extends keyof paths> = paths[P] extends { readonly [K in M]: infer O }
  ? O
  : never;

/** `never` if the operation has no parameters there. */
type Parameters<O, In extends string> = O extends { readonly parameters: { readonly [K in In]?: infer T } }
  ? Exclude<T, undefined> extends never
    ? never
    : Exclude<T, undefined>
  : never;

/** A member that is required if one of its own members is, and absent if there is nothing to give. */
type Member<Name extends string, T> = [T] extends [never]
  ? { readonly [K in Name]?: never }
  : object extends T
    ? { readonly [K in Name]?: T }
    : { readonly [K in Name]: T };

type BodyOf<O> = O extends { readonly requestBody: { readonly content: infer C } } ? C[keyof C] : never;

/** What every request may have. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Until the whole answer is there, in ms. By default 30 s more than the `wait` of the query. */
  readonly timeoutMs?: number;
}

/** What a request needs: its parameters and its body, as the document has them. */
export type RequestOptions<M extends Method, P extends keyof paths> = CallOptions &
  Member<"path", Parameters<Operation<M, P>, "path">> &
  Member<"query", Parameters<Operation<M, P>, "query">> &
  Member<"header", Parameters<Operation<M, P>, "header">> &
  Member<"body", BodyOf<Operation<M, P>>>;

/** The last argument of a request. It can be left out if nothing in it is required. */
export type RequestArguments<M extends Method, P extends keyof paths> =
  object extends RequestOptions<M, P> ? [options?: RequestOptions<M, P>] : [options: RequestOptions<M, P>];

interface Facts {
  /** The revision of the desired set: the entity tag without its quotes. Absent if the answer has none. */
  readonly revision?: number;
  /** How long to wait before the next try, in seconds. */
  readonly retryAfter?: number;
}

/** JSON, if the operation has it: the client asks for it. */
type ContentOf<R> = R extends { readonly content: infer C }
  ? C extends { readonly "application/json": infer J }
    ? J
    : C extends undefined
      ? undefined
      : C[keyof C]
  : undefined;

type IsFailure<Status extends number> = `${Status}` extends `4${string}` | `5${string}` ? true : false;

type SuccessOf<Responses> = {
  [Status in keyof Responses & number]: IsFailure<Status> extends true
    ? never
    : Facts & {
        readonly ok: true;
        readonly status: Status;
        /** `undefined` if the answer has no content. */
        readonly body: [ContentOf<Responses[Status]>] extends [never]
          ? undefined
          : ContentOf<Responses[Status]>;
      };
}[keyof Responses & number];

/** A refusal or a failure: every status that the operation does not list. */
export interface Refusal extends Facts {
  readonly ok: false;
  readonly status: number;
  readonly problem: Problem;
}

/** The answer to a request. `ok` says whether it is one of the operation's own answers or a problem. */
export type Reply<M extends Method, P extends keyof paths> =
  | (Operation<M, P> extends { readonly responses: infer R } ? SuccessOf<R> : never)
  | Refusal;
