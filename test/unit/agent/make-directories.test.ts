/** Directories are made as by `mkdir -p`, and it ends where none can be made. */
import { mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { makeDirectories } from "../../../agent/make-directories.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const root = temporaryDirectory("directories");

t.test("the first one that was made is told", async (t) => {
  t.equal(await makeDirectories(root), undefined);
  t.equal(await makeDirectories(join(root, "a/b/c"), 0o700), join(root, "a"));
  t.equal(statSync(join(root, "a/b/c")).mode & 0o777, 0o700);
  t.equal(await makeDirectories(join(root, "a/b/c")), undefined);
  t.equal(await makeDirectories(join(root, "a/b/d")), join(root, "a/b/d"));
  mkdirSync(join(root, "real"));
  symlinkSync(join(root, "real"), join(root, "link"));
  t.equal(await makeDirectories(join(root, "link/below")), join(root, "link/below"));
});

t.test("what cannot be made is an error", async (t) => {
  writeFileSync(join(root, "file"), "");
  symlinkSync(join(root, "nowhere"), join(root, "dangling"));
  await t.rejects(makeDirectories(join(root, "file")), { code: "EEXIST" });
  await t.rejects(makeDirectories(join(root, "file/below")), { code: "ENOTDIR" });
  await t.rejects(makeDirectories(join(root, "dangling/below")), { code: "ENOENT" });
  await t.rejects(makeDirectories("/proc/nowhere/below"), { code: "ENOENT" });
});
