#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What goes where: stdout, stderr, terminals, colours, narrow ones, closed and full ones."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import unittest

import cli_test
from cli_test import SUTURE, suture


def on_terminal(*args, columns=80, env=None):
    """Runs suture with stdout and stderr on a terminal of that width; what it showed, and its status."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    e = {k: v for k, v in os.environ.items() if k not in ('NO_COLOR', 'COLUMNS')}
    e.update(TERM='xterm', LC_ALL='C.UTF-8')
    e.update(env or {})
    p = subprocess.Popen([SUTURE, *args], stdin=slave, stdout=slave, stderr=slave, env=e)
    os.close(slave)
    text = b''
    while select.select([master], [], [], 30)[0]:
        try:
            chunk = os.read(master, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    os.close(master)
    return text.decode().replace('\r\n', '\n'), p.wait()


def plain(text):
    return re.sub(r'\033\[[0-9;]*m', '', text)


class Look(unittest.TestCase):
    maxDiff = None

    def test_check(self):
        self.assertEqual(suture('check', '-p', '4711', 'f.sut').out, '''\
fix-1: fits nginx[4711]  build-id 3f9c..a1  x86_64
  object           function              size      site  threads
  /usr/sbin/nginx  ngx_http_parse_uri,1  412->431  jump  clear
  /usr/sbin/nginx  ngx_log_error         412->431  jump  1 busy (tid 4713 in ngx_log_error.cold)
''')

    def test_apply(self):
        self.assertEqual(suture('apply', '-p', '4711', 'f.sut').out,
                         'fix-1: 2 functions, 4 threads patched in 2.3 ms, longest pause of a thread 48 us\n')

    def test_write_instead_of_swap_is_said(self):
        r = suture('apply', '-p', '4714', 'f.sut')
        self.assertIn('note: text was changed by a plain write instead of a page swap: '
                      'the text is on huge pages\n', r.err)

    def test_foreign_site(self):
        self.assertIn('foreign cc01020304', suture('status', '-p', '4713').out)

    def test_interrupted(self):
        self.assertIn('fix-2: enabled, patching (interrupted)', suture('status', '-p', '4713').out)

    def test_tree(self):
        self.assertEqual(suture('tree', '-p', '4711').out, '''\
nginx[4711]
└─fix-1
  ├─enabled                1
  ├─transition             0
  ├─stack_order            2
  ├─/usr/sbin/nginx
  │ ├─patched              1
  │ └─ngx_http_parse_uri,2
  └─/lib/libz.so.1
    ├─patched              1
    └─inflate,1
''')
        self.assertTrue(suture('tree', '-p', '4711', env={'LC_ALL': 'C'}).out.isascii())

    def test_control_characters_are_shown(self):
        for args in (('check', 'f.sut'), ('apply', 'f.sut'), ('status',), ('tree',), ('recover',)):
            r = suture(args[0], '-p', '4712', '-p', '4711', *args[1:])
            self.assertEqual(r.code, 0)
            self.assertNotIn('\033', r.out + r.err, args)
            self.assertIn('e\\x1b[31mvil\\xff[4712]', r.out, args)


class Streams(unittest.TestCase):
    def test_quiet(self):
        for args in (('check', 'f.sut'), ('apply', 'f.sut'), ('apply', '--dry-run', 'f.sut'), ('revert', 'fix-1'),
                     ('status',), ('tree',), ('recover',)):
            r = suture(args[0], '-q', '-p', '4711', *args[1:])
            self.assertEqual((r.code, r.out, r.err), (0, '', ''), args)
        r = suture('apply', '-q', '-p', '5008', 'f.sut')
        self.assertEqual(r.code, 4)
        self.assertIn('plays failure', r.err)

    def test_verbose(self):
        self.assertNotIn('timeout 0 ms', suture('apply', '-p', '4711', 'f.sut').err)
        self.assertIn('suture: timeout 0 ms', suture('apply', '-v', '-p', '4711', 'f.sut').err)
        self.assertNotIn('attached', suture('apply', '-v', '-p', '4711', 'f.sut').err)
        self.assertIn('suture: debug: attached', suture('apply', '-vv', '-p', '4711', 'f.sut').err)

    def test_lines_while_held_come_later(self):
        r = suture('apply', '-vv', '-p', '4711', 'f.sut')
        self.assertEqual(r.err.splitlines()[-2:], ['suture: timeout 0 ms, dry run 0', 'suture: debug: let go'])
        r = suture('apply', '-vv', '-p', '4713', 'f.sut')
        lines = r.err.splitlines()
        self.assertEqual(lines.index('suture: timeout 0 ms, dry run 0') + 1,
                         lines.index('suture: debug: line 0 of many that come while the target is held'))
        lost = [line for line in lines if 'more, made while the target was held, were dropped' in line]
        kept = [line for line in lines if 'of many that come' in line]
        self.assertEqual(int(lost[0].split()[1]) + len(kept), 1000)
        self.assertEqual(lines[-1], 'suture: debug: let go')

    def test_full_stdout(self):
        for args in (('apply', '-p', '4711', 'f.sut'), ('apply', '--json', '-p', '4711', 'f.sut'), ('help',),
                     ('completion', 'bash'), ('--version',)):
            with open('/dev/full', 'w') as full:
                p = subprocess.run([SUTURE, *args], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(p.returncode, 1, args)
            self.assertIn('could not be written to standard output: No space left on device', p.stderr)

    def test_closed_stdout(self):
        p = subprocess.run(['sh', '-c', '"$0" apply -p 4711 f.sut >&-', SUTURE], stderr=subprocess.PIPE, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertIn('could not be written', p.stderr)
        self.assertIn('only its report is lost', p.stderr)

    def test_broken_pipe(self):
        r, w = os.pipe()
        os.close(r)
        p = subprocess.run([SUTURE, 'apply', '-p', '4711', 'f.sut'], stdout=w, stderr=subprocess.PIPE, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertIn('Broken pipe', p.stderr)
        self.assertIn('only its report is lost', p.stderr)
        p = subprocess.run([SUTURE, 'status', '-p', '4711'], stdout=w, stderr=subprocess.PIPE, text=True)
        self.assertEqual((p.returncode, p.stderr), (1, ''), 'nothing was changed, nobody reads')
        os.close(w)

    def test_a_failure_is_not_hidden_by_a_full_stdout(self):
        with open('/dev/full', 'w') as full:
            p = subprocess.run([SUTURE, 'apply', '--json', '-p', '5012', 'f.sut'], stdout=full,
                               stderr=subprocess.DEVNULL)
        self.assertEqual(p.returncode, 8)

    def test_closed_stderr_is_no_failure(self):
        self.assertEqual(subprocess.run(['sh', '-c', '"$0" apply -v -p 4711 f.sut >/dev/null 2>&-', SUTURE]).returncode,
                         0)


class Terminal(unittest.TestCase):
    def test_colours(self):
        check = ('check', '-p', '4711', 'f.sut')
        self.assertIn('\033[32mfits\033[0m', on_terminal(*check)[0])
        for env in ({'NO_COLOR': '1'}, {'TERM': 'dumb'}):
            self.assertNotIn('\033[3', on_terminal(*check, env=env)[0], env)
        self.assertNotIn('\033', on_terminal(*check, '--color', 'never')[0])
        self.assertNotIn('\033', suture(*check).out)
        self.assertIn('\033[32m', suture(*check, '--color', 'always').out)
        self.assertIn('\033[31msuture:\033[0m', on_terminal('apply', '-p', '9999', 'f.sut')[0])

    def test_narrow(self):
        for columns in (60, 80, 200):
            text = plain(on_terminal('check', '-p', '4711', 'f.sut', columns=columns)[0])
            for line in text.splitlines():
                self.assertLessEqual(len(line), columns, (columns, text))

    def test_wide_shows_all(self):
        text = plain(on_terminal('check', '-p', '4711', 'f.sut', columns=200)[0])
        self.assertEqual(text, suture('check', '-p', '4711', 'f.sut').out)

    def test_status_line(self):
        build = ('build', '-t', 't', '-s', 's', '-d', 'd', '-o', './x.sut')
        text = on_terminal(*build, columns=40)[0]
        line, rest = text.split('\r\033[K')
        self.assertEqual(line, '\rcompiling  1 of 3\033[K')
        self.assertTrue(rest.startswith('./x.sut: 1 function; '))
        self.assertNotIn('compiling', on_terminal(*build, '-q')[0])
        self.assertNotIn('compiling', suture(*build).err, 'no terminal, no status line')
        text = on_terminal('apply', '-p', '4713', 'f.sut')[0]
        self.assertTrue(text.startswith('\rprocess 4713: thread 4714 is inside f\033[K\r\033[K'), text)
        self.assertNotIn('inside', suture('apply', '-p', '4713', 'f.sut').err)

    def test_words_go_below_where_there_is_no_room(self):
        text = plain(on_terminal('check', '-p', '4711', 'f.sut', columns=60)[0])
        self.assertIn('jump\n      1 busy (tid 4713 in ngx_log_error.cold)\n', text)
        text = plain(on_terminal('check', '-p', '4711', 'f.sut', columns=80)[0])
        self.assertIn('1 busy (tid 4713 in\n%57sngx_log_error.cold)\n' % '', text)

    def test_json_is_indented(self):
        text, status = on_terminal('status', '--json', '-p', '4711')
        self.assertEqual(status, 0)
        self.assertTrue(text.startswith('{\n  "schema": "suture.status/1",\n  "ok": true,'))


cli_test.main()
