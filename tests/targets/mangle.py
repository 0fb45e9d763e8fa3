#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mangle KIND [SEED] < in.sut > out.sut - a damaged or hostile patch file.

flip       one bit of the file, digest left as it was
meta       bytes of the headers and tables changed, the digest made right again: only the reader's checks are left
offset     a section that lies past the end of the file        count     a table of 2^61 entries
reloc      a relocation that writes past its section           symbol    a function that names symbol 2^31
address    an old function outside of its object                arch      another machine
version    a format that is not known                           nodigest  the digest section renamed
huge       a section of 2^62 bytes                              strtab    names that point out of the string table
All but flip have a right digest (BLAKE2b-256 of the file with the digest as zeros).
"""
import hashlib
import random
import struct
import sys


class File:
    def __init__(self, data):
        self.d = bytearray(data)
        self.shoff, = struct.unpack_from('<Q', self.d, 0x28)
        self.shentsize, self.shnum, self.shstrndx = struct.unpack_from('<HHH', self.d, 0x3a)
        strs = self.header(self.shstrndx)
        self.names = {}
        for i in range(self.shnum):
            h = self.header(i)
            start = strs[4] + h[0]
            self.names[bytes(self.d[start:self.d.index(0, start)]).decode()] = i

    def header(self, i):
        return list(struct.unpack_from('<IIQQQQIIQQ', self.d, self.shoff + i * self.shentsize))

    def set_header(self, i, **kw):
        fields = ['name', 'type', 'flags', 'addr', 'offset', 'size', 'link', 'info', 'align', 'entsize']
        h = self.header(i)
        for k, v in kw.items():
            h[fields.index(k)] = v
        struct.pack_into('<IIQQQQIIQQ', self.d, self.shoff + i * self.shentsize, *h)

    def offset(self, name):
        return self.header(self.names[name])[4]

    def seal(self):
        h = self.header(self.names['.suture.digest'])
        if h[4] + 32 > len(self.d):
            return
        self.d[h[4]:h[4] + 32] = bytes(32)
        self.d[h[4]:h[4] + 32] = hashlib.blake2b(self.d, digest_size=32).digest()


def meta(f, rnd):
    """One to four bytes of what describes the patch: ELF header, section headers, .suture.* tables, symbols."""
    areas = [(0, 64), (f.shoff, f.shnum * f.shentsize)]
    for name, i in f.names.items():
        h = f.header(i)
        if (name.startswith('.suture.') and name != '.suture.digest') or h[1] in (2, 3, 4):
            areas.append((h[4], h[5]))
    areas = [a for a in areas if a[1]]
    for _ in range(rnd.randint(1, 4)):
        start, size = rnd.choice(areas)
        at = start + rnd.randrange(size)
        f.d[at] = rnd.choice([0, 0xff, 0x80, f.d[at] ^ (1 << rnd.randrange(8)), rnd.randrange(256)])


def main():
    kind = sys.argv[1]
    rnd = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    f = File(sys.stdin.buffer.read())
    if kind == 'flip':
        at = rnd.randrange(len(f.d))
        f.d[at] ^= 1 << rnd.randrange(8)
        sys.stdout.buffer.write(f.d)
        return
    funcs = f.offset('.suture.funcs')
    if kind == 'meta':
        digest = f.names['.suture.digest']
        where = f.header(digest)[4]
        meta(f, rnd)
        if where + 32 <= len(f.d):  # sealed where the digest was
            f.d[where:where + 32] = bytes(32)
            f.d[where:where + 32] = hashlib.blake2b(f.d, digest_size=32).digest()
        sys.stdout.buffer.write(f.d)
        return
    rela = [i for n, i in f.names.items() if f.header(i)[1] == 4 and f.header(i)[5]]
    if kind == 'offset':
        f.set_header(f.names['.suture.funcs'], offset=len(f.d) + 4096)
    elif kind == 'count':
        f.set_header(f.names['.suture.funcs'], size=(1 << 61) * 8)
    elif kind == 'huge':
        f.set_header(next(i for n, i in f.names.items() if n.startswith('.text')), size=1 << 62)
    elif kind == 'reloc':
        struct.pack_into('<Q', f.d, f.header(rela[0])[4], 0x7fffffff)
    elif kind == 'symbol':
        struct.pack_into('<I', f.d, funcs + 12, 0x80000000)
    elif kind == 'address':
        struct.pack_into('<Q', f.d, funcs + 16, 0x7ffffffff000)
    elif kind == 'strtab':
        struct.pack_into('<I', f.d, funcs + 4, 0x7fffffff)
    elif kind == 'arch':
        struct.pack_into('<H', f.d, 0x12, 183)
    elif kind == 'version':
        at = f.offset('.suture.info')
        i = f.names['.suture.info']
        blob = bytes(f.d[at:at + f.header(i)[5]])
        f.d[at:at + len(blob)] = blob.replace(b'format=1', b'format=9')
    elif kind == 'nodigest':
        h = f.header(f.names['.suture.digest'])
        strs = f.header(f.shstrndx)
        f.d[strs[4] + h[0]] = ord('x')
    else:
        sys.exit(__doc__)
    if kind != 'nodigest':
        f.seal()
    sys.stdout.buffer.write(f.d)


if __name__ == '__main__':
    main()
