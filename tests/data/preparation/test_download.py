"""Downloads against a server on this machine that misbehaves as real ones do."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from terminal import mmbal

from mmbal.data.datasets import cremad
from mmbal.data.preparation import download as module
from mmbal.data.preparation.download import Item, download
from mmbal.errors import Interrupted, UsageError

BODY = bytes(range(256)) * 2000  # 512,000 bytes


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``faults[path]`` is a list of what to do to its first requests, in turn."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list] = {}
        self.requests: list[tuple[str, str | None]] = []

    def handle_error(self, request, client_address):
        pass  # cut connections are meant

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/media/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path.removeprefix("/media/")
        self.server.requests.append((path, self.headers.get("Range")))
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int) or fault == "later":
            self.send_response(503 if fault == "later" else fault)
            self.send_header("Content-Length", "0")
            if fault in (429, 503, "later"):
                self.send_header("Retry-After", "60" if fault == "later" else "0")
            self.end_headers()
            return
        if path not in self.server.files:
            self.send_error(404)
            return
        body = self.server.files[path]
        start = 0
        if (asked := self.headers.get("Range")) and fault != "ignore range":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        part = body[start:]
        if fault == "wrong bytes":
            part = b"x" * len(part)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part) // 2 if fault == "short" else len(part)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(part[: len(part) // 2] if fault == "short" else part)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def item(name, body=BODY):
    return Item(name, len(body), hashlib.sha256(body).hexdigest())


def test_all_files_come_whole(server, tmp_path):
    names = [f"AudioWAV/{k}.wav" for k in range(20)]
    server.files = {name: BODY + name.encode() for name in names}
    steps = []
    found = download(
        [item(n, server.files[n]) for n in names],
        tmp_path,
        server.url,
        progress=lambda n, total, of: steps.append((n, total)),
    )
    assert found == []
    assert all((tmp_path / name).read_bytes() == body for name, body in server.files.items())
    assert sum(n for n, _ in steps) == steps[0][1] == sum(map(len, server.files.values()))
    assert not list(tmp_path.rglob("*.part"))
    before = len(server.requests)
    assert download([item(n, server.files[n]) for n in names], tmp_path, server.url) == []
    assert len(server.requests) == before  # what is there and right is not asked for again


@pytest.mark.parametrize(
    "faults",
    [
        ["cut"],
        ["short"],
        ["wrong bytes"],
        [429],
        [503],
        [500, "cut", 503],
        ["cut", "ignore range"],
        ["short", "cut"],
        ["cut", 416],
    ],
)
def test_a_fault_is_overcome(server, tmp_path, faults):
    server.files["a.flv"] = BODY
    server.faults["a.flv"] = list(faults)
    assert download([item("a.flv")], tmp_path, server.url, pause=0.01) == []
    assert (tmp_path / "a.flv").read_bytes() == BODY


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.files["a.flv"] = BODY
    (tmp_path / "a.flv.part").write_bytes(BODY[:100_000])
    assert download([item("a.flv")], tmp_path, server.url) == []
    assert server.requests == [("a.flv", "bytes=100000-")]
    assert (tmp_path / "a.flv").read_bytes() == BODY


def test_a_wrong_part_is_thrown_away(server, tmp_path):
    server.files["a.flv"] = BODY
    (tmp_path / "a.flv.part").write_bytes(b"y" * 1000)
    assert download([item("a.flv")], tmp_path, server.url, pause=0.01) == []
    assert (tmp_path / "a.flv").read_bytes() == BODY


def test_what_cannot_be_had_is_a_finding_and_stops_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    server.files = {"good.wav": BODY, "bad.wav": b"not what was published", "busy.wav": BODY}
    server.faults = {"busy.wav": [503] * 9}
    found = download(
        [item(n) for n in ("bad.wav", "busy.wav", "gone.wav", "good.wav")], tmp_path, server.url, pause=0.01
    )
    assert [(f.where, f.kind) for f in found] == [
        ("bad.wav", "download"),
        ("busy.wav", "download"),
        ("gone.wav", "download"),
    ]
    assert "closed after 22 of 512000" in found[0].reason
    assert "503" in found[1].reason
    assert "404" in found[2].reason
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".wav") == ["good.wav"]
    assert [path for path, _ in server.requests].count("gone.wav") == 1  # 404 is final


def test_ctrl_c_waits_for_no_server(server, tmp_path, monkeypatch):
    """One file is there, another is asked for again only in a minute."""
    server.files = {"good.wav": BODY, "busy.wav": BODY}
    server.faults = {"busy.wav": ["later"] * module.ATTEMPTS}

    def interrupt(steps, total, of):
        while not [path for path, _ in server.requests if path == "busy.wav"]:
            pass
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="goes on"):
        download([item("good.wav"), item("busy.wav")], tmp_path, server.url, progress=interrupt)
    assert [path for path, _ in server.requests].count("busy.wav") == 1


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    (found,) = download([item("a.wav")], tmp_path, "http://127.0.0.1:9/")
    assert "connection failed" in found.reason
    with pytest.raises(UsageError, match="not an http"):
        download([item("a.wav")], tmp_path, "file:///etc/")


def test_cremad_is_fetched_and_prepared_in_one_command(server, tmp_path, clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    items = []
    for k, name in enumerate(["1088_IOM_NEU_XX", "1017_IWW_HAP_XX", "1041_TIE_NEU_XX"]):  # the last is of the test list
        for file in (f"AudioWAV/{name}.wav", f"VideoFlash/{name}.flv"):
            made = clip(
                tmp_path / "made" / file, seconds=0.4, rate=16000, tone=300 + 90 * k, audio=file.endswith("wav")
            )
            server.files[file] = made.read_bytes()
            items.append(item(file, server.files[file]))
    monkeypatch.setattr(cremad, "_table", lambda: [*items, Item("AudioWAV/gone.wav", 1, "0" * 64)])
    command = ["prepare", "cremad", "--root", "here", "--download", "--base-url", server.url, "--verify", "--val", "0"]
    result = mmbal(*command, "--size", "16", "--workers", "1", "--json")
    assert result.exit_code == 4, result.output  # four of the six emotions have no clip
    document = json.loads(result.stdout)
    assert document["splits"] == {"train": 2, "test": 1}
    assert [f["where"] for f in document["findings"] if f["kind"] == "download"] == ["AudioWAV/gone.wav"]
    assert not [f for f in document["findings"] if f["kind"] == "changed"]
