"""`hilum serve` as a process: it says where it is, answers, and ends with Ctrl-C and all its children."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from hilum.web.server import bound, welcome
from hilum.web.settings import Settings
from tests.web.uploads import png

COMMAND = [sys.executable, "-c", "from hilum.cli import main; main()", "serve"]


def test_it_says_where_it_is_answers_and_ends(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--token", "swordfish"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        place = re.match(r"http://127\.0\.0\.1:\d+/", line)
        assert place, line
        body = None
        while body is None and process.poll() is None:
            try:
                headers = {"Content-Type": "image/png", "Authorization": "Bearer swordfish"}
                body = json.load(urlopen(Request(place[0] + "v1/predict", png(), headers)))
            except URLError:
                time.sleep(0.2)
        assert body["model"]["name"] == "packaged"
        assert list(tmp_path.glob("hilum-serve-*"))
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "swordfish" not in line + rest and "Traceback" not in rest
    assert not list(tmp_path.glob("hilum-serve-*"))  # the decoding processes have tidied up


def test_mistakes_are_one_sentence(hilum) -> None:
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        answer = hilum("serve", "--port", port)
        assert answer.code == 2 and f"127.0.0.1:{port} can't be used (Address already in use)" in answer.err
    for words, sentence in (
        (("no-run",), "run folder no-run does not exist"),
        (("--runs", "nowhere"), "--runs nowhere is no folder"),
        (("--tls-key", "key.pem"), "--tls-key needs --tls-certificate"),
        (("--host", "no.such.host.invalid"), "can't be used"),
    ):
        answer = hilum("serve", "--port", 0, *words)
        assert answer.code == 2 and sentence in answer.err and "Traceback" not in answer.err


def test_a_token_is_shown_once_and_only_when_it_is_new() -> None:
    wide = Settings(host="0.0.0.0", token="swordfish")
    assert welcome(wide, show_token=True)[1] == "Token, shown once: swordfish"
    assert not any("swordfish" in line for line in welcome(wide))
    assert any("not encrypted" in line for line in welcome(wide))
