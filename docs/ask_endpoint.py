"""Ask an audio language model for the emotion of each utterance of a folder of draws.

Any endpoint that speaks OpenAI's chat completions with audio input will do. The system is
zero-shot: no labelled utterance is shown to it. Each utterance is asked for once with each set of
classes; answers are kept beside the predictions, so that the same command goes on after an
interruption. An answer that names no class, or several, is a refusal: it is counted, and a class is
taken by the hash of the id.

    clser-bench draws --suite bcro --shots 5 --seeds 1 --out draws --audio copy
    OPENAI_API_KEY=... python docs/ask_endpoint.py draws predictions.csv \
        --url https://HOST/v1 --model MODEL
    clser-bench score predictions.csv --draws draws --name MODEL --card system.toml
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROMPT = (
    "Listen to the recording. Which of these emotions does the voice express: {classes}? The "
    "language does not matter. Answer with one of these words and nothing else."
)
TRIES = 4
BUSY = (429, 500, 502, 503, 504)


def ask(url: str, model: str, key: str, audio: bytes, classes: Sequence[str]) -> str:
    """The text that the model answers.

    Args:
        url: of the endpoint, up to `/chat/completions`.
        model: its name there.
        key: of the account; empty for none.
        audio: a WAV file.
        classes: emotions to choose from.

    Raises:
        SystemExit: the endpoint refuses the request, or does not answer after four tries.
    """
    sound = {"data": base64.b64encode(audio).decode("ascii"), "format": "wav"}
    content = [
        {"type": "input_audio", "input_audio": sound},
        {"type": "text", "text": PROMPT.format(classes=", ".join(classes))},
    ]
    body: dict[str, Any] = {
        "model": model,
        "temperature": 0,
        "max_tokens": 16,
        "messages": [{"role": "user", "content": content}],
    }
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(  # noqa: S310 (the user's own address)
        f"{url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers
    )
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return str(json.load(answer)["choices"][0]["message"]["content"] or "")
        except urllib.error.HTTPError as error:
            if error.code not in BUSY:
                raise SystemExit(f"{url}: {error.code} {error.reason}") from error
        except (urllib.error.URLError, TimeoutError):
            pass
        time.sleep(2**attempt)
    raise SystemExit(f"{url}: no answer after {TRIES} tries; the same command goes on later")


def chosen(answer: str, classes: Sequence[str]) -> str:
    """The class that an answer names; empty where it names none or several."""
    named = {word for word in re.findall(r"[a-z]+", answer.lower()) if word in classes}
    return named.pop() if len(named) == 1 else ""


def main(arguments: Sequence[str]) -> None:
    """Ask for every scored row, and write the predictions."""
    parser = argparse.ArgumentParser(description="Ask an endpoint with audio input.")
    parser.add_argument("draws", type=Path, help="folder of `clser-bench draws --audio copy`")
    parser.add_argument("out", type=Path, help="the predictions, CSV")
    parser.add_argument("--url", required=True, help="https://HOST/v1")
    parser.add_argument("--model", required=True)
    options = parser.parse_args(arguments)
    trials = json.loads((options.draws / "draws.json").read_text(encoding="utf-8"))["trials"]
    kept = options.out.with_suffix(".answers.jsonl")
    answers: dict[tuple[str, ...], str] = {}
    if kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            *question, answer = json.loads(line)
            answers[tuple(question)] = answer
    key = os.environ.get("OPENAI_API_KEY", "")
    refusals = 0
    with (
        (options.draws / "draws.csv").open(encoding="utf-8", newline="") as source,
        options.out.open("w", encoding="utf-8", newline="") as sink,
        kept.open("a", encoding="utf-8") as notes,
    ):
        writer = csv.writer(sink)
        writer.writerow(["trial", "id", "emotion"])
        for row in csv.DictReader(source):
            if row["part"] != "scored":
                continue
            classes = trials[row["trial"]]["classes"]
            question = (options.model, row["id"], *classes)
            if question not in answers:
                audio = (options.draws / row["audio"]).read_bytes()
                answers[question] = ask(options.url, options.model, key, audio, classes)
                notes.write(json.dumps([*question, answers[question]]) + "\n")
                notes.flush()
            emotion = chosen(answers[question], classes)
            if not emotion:
                refusals += 1
                number = int(hashlib.sha256(row["id"].encode()).hexdigest(), 16)
                emotion = classes[number % len(classes)]
            writer.writerow([row["trial"], row["id"], emotion])
    print(f"{len(answers)} answers; {refusals} of the rows are refusals", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
