/** Comments as nft stores them in the user data of rules and elements: tag 0, length, text with a NUL. */

export function commentData(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(`${text}\0`);
  return Uint8Array.of(0, bytes.length, ...bytes);
}

/** The inverse of {@link commentData}. `undefined`: the user data is something else. */
export function readComment(view: DataView, start: number, end: number): string | undefined {
  if (end - start < 3 || view.getUint8(start) !== 0) return undefined;
  const last = start + 1 + view.getUint8(start + 1);
  if (last !== end - 1 || view.getUint8(last) !== 0) return undefined;
  let text = "";
  for (let at = start + 2; at < last; at++) text += String.fromCharCode(view.getUint8(at));
  return text;
}
