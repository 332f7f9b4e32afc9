/** The format between the agent and the script. */
import t from "tap";
import { answerText, argumentsIn, conflict, failure, success } from "../../../../lib/kube-ovn/answer.ts";

t.test("an answer", async (t) => {
  t.equal(answerText(success), "exit 0\n");
  t.equal(answerText(conflict("taken")), "out taken\nexit 1\n");
  t.equal(answerText(failure("one\ntwo\r\n\u0000three")), "err one two three\nexit 1\n", "one line");
});

t.test("arguments", async (t) => {
  t.same(argumentsIn(""), []);
  t.same(argumentsIn("init\0"), ["init"]);
  t.same(argumentsIn("eip-add\0\0 x y\n\0"), ["eip-add", "", " x y\n"]);
  t.same(argumentsIn("eip-add\0cut"), ["eip-add", "cut"]);
});
