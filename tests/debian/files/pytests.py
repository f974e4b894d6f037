#!/usr/bin/python3
"""Runs a module of Python's own test suite and prints a line for each test: PASS:, FAIL: or SKIPPED:, then its name.

The tests run in a process of their own, which says over a pipe what it is at. A test that hangs or takes the process
down has failed; a fresh process goes on behind it. What a failed test said follows its line.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time

# No test of the modules that are run takes a tenth of this without a fault.
LIMIT_S = int(os.environ.get("PYTESTS_LIMIT_S", "150"))
MOST_DEATHS = 12
SHOWN = 1500


def flat(suite):
    for test in suite:
        try:
            yield from flat(test)
        except TypeError:
            yield test


def child(module, fd, done_file, only):
    import faulthandler
    import traceback
    import unittest

    from test import support

    faulthandler.enable()
    support.use_resources = ()
    with open(done_file) as file:
        done = set(file.read().split("\n"))

    def say(word, test, detail=""):
        line = f"{word} {test.id()} {detail.encode()[-SHOWN:].hex()}\n"
        os.write(fd, line.encode())

    class Result(unittest.TestResult):
        def startTest(self, test):
            super().startTest(test)
            self.verdict, self.words = "PASS", ""
            say("START", test)

        def stopTest(self, test):
            super().stopTest(test)
            say(self.verdict, test, self.words)

        def fail(self, error):
            self.verdict = "FAIL"
            self.words += "".join(traceback.format_exception(*error))

        def addError(self, test, error):
            super().addError(test, error)
            self.fail(error)
            if not isinstance(test, unittest.TestCase):
                say("FAIL", test, self.words)

        def addFailure(self, test, error):
            super().addFailure(test, error)
            self.fail(error)

        def addSubTest(self, test, subtest, error):
            super().addSubTest(test, subtest, error)
            if error is not None:
                self.fail(error)

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            if isinstance(test, unittest.TestCase) and self.verdict == "PASS":
                self.verdict, self.words = "SKIPPED", reason
            elif not isinstance(test, unittest.TestCase):
                say("SKIPPED", test, reason)

        def addUnexpectedSuccess(self, test):
            super().addUnexpectedSuccess(test)
            self.verdict, self.words = "FAIL", "unexpected success"

    loaded = unittest.defaultTestLoader.loadTestsFromName("test." + module)
    tests = [test for test in flat(loaded) if test.id() not in done and only in test.id()]
    unittest.TestSuite(tests).run(Result())
    os.write(fd, b"END\n")


class Lines:
    """Lines of a pipe, each awaited for a limited time. None: too late; empty: the end."""

    def __init__(self, fd):
        self.fd, self.held = fd, b""

    def next(self, limit_s):
        deadline = time.monotonic() + limit_s
        while b"\n" not in self.held:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return None
            more = os.read(self.fd, 65536)
            if not more:
                return ""
            self.held += more
        line, self.held = self.held.split(b"\n", 1)
        return line.decode()


def show(module, word, name, detail):
    name = name.removeprefix(f"test.{module}.").replace(" ", "_")
    print(f"{word if word != 'SKIP' else 'SKIPPED'}: {name}", flush=True)
    if word == "FAIL" and detail:
        print(detail.strip(), flush=True)


def once(module, done, only):
    """Runs what is not done; answers whether that was all."""
    with tempfile.TemporaryDirectory() as folder:
        done_file, log = f"{folder}/done", f"{folder}/log"
        with open(done_file, "w") as file:
            file.write("\n".join(done))
        work = os.path.join(folder, "work")
        os.mkdir(work)
        read, write = os.pipe()
        arguments = [sys.executable, os.path.abspath(__file__), "--child", module, str(write), done_file, only]
        with open(log, "w") as out:
            process = subprocess.Popen(
                arguments, pass_fds=[write], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=work,
                start_new_session=True)
        os.close(write)
        lines, current, ended = Lines(read), None, ""
        while True:
            line = lines.next(LIMIT_S)
            if not line:
                ended = "it died" if line == "" else f"nothing for {LIMIT_S} s"
                break
            word, *rest = line.split(" ")
            if word == "END":
                break
            name, detail = " ".join(rest[:-1]), bytes.fromhex(rest[-1]).decode(errors="replace")
            if word == "START":
                current = name
            else:
                done.append(name)
                current = None
                show(module, word, name, detail)
        if ended and line is None:
            # Python shows what each thread is at.
            process.send_signal(signal.SIGABRT)
            time.sleep(1)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        status = process.wait()
        os.close(read)
        if not ended:
            return True
        with open(log, errors="replace") as file:
            said = file.read()[-SHOWN:]
        show(module, "FAIL", current or "(outside_of_tests)", f"{ended} (status {status})\n{said}")
        done.append(current)
        return current is None


def main():
    if sys.argv[1] == "--child":
        child(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
        return
    module, only = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    done = []
    for _ in range(MOST_DEATHS):
        if once(module, done, only):
            break


# Children of multiprocessing's kind import this file again.
if __name__ == "__main__":
    main()
