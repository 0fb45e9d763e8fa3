#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exit statuses and messages: every failure code of the library, several processes, usage errors."""
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import unittest

import cli_test
from cli_test import SUTURE, suture

# enum suture_code, in order, and the exit status of suture(1)
CODES = [('failed', 1), ('busy', 1), ('timeout', 1), ('gone', 1), ('compile', 1), ('usage', 2), ('nothing', 3),
         ('refused', 4), ('incomplete', 5), ('access', 6), ('not-found', 7), ('damaged', 8), ('bug', 70)]
PIDS = {name: str(5001 + i) for i, (name, _) in enumerate(CODES)}
USAGE = [
    ((), 'Usage: suture COMMAND'),
    (('aply',), "did you mean 'apply'? (see suture --help)"),
    (('frobnicate',), "there is no command 'frobnicate' (see suture --help)"),
    (('--json',), '--json stands where a command should be'),
    (('help', 'x'), "there is no command 'x'"),
    (('completion', 'csh'), "'csh' is not bash, zsh or fish"),
    (('completion',), 'SHELL is missing'),
    (('apply',), 'F.sut is missing'),
    (('apply', 'f.sut'), 'which process? -p PID, -n GLOB or --all'),
    (('apply', '-p', '1', 'a', 'b'), "'b' is one argument too many"),
    (('revert', '-p', '1'), 'NAME is missing'),
    (('status',), 'which process?'),
    (('status', '-p', '0'), "'0' is not a process id"),
    (('status', '-p', 'nginx'), "'nginx' is not a process id (names are for -n)"),
    (('inspect', ''), 'an argument is empty'),
    (('status', '-p', '12x'), "'12x' is not a process id"),
    (('status', '-p', '-1'), "'-1' is not a process id"),
    (('status', '-p', '99999999999999999999'), 'is not a process id'),
    (('apply', '-p', '1', 'f', '--timeout', '-3'), "'-3' is not a time in seconds"),
    (('apply', '-p', '1', 'f', '--timeout', '1e3'), "'1e3' is not a time in seconds"),
    (('apply', '-p', '1', 'f', '--timeout', '.'), "'.' is not a time in seconds"),
    (('apply', '-p', '1', 'f', '--timeout='), "'' is not a time in seconds"),
    (('list', '--color', 'blue'), "'blue' is not auto, always or never"),
    (('list', '--json=yes'), 'option --json takes no value'),
    (('list', 'x'), "'x' is one argument too many"),
    (('build', '-j', '0'), "'0' is not a number from 1 to 65536"),
    (('build',), '-t TARGET is missing'),
    (('build', '-t', 't'), '-o F.sut is missing'),
    (('build', '-t', 't', '-o', 'o'), '-s SRCDIR is missing'),
    (('build', '-t', 't', '-o', 'o', '-s', 's'), '-d FIX.diff is missing'),
    (('build', '-t', 't', '-o', 'o', '-s', 's', '-d', 'd', '--name', 'a/b'), "'a/b' is no name for a patch"),
    (('build', '-t', 't', '-o', 'o', '-s', 's', '-d', 'd', '--name', 'x' * 64), 'is no name for a patch'),
    (('diff', 'a.o', '-t', 't', '-o', 'o'), 'PATCHED.o is missing'),
]


class Usage(unittest.TestCase):
    def test_usage_errors(self):
        for args, text in USAGE:
            r = suture(*args)
            self.assertEqual((r.code, r.out), (2, ''), (args, r))
            self.assertIn(text, r.err, args)
            if args:
                self.assertEqual(r.err.count('\n'), 1, (args, r))
                self.assertIn('--help)', r.err, args)

    def test_help_and_version_go_to_stdout(self):
        for args in (('--help',), ('-h',), ('help',), ('help', 'apply'), ('apply', '-h'), ('--version',), ('-V',),
                     ('version',), ('list', '-V')):
            r = suture(*args)
            self.assertEqual((r.code, r.err), (0, ''), args)
            self.assertTrue(r.out, args)

    def test_options_may_follow_operands_and_two_dashes_end_them(self):
        self.assertEqual(suture('apply', 'f.sut', '-p', '4711').code, 0)
        self.assertEqual(suture('revert', '-p', '4711', '--', '--all').code, 7)


class Codes(unittest.TestCase):
    def test_every_code(self):
        for command, operand in (('check', ['f.sut']), ('apply', ['f.sut']), ('revert', ['fix-1']), ('status', []),
                                 ('tree', []), ('recover', [])):
            for name, status in CODES:
                r = suture(command, '-p', PIDS[name], *operand)
                self.assertEqual((r.code, r.out), (status, ''), (command, name, r))
                self.assertIn('suture: process %s plays failure' % PIDS[name], r.err)
                self.assertIn('\nhint: do not ask it\n', r.err)

    def test_worst_of_several(self):
        order = ['damaged', 'bug', 'incomplete', 'failed', 'usage', 'refused', 'access', 'not-found', 'nothing']
        status = dict(CODES)
        for i, worst in enumerate(order):
            pids = [PIDS[n] for n in order[i:]] + ['4711']
            for these in (pids, pids[::-1]):
                args = [x for p in these for x in ('-p', p)]
                self.assertEqual(suture('apply', 'f.sut', *args).code, status[worst], worst)

    def test_each_process_has_its_line(self):
        r = suture('apply', 'f.sut', '-p', '4711', '-p', PIDS['refused'], '-p', '4713', '-p', '4711')
        self.assertEqual([line.split(': ')[1] for line in r.out.splitlines()], ['nginx[4711]', 'nginx[4713]'])
        self.assertIn('suture: nginx[%s]: process' % PIDS['refused'], r.err)

    def test_no_such_process(self):
        r = suture('apply', 'f.sut', '-p', '9999')
        self.assertEqual((r.code, r.err), (7, 'suture: there is no process 9999\n'))

    def test_no_such_name(self):
        r = suture('status', '-n', 'no-such-command-*')
        self.assertEqual(r.code, 7)
        self.assertIn("no process has a command name like 'no-such-command-*'", r.err)

    def test_damaged_file(self):
        r = suture('apply', '-p', '4711', 'damaged.sut')
        self.assertEqual((r.code, r.out), (4, ''))
        self.assertIn('hint: build it again', r.err)

    def test_interrupt_is_told_before_it_ends_us(self):
        r = suture('apply', 'f.sut', '-p', '4711', '-p', '4715', '-p', '4713')
        self.assertEqual(r.code, -signal.SIGINT)
        self.assertIn('fix-1: nginx[4711]: 2 functions', r.out)
        self.assertIn('suture: nginx[4715]: interrupted while waiting', r.err)
        self.assertIn('suture: interrupted before process 4713, 3 of 3\n', r.err)
        self.assertNotIn('nginx[4713]', r.out)
        r = suture('apply', '--json', 'f.sut', '-p', '4715')
        self.assertEqual(r.code, -signal.SIGINT)
        self.assertEqual(json.loads(r.out)['error']['code'], 'failed')

    def test_unreadable_processes_are_named(self):
        me = subprocess.run(['grep', '-h', '^CapEff', '/proc/self/status'], capture_output=True, text=True).stdout
        if os.getuid() or not me:
            self.skipTest('needs root')
        r = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', SUTURE, 'list'],
                           capture_output=True, text=True)
        self.assertRegex(r.stderr, r'^note: \d+ process(es)? could not be looked at \(no permission\)')

    def test_output_folder_is_looked_at_first(self):
        for args in (['build', '-s', 's', '-d', 'd'], ['diff', 'a.o', 'b.o']):
            r = suture(*args, '-t', 't', '-o', '/nowhere/x.sut', '-v')
            self.assertEqual((r.code, r.err), (1, 'suture: cannot write /nowhere/x.sut: /nowhere/: No such file or directory\n'))
            r = suture(*args, '-t', 't', '-o', '/tmp')
            self.assertEqual((r.code, r.err), (1, 'suture: cannot write /tmp: it is a directory\n'))
            self.assertEqual(suture(*args, '-t', 't', '-o', '/nowhere/x.sut', '--dry-run').code, 0)

    def test_notes_of_a_refusal(self):
        args = ['build', '-t', 't', '-s', 's', '-d', 'd', '-o']
        for out in ('nothing.sut', 'refused.sut'):
            self.assertTrue(suture(*args, out).err.startswith('note: tests/unit/type.tcl is not compiled: ignored\n'))
        self.assertEqual(suture(*args, 'x.sut').err, '')
        self.assertIn('note: tests/unit/type.tcl', suture(*args, 'x.sut', '-v').err)

    def test_build(self):
        args = ['build', '-t', 't', '-s', 's', '-d', 'd', '-o']
        self.assertEqual(suture(*args, 'x.sut').code, 0)
        self.assertEqual(suture(*args, 'nothing.sut').code, 3)
        r = suture(*args, 'refused.sut', '--explain')
        self.assertEqual(r.code, 4)
        self.assertIn('ngx_http_parse_uri', r.out, 'explained as far as it got')
        self.assertIn('note: tests/unit/type.tcl', r.out)

    def test_no_temporary_file_stays(self):
        with tempfile.TemporaryDirectory() as tmp:
            for command in (['build', '-s', 's', '-d', 'd'], ['diff', 'a.o', 'b.o']):
                for out, code in (('x', 0), ('leftover', 0), ('killed', -signal.SIGTERM), ('refused', 4)):
                    r = suture(*command, '-t', 't', '-o', out, env={'TMPDIR': tmp})
                    self.assertEqual(r.code, code, (command, out, r))
                    self.assertEqual(os.listdir(tmp), [], (command, out))

    def test_timeout_reaches_the_library(self):
        for given, ms in (('2', 2000), ('0.25', 250), ('.5', None), ('0', 1)):
            r = suture('apply', '-p', '4711', 'f.sut', '-v', '--timeout', given)
            if ms is None:
                self.assertEqual(r.code, 2)
            else:
                self.assertIn('timeout %d ms' % ms, r.err)
        self.assertIn('timeout 0 ms', suture('apply', '-p', '4711', 'f.sut', '-v').err)

    def test_dry_run_reaches_the_library(self):
        r = suture('apply', '-p', '4711', 'f.sut', '-v', '--dry-run')
        self.assertIn('dry run 1', r.err)
        self.assertIn('nothing was changed', r.out)


class Registries(unittest.TestCase):
    """list and --all find processes by the name of a mapping; this very process makes one."""

    def setUp(self):
        fd = os.memfd_create('suture', 0)
        os.ftruncate(fd, 4096)
        self.map = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE)
        os.close(fd)
        self.addCleanup(self.map.close)

    def test_list(self):
        lines = [line for line in suture('list').out.splitlines() if line.split()[0] == str(os.getpid())]
        self.assertEqual(len(lines), 1, 'the parked patch is not listed')
        self.assertEqual(lines[0].split()[1:7], ['nginx', 'fix-1', '2', 'enabled', '-', '2'])

    def test_list_all(self):
        r = suture('list', '--all', '-p', '4713')
        self.assertEqual({'4713', str(os.getpid())} & {line.split()[0] for line in r.out.splitlines()},
                         {'4713', str(os.getpid())})

    def test_list_has_a_line_for_a_damaged_one(self):
        r = suture('list', '-p', '5008', '-p', '4713')
        self.assertEqual(r.code, 4)
        rows = [line.split() for line in r.out.splitlines()]
        self.assertIn(['5008', 'nginx', '-', '-', 'damaged', '-', '-', '-'], rows)
        self.assertEqual([row[0] for row in rows[1:]], ['5008', '4713', '4713'], 'the others are listed')
        self.assertIn('nginx[5008]: process 5008 plays failure', r.err)

    def test_list_leaves_out_who_was_reverted(self):
        env = {'FAKE_REVERTED': '1'}
        self.assertNotIn(str(os.getpid()), suture('list', env=env).out)
        pids = [p['pid'] for p in json.loads(suture('list', '--json', env=env).out)['processes']]
        self.assertNotIn(os.getpid(), pids)
        self.assertIn('fix-0: parked', suture('status', '--all', env=env).out)

    def test_status_threads(self):
        """Threads are those of /proc; nginx is played by this process."""
        rows = [line.split() for line in suture('status', '--threads', '-p', str(os.getpid())).out.splitlines()]
        at = rows.index(['TID', 'PATCH_STATE', 'BLOCKED', 'BY', 'WAITING'])
        self.assertEqual(rows[at + 1:], [[t, '1', '-', '-'] for t in os.listdir('/proc/self/task')] or None)

    def test_list_some(self):
        self.assertEqual(len(suture('list', '-p', '4713').out.splitlines()), 3)
        r = suture('list', '-p', '4714')
        self.assertEqual((r.code, r.out), (0, ''), 'it holds no patches')
        self.assertEqual(suture('list', '-p', '9999').code, 7)

    def test_all_patched(self):
        for command in ('status', 'tree', 'recover'):
            r = suture(command, '--all')
            self.assertEqual(r.code, 0, r)
            self.assertIn('nginx[%d]' % os.getpid(), r.out)

    def test_revert_all(self):
        r = suture('revert', '--all', 'fix-1')
        self.assertEqual(r.code, 0, r)
        self.assertIn('fix-1: nginx[%d]: ' % os.getpid(), r.out)
        r = suture('revert', '--all', 'fix-0')
        self.assertEqual(r.code, 3, 'a parked patch is not held any more')
        self.assertIn('no running process holds a patch of that name', r.err)

    def test_gone_leader(self):
        """A process whose first thread has ended shows its maps through the others."""
        code = '''
import ctypes, mmap, os, threading, time
fd = os.memfd_create('suture', 0); os.ftruncate(fd, 4096)
m = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE); os.close(fd)
t = threading.Thread(target=lambda: (print(os.getpid(), flush=True), time.sleep(60)))
t.start()
ctypes.CDLL(None).syscall(60, 0)
'''
        p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        pid = p.stdout.readline().strip()
        while True:
            with open('/proc/%s/maps' % pid) as f:
                if not f.read():
                    break
        self.assertIn('nginx[%s]' % pid, suture('status', '--all').out)


class Empty(unittest.TestCase):
    def test_none(self):
        r = suture('list')
        self.assertEqual(r.code, 0)
        if not r.out:
            self.assertTrue(r.err.endswith('note: no process is patched\n'), r)
            self.assertEqual(suture('status', '--all').code, 3)


cli_test.main()
