/** Collects the parts of a text into pieces. A piece is generated in one turn of the event loop and sent at once. */

/** Characters per piece. A piece ends with the part that reaches this number. */
export const pieceLength = 32 * 1024;
/** Maximum parts per piece: a millisecond of work, however short they are. */
const partsOfPiece = 500;

export interface Piece {
  readonly text: string;
  readonly isLast: boolean;
}

export class Pieces {
  readonly #parts: Iterator<string, unknown, undefined>;

  /** @param parts an empty part ends the piece */
  constructor(parts: Iterable<string>) {
    this.#parts = parts[Symbol.iterator]();
  }

  next(): Piece {
    let text = "";
    for (let count = 0; count < partsOfPiece && text.length < pieceLength; count++) {
      const { done, value } = this.#parts.next();
      if (done) return { text, isLast: true };
      if (value === "") break;
      text += value;
    }
    return { text, isLast: false };
  }

  /** No more pieces are needed. */
  end(): void {
    this.#parts.return?.();
  }
}
