/** Gathers the parts of a text into pieces: as much as is made in one turn of the event loop, and sent at once. */

/** Characters of a piece: it ends with the part that reaches them. */
export const pieceLength = 32 * 1024;
/** Parts of a piece, a millisecond's worth however short they are. */
const partsOfPiece = 500;

export interface Piece {
  readonly text: string;
  readonly isLast: boolean;
}

export class Pieces {
  readonly #parts: Iterator<string, unknown, undefined>;

  /** @param parts an empty one ends the piece */
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

  /** Nothing more is wanted. */
  end(): void {
    this.#parts.return?.();
  }
}
