/**
 * What was committed to nf_tables, by whomever, since somebody last looked. The kernel queues the events on a socket that
 * nobody waits on; they are fetched when they are asked for.
 *
 * INVARIANTS
 * - Nothing counts as complete before a generation was read after the queue was empty: the kernel counts a commit before it
 *   tells of it, so all later ones are told whole.
 * - A loss, a gap, an event that is not understood: what was committed is not known, until it began anew.
 */
import { GatewayError } from "../../lib/model/errors.ts";
import { forEachMessage } from "../../lib/netlink/message.ts";
import { type Commit, CommitReader, commitsSince, isBefore } from "../../lib/nftables/commits.ts";
import { NETLINK_NETFILTER } from "./netlink/connection.ts";
import { messageBytes } from "./netlink/options.ts";
import { type NetlinkSocket, openNetlinkSocket } from "./netlink/socket.ts";

export interface CommitJournal {
  /** Begins anew, with what is committed from now on. Costs little, however much was committed. */
  restart(): void;
  /** To be asked for before the generation is read, and to be told what was read. */
  witness(): (generation: number) => void;
  /** What was committed after `generation`; `undefined` where that is not known. */
  since(generation: number): Commit | undefined;
  /** Nobody will ask for what was committed up to `generation`. */
  forget(generation: number): void;
  /** May be called twice. */
  close(): void;
}

/** The journal of this process's namespace. The socket is opened by the first {@link CommitJournal.restart}. */
export function openCommitJournal(
  open: () => NetlinkSocket = () => openNetlinkSocket(NETLINK_NETFILTER, { groups: nftablesGroup }),
): CommitJournal {
  return new Journal(open);
}

/** NFNLGRP_NFTABLES, 7, as a bit of `nl_groups`. */
const nftablesGroup = 1 << 6;

class Journal implements CommitJournal {
  readonly #open: () => NetlinkSocket;
  readonly #buffer = new Uint8Array(messageBytes);
  #socket: NetlinkSocket | undefined;
  #reader = new CommitReader();
  #commits: readonly Commit[] = [];
  /** Complete after that generation; `undefined` where none was read yet. */
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

  witness(): (generation: number) => void {
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

  /** Throws where something was lost, or is not understood. */
  #fetch(): void {
    const commits = [...this.#commits];
    const view = new DataView(this.#buffer.buffer);
    for (;;) {
      const length = this.#socket?.receive(this.#buffer) ?? -EAGAIN;
      if (length === -EAGAIN) break;
      if (length < 0 || length > this.#buffer.length)
        throw new GatewayError("netlink-failed", `events of nf_tables were lost: ${length}`);
      forEachMessage(view, length, ({ type }, _, start, end) => {
        const commit = this.#reader.read(type, view, start, end);
        if (commit !== undefined) commits.push(commit);
      });
    }
    this.#commits = commits;
  }

  /** Without it all is read where it could have told what. */
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
