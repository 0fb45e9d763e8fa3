# SPDX-License-Identifier: MIT
"""cli_test - what the tests of the command line share: run the tool, and find its commands and options.

A test script is called as: test_X.py SUTURE SOURCE_ROOT
"""
import atexit
import os
import re
import subprocess
import sys
import tempfile
import unittest


def program(path):
    """The tool as a program that this machine can start: of another architecture, a script calls the emulator."""
    wrapper = os.environ.get('MESON_EXE_WRAPPER')
    if not wrapper:
        return path
    fd, script = tempfile.mkstemp(suffix='-suture')
    atexit.register(os.unlink, script)
    with os.fdopen(fd, 'w') as f:
        f.write('#!/bin/sh\nexec %s %s "$@"\n' % (wrapper, path))
    os.chmod(script, 0o755)
    return script


SUTURE = program(os.path.abspath(sys.argv[1]))
ROOT = os.path.abspath(sys.argv[2])


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return 'exit %d\nstdout: %s\nstderr: %s' % (self.code, self.out, self.err)


def suture(*args, env=None, **kwargs):
    e = {k: v for k, v in os.environ.items() if k not in ('NO_COLOR', 'COLUMNS')}
    e.update(LC_ALL='C.UTF-8', TERM='xterm')
    e.update(env or {})
    p = subprocess.run([SUTURE] + list(args), stdin=subprocess.DEVNULL, capture_output=True, env=e, timeout=60, **kwargs)
    return Result(p.returncode, p.stdout.decode('utf-8', 'backslashreplace'),
                  p.stderr.decode('utf-8', 'backslashreplace'))


def commands():
    """The commands as 'suture help' lists them, which is the table."""
    names = re.findall(r'^  ([a-z]+) +\S', suture('help').out, re.M)
    assert len(names) > 10, names
    return names


OPTION = re.compile(r'^ {2}(?:-(\w), |    )--([a-z-]+)(?: (\S+))?  +(\S.*)$', re.M)


def options(command):
    """[(letter, name, value, help)] as 'suture COMMAND --help' prints them, which is the table."""
    found = OPTION.findall(suture(command, '--help').out)
    assert found, command
    return found


def main():
    unittest.main(argv=sys.argv[:1], verbosity=1)
