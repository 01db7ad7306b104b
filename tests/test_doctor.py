"""The checks of a machine: each can end well and otherwise."""

import errno
import json
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from certificates import issued, self_signed, server_tls
from test_cli import earscribe, one_line

from crawler import commands
from crawler.crawl import CrawlConfig
from dataset import doctor
from dataset.doctor import Check, Verdict

OK, WARNING, FAILURE = Verdict.OK, Verdict.WARNING, Verdict.FAILURE
DAY_S = 86_400.0
NOW_S = time.time()


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it costs seconds."""
    real = doctor.package
    monkeypatch.setattr(
        doctor, "package", lambda name: SimpleNamespace() if name == "torch" else real(name)
    )
    monkeypatch.setenv("no_proxy", "*")


def lacking(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages seem not to be installed."""
    real_version, real = doctor.version, doctor.package
    monkeypatch.setattr(
        doctor, "version", lambda name: None if name in names else real_version(name)
    )
    monkeypatch.setattr(
        doctor,
        "package",
        lambda name: f"ImportError: no {name}" if name in names else real(name),
    )


# ---------------------------------------------------------------- the whole


def test_a_machine_without_a_folder_is_looked_at_and_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "corpus"
    code, out, _ = earscribe("doctor", "--data", data, "--contact", "me@example.org", "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["data"]) == (commands.DONE, True, str(data))
    verdicts = {one["name"]: one["verdict"] for one in told["checks"]}
    assert verdicts["data folder"] == verdicts["lock"] == verdicts["PyAV"] == "ok"
    assert list(tmp_path.iterdir()) == []
    assert "site" not in verdicts


def test_no_request_is_made_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object, **named: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    assert doctor.doctor(tmp_path, CrawlConfig(contact="me@example.org"))


def test_a_failure_gives_exit_code_1_and_a_table_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "file").write_text("no folder")
    code, out, _ = earscribe("doctor", "--data", tmp_path / "file")
    assert code == commands.MENDABLE
    assert "failure" in out
    words = [word for line in out.splitlines() if len(line) > 80 for word in line.split()]
    assert len(words) <= 1, "only the folder's own name may be longer"


def test_a_setting_that_is_none_is_one_line() -> None:
    code, _, err = earscribe("doctor", "--ca-bundle")
    assert code == commands.USAGE
    code, _, err = earscribe("doctor", "--config", "/no/file.toml")
    assert (code, "no configuration file" in one_line(err)) == (commands.MENDABLE, True)


# ---------------------------------------------------------------- packages and programs


@pytest.mark.parametrize(
    ("name", "look", "verdict"),
    [
        ("av", doctor.pyav, FAILURE),
        ("soundfile", doctor.soundfile, FAILURE),
        ("yt-dlp", lambda: doctor.downloader(NOW_S), FAILURE),
        ("torch", doctor.torch, OK),
        ("pydub", doctor.pydub, OK),
    ],
)
def test_a_package_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, name: str, look: Callable[[], Check], verdict: Verdict
) -> None:
    lacking(monkeypatch, name)
    found = look()
    assert found.verdict is verdict
    assert "pip install" in found.told or "not needed" in found.told


def test_a_broken_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_one.py").write_text("raise OSError('libfoo.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor.package("broken_one") == "OSError: libfoo.so: no such file"
    assert str(doctor.package("never_made")).startswith("ModuleNotFoundError")
    monkeypatch.setattr(doctor, "package", lambda name: "OSError: libcuda")
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    assert doctor.torch().verdict is FAILURE
    assert doctor.pydub().verdict is WARNING


def test_a_decoder_without_opus_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.pyav().verdict is OK
    few = SimpleNamespace(codecs_available={"flac", "mp3", "aac", "vorbis"})
    monkeypatch.setattr(doctor, "package", lambda name: few)
    found = doctor.pyav()
    assert (found.verdict, "cannot decode opus" in found.told) == (FAILURE, True)


@pytest.mark.parametrize(
    ("body", "verdict", "told"),
    [
        ("echo 'ffmpeg version 7.1 Copyright (c)'", OK, "version 7.1"),
        ("true", OK, "of unknown version"),
        ("exit 1", WARNING, "does not run"),
    ],
)
def test_the_ffmpeg_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, verdict: Verdict, told: str
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    found = doctor.ffmpeg()
    assert (found.verdict, told in found.told) == (verdict, True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor.ffmpeg().verdict is OK


@pytest.mark.parametrize(
    ("known", "days", "verdict"),
    [
        ("2026.01.01", 59, OK),
        ("2026.01.01", 61, WARNING),
        ("2026.01.01.123456", 1, OK),
        ("2026.01.01", -1, OK),
        ("9.9", 1, WARNING),
        ("2026.13.41", 1, WARNING),
    ],
)
def test_an_old_downloader_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, known: str, days: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: known)
    released_s = doctor.release_s("2026.01.01")
    assert released_s is not None
    assert doctor.downloader(released_s + days * DAY_S + 60).verdict is verdict
    assert doctor.clock(released_s + days * DAY_S + 60).verdict is OK


def test_a_clock_before_the_past_fails() -> None:
    assert doctor.clock(NOW_S).verdict is OK
    assert doctor.clock(0.0).verdict is FAILURE


# ---------------------------------------------------------------- the data folder


def test_a_folder_that_cannot_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refused)
    found = doctor.writable(tmp_path)
    assert (found.verdict, "--data" in found.told) == (FAILURE, True)
    assert doctor.lock(tmp_path).verdict is FAILURE


def test_a_folder_within_it_that_cannot_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips").mkdir()
    original = doctor.tempfile.NamedTemporaryFile

    def refused(*, dir: Path, **named: object) -> object:
        if dir.name == "clips":
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(dir=dir, **named)

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refused)
    found = doctor.writable(tmp_path)
    assert (found.verdict, "clips cannot be written" in found.told) == (FAILURE, True)


def test_a_lock_that_keeps_nobody_out_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.lock(tmp_path).verdict is OK
    monkeypatch.setattr(doctor.fcntl, "flock", lambda *given: None)
    found = doctor.lock(tmp_path)
    assert (found.verdict, "does not keep" in found.told) == (FAILURE, True)

    def unsupported(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(doctor.fcntl, "flock", unsupported)
    assert "No locks available" in doctor.lock(tmp_path).told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free_gb", "verdict"), [(50, OK), (5, WARNING), (0.1, FAILURE)])
def test_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gb: float, verdict: Verdict
) -> None:
    usage = SimpleNamespace(free=free_gb * 1e9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage)
    assert doctor.disk(tmp_path / "none").verdict is verdict


def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    whole = doctor.usable_memory(limit)
    for text, expected in (("max\n", whole), ("1000000000\n", 1_000_000_000), ("", whole)):
        limit.write_text(text)
        assert doctor.usable_memory(limit) == expected
    monkeypatch.setattr(doctor, "usable_memory", lambda: 1_000_000_000)
    assert doctor.machine().verdict is WARNING


# ---------------------------------------------------------------- the site


def test_a_crawl_without_a_contact_is_a_warning() -> None:
    assert doctor.contact(CrawlConfig()).verdict is WARNING
    found = doctor.contact(CrawlConfig(contact="me@example.org"))
    assert (found.verdict, "earscribe (+me@example.org)" in found.told) == (OK, True)
    (asked,) = doctor.site(CrawlConfig())
    assert (asked.verdict, "not asked" in asked.told) == (FAILURE, True)


def test_certificates_that_cannot_be_read_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _ = issued(tmp_path)
    assert doctor.certificates(bundle).verdict is OK
    (tmp_path / "text.pem").write_text("no certificate")
    for path in (tmp_path / "none.pem", tmp_path / "text.pem", tmp_path):
        assert doctor.certificates(path).verdict is FAILURE
    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=str(tmp_path / "certs"))
    (tmp_path / "certs").mkdir()
    monkeypatch.setattr(doctor.ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(
        doctor.ssl, "create_default_context", lambda cafile: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    assert "install ca-certificates" in doctor.certificates(None).told
    (tmp_path / "certs" / "0.pem").touch()
    assert doctor.certificates(None).verdict is OK
    (tmp_path / "certs" / "0.pem").unlink()
    (tmp_path / "certs").rmdir()
    assert doctor.certificates(None).verdict is FAILURE


@contextmanager
def answering(
    status: int, date: str | None, context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A site that answers every HEAD so; its address, and what it was asked."""
    asked: list[str] = []

    class Site(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.command} {self.path} {self.headers['User-Agent']}")
            self.send_response_only(status)
            if date is not None:
                self.send_header("Date", date)
            if status in (301, 302):
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *given: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def http_date(off_s: float = 0.0) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + off_s))


@pytest.mark.parametrize(
    ("status", "off_s", "verdicts"),
    [
        (200, 0.0, [OK, OK]),
        (404, 0.0, [OK, OK]),
        (301, 0.0, [OK, OK]),
        (200, 4000.0, [OK, WARNING]),
        (200, -4000.0, [OK, WARNING]),
        (403, 0.0, [WARNING]),
        (503, 0.0, [WARNING]),
    ],
)
def test_the_site_is_asked_once_and_its_clock_is_compared(
    status: int, off_s: float, verdicts: list[Verdict]
) -> None:
    with answering(status, http_date(off_s)) as (address, asked):
        found = doctor.site(CrawlConfig(site=address, contact="me@example.org"))
    assert [one.verdict for one in found] == verdicts
    assert asked == ["HEAD /robots.txt earscribe (+me@example.org)"]


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Foo 20260 00:00:00 GMT"])
def test_a_site_without_a_time_is_a_warning(date: str | None) -> None:
    with answering(200, date) as (address, _):
        _, clock = doctor.site(CrawlConfig(site=address))
    assert clock.verdict is WARNING


def test_a_site_that_is_not_there_or_speaks_no_http_fails(tmp_path: Path) -> None:
    with answering(200, None) as (address, _):
        (found,) = doctor.site(CrawlConfig(site=address.replace("http", "https")))
        assert (found.verdict, "cannot be reached" in found.told) == (FAILURE, True)
    (found,) = doctor.site(CrawlConfig(site=address))
    assert (found.verdict, "cannot be reached" in found.told) == (FAILURE, True)
    (found,) = doctor.site(CrawlConfig(site=address, ca_bundle=tmp_path / "none.pem"))
    assert found.verdict is FAILURE


def test_a_chain_that_nobody_knows_fails_and_its_bundle_mends_it(tmp_path: Path) -> None:
    bundle, secret = issued(tmp_path)
    with answering(200, http_date(), server_tls(secret)) as (address, asked):
        (found,) = doctor.site(CrawlConfig(site=address))
        assert (found.verdict, "--ca-bundle" in found.told) == (FAILURE, True)
        assert asked == []
        first, _ = doctor.site(CrawlConfig(site=address, ca_bundle=bundle))
        assert first.verdict is OK
    with answering(200, http_date(), server_tls(self_signed(tmp_path))) as (address, _):
        (found,) = doctor.site(CrawlConfig(site=address))
        assert "is refused" in found.told


def test_the_command_asks_when_it_is_told_to(tmp_path: Path) -> None:
    with answering(200, http_date()) as (address, asked):
        given = ("--site", address, "--data", tmp_path, "--json")
        assert earscribe("doctor", *given)[0] == commands.DONE
        assert asked == []
        code, out, _ = earscribe("doctor", "--online", *given)
    assert code == commands.DONE
    assert [one["name"] for one in json.loads(out)["checks"]][-2:] == ["site", "site's clock"]
    assert len(asked) == 1
