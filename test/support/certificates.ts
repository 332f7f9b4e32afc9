/** Certificates for tests of TLS, made by openssl. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { plantKey } from "./secrets.ts";

export interface Pair {
  /** Files. */
  readonly cert: string;
  readonly key: string;
  readonly certPem: string;
  readonly keyPem: string;
}

export function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes certificates in a directory. Without an issuer one signs itself, and can sign others.
 * `alternativeName` is openssl's: `DNS:a.example`.
 */
export function certificates(directory: string) {
  return (name: string, issuer?: Pair, alternativeName?: string): Pair => {
    const cert = join(directory, `${name}.crt`);
    const key = join(directory, `${name}.key`);
    const options = [
      ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"],
      ...["-subj", `/CN=${name}`, "-keyout", key, "-out", cert],
      ...(issuer === undefined ? [] : ["-CA", issuer.cert, "-CAkey", issuer.key]),
      ...(alternativeName === undefined ? [] : ["-addext", `subjectAltName=${alternativeName}`]),
    ];
    execFileSync("openssl", ["req", "-x509", ...options], { stdio: "ignore" });
    const keyPem = readFileSync(key, "utf8");
    plantKey(keyPem);
    return { cert, key, certPem: readFileSync(cert, "utf8"), keyPem };
  };
}
