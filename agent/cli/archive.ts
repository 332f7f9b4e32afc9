/** A .tgz of small files: POSIX.1-1988 headers (ustar), compressed with gzip. */
import { gzipSync } from "node:zlib";

export interface ArchiveFile {
  /** At most 100 ASCII characters. */
  readonly name: string;
  readonly content: string;
}

const blockBytes = 512;

/** @param seconds the time of the files, since 1970 */
export function archive(files: readonly ArchiveFile[], seconds: number): Buffer {
  const blocks = files.flatMap(({ name, content }) => {
    const body = Buffer.from(content, "utf8");
    const padding = Buffer.alloc((blockBytes - (body.length % blockBytes)) % blockBytes);
    return [header(name, body.length, seconds), body, padding];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]));
}

function header(name: string, length: number, seconds: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  block.write(name.slice(0, 100), 0, "latin1");
  block.write(octal(0o600, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(length, 11), 124);
  block.write(octal(seconds, 11), 136);
  // The checksum counts its own field as spaces.
  block.fill(" ", 148, 156);
  block.write("0", 156);
  block.write("ustar\0", 257, "latin1");
  block.write("00", 263);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
