"""The parser in a process of its own: the next request need not wait, and no page hangs a crawl."""

import asyncio
import contextlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from crawler.pages import Selectors
from crawler.pagestore import store_page
from crawler.pipelines import Fetched, Outcome, failed, failure, known, read_page

START_S = 60.0  # for the process to begin
PIPE = 2**15  # bytes of a page that a pipe takes whatever its reader does
ROOT = Path(__file__).parent.parent  # where `python -m crawler.reader` finds the package


class Reader:
    """Reads pages in another process, one at a time; the process ends with ours, however.

    A page that takes longer than `limit_s`, or that ends the process twice, fails alone.
    """

    def __init__(
        self,
        data: Path,
        video_url: str,
        selectors: Selectors,
        limit_s: float,
        *,
        synced: bool = True,
    ) -> None:
        self._settings = data.absolute(), video_url, selectors, synced
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._ended = ""  # how the process ended when it did not answer

    def start(self) -> None:
        """Begin the process, so that it is ready when the first page comes."""
        # In a session of its own: Ctrl-C is for us, who finish the page in hand.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crawler.reader"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._ready = False
        self._send(self._settings)

    async def judge(self, fetched: Fetched) -> Outcome:
        """What `judge` says of a page, or a failure when it says nothing in time.

        Others may run meanwhile, but none that asks too.
        """
        if reason := failure(fetched):
            passing = {"passing": True} if fetched.passing else {}
            return failed(*reason, {"fetched_s": fetched.started_s, **passing})
        answer = await self._asked(fetched) or await self._asked(
            fetched
        )  # the first end may be no page's
        if isinstance(answer, Exception):
            raise answer
        if answer and answer.result:
            return answer
        passing = {} if answer else {"passing": True}
        answer = answer or failed("parser", f"the parser's process ended twice, {self._ended}")
        self.close()
        store_page(self._settings[0], fetched.body)
        return replace(answer, result={**known(fetched), **passing})

    async def _asked(self, fetched: Fetched) -> Outcome | Exception | None:
        """What the process says of a page, None when it ended instead."""
        if self._process is None:
            self.start()
        try:
            if not await self._is_ready():
                return failed("timeout", f"the parser did not start within {START_S:g} s")
            if not await self._sent(fetched):
                return failed("timeout", f"the parser took no page within {self._limit_s:g} s")
            return await self._answer()
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            assert self._process, "the process was started"
            self._process.kill()  # after half an answer it may still be there
            self._ended = f"with {self._process.wait()}"
            self.close()
            return None

    async def _is_ready(self) -> bool:
        """Whether the process has started, which is no part of a page's time."""
        assert self._process and self._process.stdout, "the process is started with pipes"
        if not self._ready and await _speaks(self._process.stdout, START_S):
            self._ready = pickle.load(self._process.stdout)
        return self._ready

    async def _sent(self, fetched: Fetched) -> bool:
        """Hand over a page; whether that was possible in time.

        The pipe is empty, so that a small page goes in at once; a larger one must be taken.
        """
        if len(fetched.body) < PIPE:
            self._send(fetched)
            return True
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(None, self._send, fetched)
        done, _ = await asyncio.wait([sending], timeout=self._limit_s)
        if done:
            sending.result()
            return True
        self.close()  # which ends the sending too
        with contextlib.suppress(BrokenPipeError, OSError):
            await sending
        return False

    def _send(self, value: Any) -> None:
        assert self._process and self._process.stdin, "the process is started with pipes"
        pickle.dump(value, self._process.stdin)
        self._process.stdin.flush()

    async def _answer(self) -> Outcome | Exception:
        assert self._process and self._process.stdout, "the process is started with pipes"
        if not await _speaks(self._process.stdout, self._limit_s):
            return failed("timeout", f"reading the page took longer than {self._limit_s:g} s")
        answer: Outcome | Exception = pickle.load(self._process.stdout)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


async def _speaks(pipe: IO[bytes], limit_s: float) -> bool:
    """Whether something comes through a pipe in time."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe, came.set)
    try:
        await asyncio.wait_for(came.wait(), limit_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pipe)
    return True


def judge(
    fetched: Fetched, data: Path, video_url: str, selectors: Selectors, synced: bool
) -> Outcome:
    """Store the body of a page and read it; the outcome is what the ledger is told."""
    store_page(data, fetched.body, synced=synced)
    return read_page(fetched.text, known(fetched), video_url, selectors)


def main() -> None:
    """Answer pages from standard input until it ends."""
    settings: Any = pickle.load(sys.stdin.buffer)
    _reply(True)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            fetched: Fetched = pickle.load(sys.stdin.buffer)
            answer: Outcome | Exception
            try:
                answer = judge(fetched, *settings)
            except Exception as error:  # noqa: BLE001 - raised again by the process that asked
                answer = error
            _reply(answer)


def _reply(value: Any) -> None:
    pickle.dump(value, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
