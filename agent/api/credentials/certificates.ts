/** The certificate of the TLS listeners, its key, and the CAs of client certificates. */
import { constants, createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { ServerOptions } from "node:https";
import { createSecureContext } from "node:tls";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { TlsFiles } from "../../config.ts";

/** What TLS listeners use. */
export interface TlsContext {
  readonly options: ServerOptions;
  /** When the certificate ends, in seconds since 1970. */
  readonly notAfterSeconds: number;
  /** The CAs of client certificates; `undefined`: clients need none. */
  readonly authority: string | undefined;
}

/** A session that goes on by its ticket would not be checked against the CA of now. */
const secureOptions = constants.SSL_OP_NO_TICKET;

/**
 * Reads certificate, key and CA. Client certificates are requested but checked per request, so that a kubelet's probe,
 * which has none, still gets its answer.
 *
 * @throws `bad-config` with the setting and its file, if one is not whole or they do not match
 */
export async function readTls({ certFile, keyFile, clientCaFile }: TlsFiles): Promise<TlsContext> {
  const [cert, key, ca] = await Promise.all([
    parsedFile("NATGW_TLS_CERT_FILE", certFile, certificatesIn),
    parsedFile("NATGW_TLS_KEY_FILE", keyFile, privateKeyIn),
    clientCaFile === undefined
      ? undefined
      : parsedFile("NATGW_TLS_CLIENT_CA_FILE", clientCaFile, certificatesIn),
  ]);
  const [certificate] = cert.value;
  if (!certificate.checkPrivateKey(key.value))
    throw invalidFile("NATGW_TLS_KEY_FILE", keyFile, "the key does not match the certificate");
  const pems = { cert: cert.text, key: key.text, ca: ca?.text };
  try {
    createSecureContext(pems);
  } catch (cause) {
    throw invalidFile("NATGW_TLS_CERT_FILE", certFile, messageOf(cause), cause);
  }
  const clients = ca === undefined ? {} : { ca: ca.text, requestCert: true, rejectUnauthorized: false };
  return {
    options: {
      cert: cert.text,
      key: key.text,
      minVersion: "TLSv1.2",
      handshakeTimeout: 10_000,
      secureOptions,
      ...clients,
    },
    notAfterSeconds: Date.parse(certificate.validTo) / 1_000,
    authority: ca?.text,
  };
}

type Certificates = readonly [X509Certificate, ...(readonly X509Certificate[])];

/** Node leaves out what it cannot read of CAs: half a file would lock out the clients of the other half. */
function certificatesIn(text: string): Certificates {
  const begun = text.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/g)?.length ?? 0;
  const pems = text.match(/-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----[^-]*-----END \1-----/g) ?? [];
  if (begun > pems.length) throw new Error("a certificate has no end");
  const [first, ...others] = pems.map(certificateIn);
  if (first === undefined) throw new Error("the file holds no certificate in PEM");
  return [first, ...others];
}

function certificateIn(pem: string, index: number): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new Error(`certificate ${index + 1} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function privateKeyIn(text: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw new Error(`the file holds no private key in PEM that can be read: ${messageOf(cause)}`, { cause });
  }
}

async function parsedFile<T>(
  setting: string,
  path: string,
  parse: (text: string) => T,
): Promise<{ readonly text: string; readonly value: T }> {
  try {
    const text = await readFile(path, "latin1");
    return { text, value: parse(text) };
  } catch (cause) {
    throw invalidFile(setting, path, messageOf(cause), cause);
  }
}

function invalidFile(setting: string, path: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError("bad-config", `${setting}: ${path}: ${why}`, { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
