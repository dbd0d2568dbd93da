"""The student: a small model served inside Triton's Python backend, decoupled, with its engine behind one seam.

The wire, the same for every engine. The model's name is the task's; its versions are 1, 2, 3 and so on.
`deploy/triton/config.pbtxt` declares it; `max_batch_size` is 0, so that no shape has a batch dimension.

    input        type    shape  meaning
    text_input   BYTES   [1]    the exact prompt, UTF-8; no special token is added
    max_tokens   INT32   [1]    optional: tokens of the answer, at most; the limit of student.json if absent
    temperature  FP32    [1]    optional: 0 (greedy, the default) to 2
    top_p        FP32    [1]    optional: above 0, to 1 (the default); only with a temperature above 0
    seed         UINT64  [1]    optional: makes a draw repeatable
    stop         BYTES   [-1]   optional: texts that end the answer, beside those of student.json; not in the answer
    stream       BOOL    [1]    optional: many responses with a piece each, or (the default) one with everything
    partial      BYTES   [1]    optional: the beginning of the answer, which another gave: it goes on from there
    cancel       BYTES   [1]    optional: the id of a request to stop; all else in this one is unread

    output             type   shape  meaning
    text_output        BYTES  [1]    the text since the previous response, whole UTF-8 characters only
    logprobs           FP32   [-1]   log-probabilities, 0 or less, of the tokens since the previous response
    finish_reason      BYTES  [1]    empty while going on, then `stop`, `length` or `cancelled`
    prompt_tokens      INT32  [1]    tokens of the prompt
    completion_tokens  INT32  [1]    tokens of the answer so far, the ending one among them: the number of logprobs sent

The last response carries the final flag. An error is the request's last response and touches no other request; its
text starts with the field at fault (`max_tokens: 900 is above the limit 512`), with `overloaded: ` or with `engine: `.

An encoder answers in one response, of a stream, too, and draws nothing: temperature, top_p and seed change nothing. Its
tokens are the words of its answer, each with the log-probability of its tag, and a last one for all words that are no
part of it, with the least of theirs; a label is one token. So the least log-probability is its least certain decision.

After `partial` only what is new is sent, with the log-probabilities of that. `prompt_tokens` counts it, as it was read,
`completion_tokens` does not, and it takes its tokens from `max_tokens`. It is best cut where a word ends: within one
the student reads other tokens than it would have written. An encoder refuses it by name.

A client that wants no more of a request, and goes on with its stream, sends another one of the same model and version
with `cancel` and an empty `text_input`. It has no response; the one that was named ends soon as `cancelled`. The ids of
requests are the client's to make, so they should be long enough that no other client has the same. A request's
parameter `timeout`, in microseconds, ends it, too. A client that ends its stream cancels all that is on it. It should
have read the last response, or the error, of each before: Triton 24.10 may keep a request for ever, and with it the
model's memory, if it is cancelled just then.

A version's directory holds `model.py` (`from services.student.model import TritonPythonModel`), `student.json`
(`config.Student`), `tokenizer.json`, `config.json` and the engine's own files.
"""
