#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The option tables against the man pages and the completion of three shells: none may know more or less."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import cli_test
from cli_test import ROOT, commands, options, suture

COMMON = {'json', 'quiet', 'verbose', 'color', 'help', 'version'}


def man(name):
    with open(os.path.join(ROOT, 'man', name + '.1.scd')) as f:
        return f.read()


def man_options(text):
    """The option lines of a page: [(letter, name, value)]."""
    return re.findall(r'^\*(?:-(\w), )?--([a-z-]+)\*(?: _(\S+)_)?$', text, re.M)


class Man(unittest.TestCase):
    def test_every_command_has_a_page(self):
        pages = {f[:-6] for f in os.listdir(os.path.join(ROOT, 'man')) if f.endswith('.1.scd')}
        self.assertEqual(pages, {'suture'} | {'suture-' + c for c in commands()})

    def test_pages_are_built(self):
        with open(os.path.join(ROOT, 'man', 'meson.build')) as f:
            built = set(re.findall(r"'(suture[a-z-]*)',?", f.read()))
        self.assertEqual(built, {'suture'} | {'suture-' + c for c in commands()})

    def test_common_options(self):
        common = [(l, n, v) for l, n, v, _ in options('doctor')]
        self.assertEqual({n for _, n, _ in common}, COMMON)
        self.assertEqual(man_options(man('suture')), common)

    def test_own_options(self):
        for c in commands():
            own = [(l, n, v) for l, n, v, _ in options(c)]
            if {n for _, n, _ in own} != {'help'}:
                self.assertLessEqual(COMMON, {n for _, n, _ in own}, c)
                own = [o for o in own if o[1] not in COMMON]
            self.assertEqual(man_options(man('suture-' + c)), own, c)

    def test_commands_in_the_first_page(self):
        text = man('suture').split('# COMMANDS')[1].split('# COMMON OPTIONS')[0]
        self.assertEqual(sorted(set(re.findall(r'\*suture-([a-z]+)\*\(1\)', text))), sorted(commands()))

    def test_no_table_is_too_long_for_the_parser(self):
        for c in commands():
            self.assertLessEqual(len(options(c)), 32, c)

    def test_aliases(self):
        for name, alias in (('apply', 'load'), ('revert', 'unload')):
            self.assertEqual(suture(alias, '--help').out, suture(name, '--help').out)
            self.assertIn('*suture %s*' % alias, man('suture-' + name))


class Parser(unittest.TestCase):
    """Every option of the tables is taken by the parser, in both forms; nothing else is."""

    def test_every_option_is_known(self):
        for c in commands():
            for letter, name, value, _ in options(c):
                for word in ['--' + name] + (['-' + letter] if letter else []):
                    r = suture(c, word, *(['7'] if value else []), '--help')
                    self.assertNotIn('unknown option', r.err, (c, word))
                    if value:
                        self.assertIn('wants a value', suture(c, word).err, (c, word))

    def test_unknown_option(self):
        for c in commands():
            for word in ('--frobnicate', '-Z'):
                r = suture(c, word)
                self.assertEqual((r.code, r.out), (2, ''), (c, r))
                self.assertEqual(r.err, 'suture: %s: unknown option %s (see suture %s --help)\n' % (c, word, c))


BASH = '''
source "$1"
COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2))
compopt() { :; }
_suture
printf '%s\\n' "${COMPREPLY[@]}"
'''


class Completion(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def script(self, shell):
        path = os.path.join(self.dir.name, shell)
        r = suture('completion', shell)
        self.assertEqual((r.code, r.err), (0, ''))
        with open(path, 'w') as f:
            f.write(r.out)
        return path

    def bash(self, *words):
        p = subprocess.run(['bash', '-c', BASH, 'bash', self.script('bash'), *words], capture_output=True, text=True,
                           check=True)
        self.assertEqual(p.stderr, '')
        return p.stdout.split()

    def test_bash_commands(self):
        self.assertEqual(sorted(self.bash('suture', '')),
                         sorted(commands() + ['load', 'unload', '--help', '--version']))
        self.assertEqual(self.bash('suture', 'sta'), ['status'])

    def test_bash_options(self):
        for c in commands() + ['load', 'unload']:
            want = ['--' + n for _, n, _, _ in options(c)] + ['-' + l for l, _, _, _ in options(c) if l]
            self.assertEqual(sorted(self.bash('suture', c, '-')), sorted(want), c)

    def test_bash_values(self):
        self.assertEqual(self.bash('suture', 'list', '--color', ''), ['auto', 'always', 'never'])
        self.assertIn(str(os.getpid()), self.bash('suture', 'status', '-p', ''))
        self.assertEqual(self.bash('suture', 'completion', 'f'), ['fish'])
        name = os.path.join(self.dir.name, 'x.sut')
        open(name, 'w').close()
        self.assertEqual(self.bash('suture', 'inspect', name[:-2]), [name])

    def test_zsh_names_every_option(self):
        with open(self.script('zsh')) as f:
            text = f.read()
        for c in commands():
            part = re.search(r'^\t%s(?:\|\w+)?\)\n(.*?) ;;$' % c, text, re.M | re.S).group(1)
            found = set(re.findall(r"(?:\{-\w,|')--([a-z-]+)[}\[]", part))
            self.assertEqual(found, {n for _, n, _, _ in options(c)}, c)

    def test_fish_names_every_option(self):
        with open(self.script('fish')) as f:
            text = f.read()
        for c in commands():
            part = re.findall(r"^complete -c suture -n '__fish_seen_subcommand_from %s(?: \w+)?'(?: -s (\w))? -l (\S+)"
                              % c, text, re.M)
            self.assertEqual(sorted(part), sorted((l, n) for l, n, _, _ in options(c)), c)

    def test_shells_parse_them(self):
        for shell in ('bash', 'zsh', 'fish'):
            if not shutil.which(shell):
                print('not parsed by %s: it is not installed' % shell)
                continue
            p = subprocess.run([shell, '-n', self.script(shell)], capture_output=True, text=True)
            self.assertEqual((p.returncode, p.stderr), (0, ''), shell)
            if shell == 'fish':
                p = subprocess.run(['fish', '-c', 'source %s; complete -C "suture apply --t"' % self.script(shell)],
                                   capture_output=True, text=True)
                self.assertEqual((p.stdout.split()[:1], p.stderr), (['--timeout'], ''))


cli_test.main()
