#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every document of --json against its schema in docs/schema/, for success and for failure."""
import json
import os
import sys
import unittest

try:
    import jsonschema
except ImportError:
    print('skipped: python3-jsonschema is not installed')
    sys.exit(77)

import cli_test
from cli_test import ROOT, commands, options, suture

DIR = os.path.join(ROOT, 'docs', 'schema')

def load(name):
    with open(os.path.join(DIR, name + '.json')) as f:
        return json.load(f)


def with_common(schema):
    """The schema with what it refers to in common.json put into it, so that no resolver is needed."""
    whole = json.dumps(dict(schema, definitions=load('common')['definitions']))
    return json.loads(whole.replace('"common.json#/', '"#/'))


SCHEMAS = {f[:-5]: load(f[:-5]) for f in os.listdir(DIR) if f.endswith('.json')}
OPERANDS = {'list': [], 'check': ['f.sut'], 'apply': ['f.sut'], 'revert': ['fix-1'], 'status': [], 'tree': [], 'recover': []}


def once(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)


class Documents(unittest.TestCase):
    def validate(self, command, *args):
        r = suture(command, '--json', *args)
        self.assertEqual(r.out.count('\n'), 1, 'one line, one document')
        doc = json.loads(r.out, object_pairs_hook=once)
        jsonschema.Draft7Validator(with_common(SCHEMAS[command])).validate(doc)
        self.assertEqual(list(doc)[:3], ['schema', 'ok', 'status'])
        self.assertEqual(doc['status'], r.code)
        self.assertEqual(doc['ok'], r.code == 0)
        self.assertEqual(r.err, '', 'what the document says is not said twice')
        return doc

    def test_schemas_are_schemas(self):
        for name, s in SCHEMAS.items():
            jsonschema.Draft7Validator.check_schema(s)
            self.assertEqual(s['$id'], name + '.json')

    def test_every_command_with_json_has_one(self):
        with_json = {c for c in commands() if 'json' in [n for _, n, _, _ in options(c)]}
        self.assertEqual(with_json | {'common'}, set(SCHEMAS))

    def test_success(self):
        for c, operands in OPERANDS.items():
            for pid in ('4711', '4712', '4713'):
                doc = self.validate(c, '-p', pid, *operands)
                self.assertTrue(doc['ok'])
                self.assertEqual(doc['processes'][0]['pid'], int(pid))

    def test_failures(self):
        for c, operands in OPERANDS.items():
            for pid in list(range(5001, 5014)) + [9999]:
                doc = self.validate(c, '-p', str(pid), *operands)
                self.assertEqual(doc['error'], doc['processes'][0]['error'])

    def test_several(self):
        doc = self.validate('apply', '-p', '4711', '-p', '5007', '-p', '5008', '-p', '5010', 'f.sut')
        self.assertEqual([p['status'] for p in doc['processes']], [0, 3, 4, 6])
        self.assertEqual(doc['error'], doc['processes'][2]['error'])

    def test_other_failures(self):
        for args in (('apply', '-p', '1', 'damaged.sut'), ('apply', 'f.sut'), ('apply', '--frobnicate'),
                     ('status', '-n', 'no-such-*'), ('build',), ('diff',), ('list', 'x'), ('doctor', '-Z'),
                     ('symbols',), ('inspect',)):
            doc = self.validate(*args)
            self.assertFalse(doc['ok'])

    def test_values(self):
        doc = self.validate('apply', '-p', '4711', 'f.sut')
        f = doc['processes'][0]['functions'][1]
        self.assertEqual((f['old_address'], f['new_address'], f['busy_tid']), ('0x555555554000', None, 4713))
        doc = self.validate('apply', '-p', '5008', 'f.sut')
        self.assertEqual(doc['error'], {'code': 'refused', 'message': 'process 5008 plays failure 4008',
                                        'hint': 'do not ask it', 'address': '0x7f0012345678'})
        doc = self.validate('apply', '-p', '4712', 'f.sut')
        self.assertEqual(doc['processes'][0]['command'], 'e\033[31mvil\\xff')

    def test_threads(self):
        threads = self.validate('status', '--threads', '-p', str(os.getpid()))['processes'][0]['threads']
        self.assertEqual(threads, [{'tid': os.getpid(), 'patch_state': 1, 'blocked_by': None, 'waiting_ns': None}])
        self.assertNotIn('threads', self.validate('status', '-p', '4711')['processes'][0])

    def test_list(self):
        self.assertTrue(self.validate('list')['ok'])

    def test_doctor(self):
        names = [c['name'] for c in self.validate('doctor')['checks']]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn('attach', names)

    def test_build(self):
        args = ['-t', 't', '-s', 's', '-d', 'd', '-o']
        doc = self.validate('build', *args, 'x.sut')
        self.assertEqual((len(doc['items']), doc['output']), (1, 'x.sut'))
        doc = self.validate('build', *args, 'nothing.sut')
        self.assertEqual((doc['error']['code'], doc['output']), ('nothing', None), 'no file was written')
        self.assertEqual(len(self.validate('build', *args, 'refused.sut')['items']), 1)
        self.assertIsNone(self.validate('build', *args, 'x.sut', '--dry-run')['output'])
        self.validate('diff', 'a.o', 'b.o', '-t', 't', '-o', 'x.sut')


cli_test.main()
