/** The dependencies of the API. The composition root provides them. */
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import type { ApiGuard } from "../../lib/model/api-guard.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { Endpoint } from "../config/values.ts";
import type { TlsFiles } from "../config.ts";
import type { Doctor } from "../status/doctor.ts";
import type { StateAccess } from "../store/state-access.ts";
import type { PlaceLimits } from "./answers/places.ts";
import type { Answers } from "./answers.ts";
import type { AuditPort, AuditTrail } from "./audit.ts";
import type { BodyLimits } from "./bounds/bodies.ts";
import type { ConnectionLimits } from "./bounds/connections.ts";
import type { FailureLimits } from "./bounds/failures.ts";
import type { ReaderLimits, ReaderObserver } from "./events/readers.ts";
import type { PageFile } from "./page.ts";
import type {
  BoardPort,
  ClockPort,
  DiagnosticsPort,
  EventsPort,
  FlowsPort,
  ReconcilerPort,
} from "./ports.ts";

export interface ApiDeps {
  readonly state: StateAccess;
  readonly board: BoardPort;
  readonly reconciler: ReconcilerPort;
  readonly events: EventsPort;
  readonly audit: AuditPort;
  /** Is told of the readers of events. */
  readonly eventReaders: ReaderObserver;
  readonly diagnostics: DiagnosticsPort;
  readonly flows: FlowsPort;
  readonly doctor: Doctor;
  readonly clock: ClockPort;
  readonly metrics: Pick<Registry, "metrics" | "contentType">;
  /** Called for every answer. `route` is the pattern and never the URL, so its values are bounded. */
  readonly observeRequest: (route: string, code: number, seconds: number) => void;
  /** Who may reach the TCP ports. Absent: whoever can. */
  readonly guard?: ApiGuard & {
    /** Makes the kernel keep all others away. Throws if it does not; then the ports are not opened. */
    readonly ensure: () => Promise<void>;
  };
  /** Called with the end of the certificate's validity, in seconds since 1970, whenever one is put in force. */
  readonly onCertificate?: (notAfterSeconds: number) => void;
  readonly log: Logger;
  readonly version: string;
  /** The status page. Absent: there is none. */
  readonly page?: readonly PageFile[];
  readonly settings: ApiSettings;
}

export interface ApiSettings {
  readonly socketPath: string;
  readonly listen: readonly Endpoint[];
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** `GATEWAY_V4`: the default gateway, used if the desired set gives none. */
  readonly fallbackGateway: Ip | undefined;
  readonly tokenFile: string | undefined;
  readonly tls: TlsFiles | undefined;
  /** Users that may use the Unix socket. */
  readonly socketUids: ReadonlySet<number>;
  /** Whether `/metrics` is answered without credentials. */
  readonly metricsAccess: "open" | "read";
  /** In place of the usual limits. */
  readonly bodies?: Partial<BodyLimits>;
  readonly connections?: Partial<ConnectionLimits>;
  readonly places?: Partial<PlaceLimits>;
  readonly failures?: Partial<FailureLimits>;
  readonly readers?: Partial<ReaderLimits>;
  /** Interval between attempts to guard the ports, in ms. */
  readonly guardRetryMs?: number;
  readonly rateLimit?: { readonly max: number; readonly windowMs: number };
  /** Interval between checks for renewed certificates, in ms. */
  readonly certificateRecheckMs?: number;
  /** How long a stop waits for answers in progress, in ms. */
  readonly drainMs?: number;
}

/** What a route needs: the dependencies, how to send long answers, and a signal that aborts when the API stops. */
export interface RouteContext extends ApiDeps {
  readonly answers: Answers;
  readonly trail: AuditTrail;
  readonly stopping: AbortSignal;
  /** Calls `listener` whenever credentials changed: who was admitted before may have to go. */
  readonly onRevoked: (listener: () => void) => void;
}
