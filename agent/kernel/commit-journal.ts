/**
 * The commits to nf_tables by any process since a given time. The kernel queues the events on a socket; they are
 * fetched when a caller asks.
 *
 * INVARIANTS
 * - The journal counts as complete only from a generation that was read after the queue was empty. The kernel raises
 *   the generation before it sends the event, so all later commits are reported completely.
 * - After a loss, a gap or an unknown event, the commits are unknown until the journal is restarted.
 */
import { GatewayError } from "../../lib/model/errors.ts";
import { forEachMessage } from "../../lib/netlink/message.ts";
import { type Commit, CommitReader, commitsSince, isBefore } from "../../lib/nftables/commits.ts";
import { NETLINK_NETFILTER } from "./netlink/connection.ts";
import { messageBytes } from "./netlink/options.ts";
import { type NetlinkSocket, openNetlinkSocket } from "./netlink/socket.ts";

export interface CommitJournal {
  /** Restarts the journal from now. Cheap, however many events are queued. */
  restart(): void;
  /** Call it before reading the generation, and call the returned function with that generation. */
  beginReading(): (generation: number) => void;
  /** The commits after `generation`. `undefined` if they are not known. */
  since(generation: number): Commit | undefined;
  /** Commits up to `generation` are no longer needed. */
  forget(generation: number): void;
  /** Can be called twice. */
  close(): void;
}

/** The journal of this process's network namespace. The first {@link CommitJournal.restart} opens the socket. */
export function openCommitJournal(
  open: () => NetlinkSocket = () => openNetlinkSocket(NETLINK_NETFILTER, { groups: nftablesGroup }),
): CommitJournal {
  return new Journal(open);
}

/** NFNLGRP_NFTABLES (7) as a bit of `nl_groups`. */
const nftablesGroup = 1 << 6;

class Journal implements CommitJournal {
  readonly #open: () => NetlinkSocket;
  readonly #buffer = new Uint8Array(messageBytes);
  #socket: NetlinkSocket | undefined;
  #reader = new CommitReader();
  #commits: readonly Commit[] = [];
  /** The journal is complete after this generation. `undefined` before one was read. */
  #from: number | undefined;
  #restarts = 0;

  constructor(open: () => NetlinkSocket) {
    this.#open = open;
  }

  restart(): void {
    this.#restarts++;
    this.#from = undefined;
    this.#commits = [];
    this.#reader = new CommitReader();
    this.#socket ??= this.#tryOpen();
    let length: number;
    do length = this.#socket?.receive(this.#buffer) ?? -EAGAIN;
    while (length > 0 || length === -ENOBUFS);
    if (length !== -EAGAIN) this.close();
  }

  beginReading(): (generation: number) => void {
    const restarts = this.#restarts;
    return (generation) => {
      if (this.#socket !== undefined && restarts === this.#restarts) this.#from ??= generation;
    };
  }

  since(generation: number): Commit | undefined {
    this.forget(generation);
    if (this.#from === undefined || isBefore(generation, this.#from)) return undefined;
    return commitsSince(generation, this.#commits);
  }

  forget(generation: number): void {
    if (this.#from === undefined) return;
    try {
      this.#fetch();
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.close();
    }
    this.#commits = this.#commits.filter((commit) => isBefore(generation, commit.generation));
    if (this.#from !== undefined && isBefore(this.#from, generation)) this.#from = generation;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#from = undefined;
  }

  /** Throws if an event was lost or is unknown. */
  #fetch(): void {
    const commits = [...this.#commits];
    const view = new DataView(this.#buffer.buffer);
    for (;;) {
      const length = this.#socket?.receive(this.#buffer) ?? -EAGAIN;
      if (length === -EAGAIN) break;
      if (length < 0 || length > this.#buffer.length)
        throw new GatewayError("netlink-failed", `nf_tables events were lost: ${length}`);
      forEachMessage(view, length, ({ type }, _, start, end) => {
        const commit = this.#reader.read(type, view, start, end);
        if (commit !== undefined) commits.push(commit);
      });
    }
    this.#commits = commits;
  }

  /** If the socket cannot be opened, full readings replace the journal. */
  #tryOpen(): NetlinkSocket | undefined {
    try {
      return this.#open();
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return undefined;
    }
  }
}

const EAGAIN = 11;
const ENOBUFS = 105;
